"""What `compose` can be asked for."""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters import COLOUR
from gpu_worker.engines.parameters.crop import SHARE
from gpu_worker.engines.parameters.resize import SIDE

GRADIENT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["colors"],
    "properties": {
        "colors": {
            "type": "array",
            "items": COLOUR,
            "minItems": 2,
            "maxItems": 8,
            "description": "From the first to the last, evenly spaced.",
        },
        "shape": {
            "enum": ["linear", "radial"],
            "default": "linear",
            "description": "radial: from the middle to the farthest corner.",
        },
        "angle": {
            "type": "number",
            "minimum": 0,
            "maximum": 360,
            "default": 180,
            "description": "Of a linear one, in degrees, clockwise: 0 goes up, 90 to "
            "the right, 180 down.",
        },
    },
}

PROPERTIES: dict[str, Any] = {
    "color": COLOUR | {"description": "Fill the background with it."},
    "gradient": GRADIENT | {"description": "Fill the background with it."},
    "fit": {
        "enum": ["cover", "contain", "fill"],
        "description": "How a reference image fills the background. cover (where "
        "nothing is said): all of it, cropped. contain: whole, with the colour or "
        "gradient around. fill: stretched.",
    },
    "width": SIDE
    | {
        "description": "Of the result, in pixels; alone, it keeps the proportions. The "
        "reference's where nothing is said, or else the image's own.",
    },
    "height": SIDE | {"description": "As width."},
    "trim": {
        "type": "boolean",
        "default": False,
        "description": "Whether to cut away first what is transparent around the "
        "image.",
    },
    "scale": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "Make the image as large as fits into this share of the "
        "background's width and height. Where nothing is said it "
        "keeps its size, and is shrunk where it would not fit.",
    },
    "x": SHARE | {"default": 0.5, "description": "Where it stands: 0 left, 1 right."},
    "y": SHARE | {"default": 0.5, "description": "Where it stands: 0 top, 1 bottom."},
}
RULES: dict[str, Any] = {
    "dependentSchemas": {"color": {"properties": {"gradient": False}}},
    # With the images that come along, each as a member here.
    "x-images": {
        "anyOf": [{"required": [name]} for name in ("color", "gradient", "reference")],
        "dependentRequired": {"fit": ["reference"]},
    },
}
