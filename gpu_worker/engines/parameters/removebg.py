"""What `removebg` can be asked for, of whichever engine: names, values and meanings are
those of remove.bg's API (https://www.remove.bg/api), so that its clients need to learn
nothing. What is done by them is in `gpu_worker.engines.cutout.options`.
"""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters.output import OUTPUT

PREVIEW = 250_000
FULL = 25_000_000
SIZES: dict[str, int] = {
    "auto": FULL,
    "preview": PREVIEW,
    "small": PREVIEW,
    "regular": PREVIEW,
    "medium": 1_500_000,
    "hd": 4_000_000,
    "full": FULL,
    "4k": FULL,
    "50MP": 50_000_000,
}
"""The most pixels of the picture that is cut out."""

# CSS Color Module Level 4, section 6.1, and no other names.
COLOUR_NAMES = """
aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue
blueviolet brown burlywood cadetblue chartreuse chocolate coral cornflowerblue cornsilk
crimson cyan darkblue darkcyan darkgoldenrod darkgray darkgreen darkgrey darkkhaki
darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon darkseagreen
darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue
dimgray dimgrey dodgerblue firebrick floralwhite forestgreen fuchsia gainsboro
ghostwhite gold goldenrod gray green greenyellow grey honeydew hotpink indianred indigo
ivory khaki lavender lavenderblush lawngreen lemonchiffon lightblue lightcoral lightcyan
lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon lightseagreen
lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime limegreen
linen magenta maroon mediumaquamarine mediumblue mediumorchid mediumpurple
mediumseagreen mediumslateblue mediumspringgreen mediumturquoise mediumvioletred
midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive olivedrab
orange orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip
peachpuff peru pink plum powderblue purple rebeccapurple red rosybrown royalblue
saddlebrown salmon sandybrown seagreen seashell sienna silver skyblue slateblue
slategray slategrey snow springgreen steelblue tan teal thistle tomato turquoise violet
wheat white whitesmoke yellow yellowgreen
"""

# "$" alone would let a line break follow.
END = "$(?!\\n)"
HEX = f"^#?([0-9a-fA-F]{{3,4}}|[0-9a-fA-F]{{6}}|[0-9a-fA-F]{{8}}){END}"
FRACTION = "(\\.[0-9]{1,3})?"
MARGIN = f"(0|([0-9]{{1,2}}|[1-4][0-9]{{2}}|500)px|([1-4]?[0-9]{FRACTION}|50)%)"
PERCENT = f"([1-9]?[0-9]{FRACTION}|100)%"
FROM_TEN = f"([1-9][0-9]{FRACTION}|100)%"
PLACE = f"({PERCENT}|[0-9]{{1,5}}px)"

PROPERTIES: dict[str, Any] = {
    "size": {
        "enum": [*SIZES],
        "default": "auto",
        "description": "The most that the image is worked on with, and the cut-out "
        "has: preview, small and regular 0.25 megapixels, medium 1.5, hd 4, full, 4k "
        "and auto 25, 50MP 50. Never enlarges.",
    },
    "format": {
        "enum": ["png", "webp", "jpg", "jpeg", "zip"],
        **OUTPUT,
        "default": "png",
        "description": "A jpg has no transparency: it is white where nothing else is. "
        "zip: the colours as color.jpg and the opacity as alpha.png, which is much "
        "less to transfer than a png.",
    },
    "channels": {
        "enum": ["rgba", "alpha"],
        "default": "rgba",
        "description": "The picture, or its opacity alone as a grey picture.",
    },
    "bg_color": {
        "type": "string",
        "anyOf": [{"pattern": HEX}, {"enum": COLOUR_NAMES.split()}],
        "x-form": "must be like fff, 81d4fa, 81d4fa77, #81d4fa, or a colour's CSS name",
        "description": "Fill the background: rgb, rrggbb, with opacity rgba or "
        "rrggbbaa in hexadecimal digits, or a colour's name in CSS.",
    },
    "crop": {
        "type": "boolean",
        "default": False,
        "description": "Cut away what is empty around the subject.",
    },
    "crop_margin": {
        "type": "string",
        "pattern": f"^{MARGIN}( {MARGIN}| {MARGIN} {MARGIN} {MARGIN})?{END}",
        "x-form": "must be one, two or four of 0 to 500px or 0% to 50%, like 30px 10%",
        "description": "Space left around the cropped subject, as 30px (500px at most) "
        "or 10% of the subject's width and height (50% at most): one value for all "
        "sides; two for top and bottom, left and right; or four for top, right, "
        "bottom, left.",
    },
    "scale": {
        "type": "string",
        "pattern": f"^(original|{FROM_TEN}){END}",
        "x-form": "must be 10% to 100%, or original",
        "description": "Make the subject as large as fits into this share of the "
        "image, 10% to 100%. It then stands in the middle, unless position says "
        "otherwise.",
    },
    "position": {
        "type": "string",
        "pattern": f"^(original|center|{PERCENT}( {PERCENT})?){END}",
        "x-form": "must be original, center, or one or two of 0% to 100%, like 20% 80%",
        "description": "Where the subject stands in the image: 0% is left or top, 100% "
        "right or bottom; two values are across and down.",
    },
    "roi": {
        "type": "string",
        "pattern": f"^{PLACE}( {PLACE}){{3}}{END}",
        "x-form": "must be x1 y1 x2 y2, each like 100px or 10%",
        "description": "x1 y1 x2 y2, in pixels of the image that was sent (100px) or "
        "in percent (10%): what is outside is background.",
    },
    "add_shadow": {
        "type": "boolean",
        "default": False,
        "description": "Put a soft shadow on the ground that the subject stands on: "
        "for products and cars. What the image's lower edge cuts off gets none.",
    },
}


def _where(name: str, *values: Any) -> dict[str, Any]:
    """The member is given, and is one of these values."""
    return {"required": [name], "properties": {name: {"enum": [*values]}}}


NO_ZIP = [one for one in PROPERTIES["format"]["enum"] if one != "zip"]
RULES: dict[str, Any] = {
    "allOf": [
        {
            "if": {"not": _where("crop", True)},
            "then": {"properties": {"crop_margin": False}},
            # Where a cropped subject stands is decided.
            "else": {"properties": {"scale": False, "position": False}},
        },
        {
            "if": _where("channels", "alpha"),
            "then": {
                "properties": {
                    "bg_color": False,
                    "add_shadow": {"enum": [False]},
                    "format": {"enum": NO_ZIP},
                }
            },
        },
        {
            "if": _where("format", "zip"),
            "then": {"properties": {"bg_color": False}},
        },
    ],
    # What does not go with the images that come along, each as a member here.
    "x-images": {
        "dependentSchemas": {
            "bg_image": {
                "properties": {
                    "bg_color": False,
                    "channels": {"enum": ["rgba"]},
                    "format": {"enum": NO_ZIP},
                }
            }
        }
    },
}
ROLES = ("image", "bg_image")
