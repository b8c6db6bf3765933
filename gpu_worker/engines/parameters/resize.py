"""What `resize` can be asked for."""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters import COLOUR
from gpu_worker.engines.parameters.crop import GRAVITY

# Two such sides make a picture of 50 megapixels, the most that is handled.
MOST_SIDE_PX = 7000
SIDE = {"type": "integer", "minimum": 1, "maximum": MOST_SIDE_PX}

PROPERTIES: dict[str, Any] = {
    "width": SIDE | {"description": "In pixels; alone, it keeps the proportions."},
    "height": SIDE | {"description": "In pixels; alone, it keeps the proportions."},
    "fit": {
        "enum": ["cover", "contain", "fill", "inside", "outside"],
        "default": "cover",
        "description": "cover: fill the box and crop what is too much. contain: fit "
        "into the box and pad. fill: stretch. inside: no larger than the box. "
        "outside: no smaller than the box.",
    },
    "enlarge": {
        "type": "boolean",
        "default": False,
        "description": "Whether the picture may become larger than it is.",
    },
    "dpr": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 8,
        "default": 1,
        "description": "Pixels of the screen per pixel of width and height.",
    },
    "gravity": GRAVITY
    | {
        "description": "cover: the side or corner that stays. contain: the one that "
        "the picture lies at.",
    },
    "background": COLOUR
    | {
        "description": "Of the padding, and of a format without transparency, which "
        "is white where nothing is said.",
    },
    "greyscale": {"type": "boolean", "default": False},
    "blur": {
        "type": "number",
        "minimum": 0,
        "maximum": 100,
        "default": 0,
        "description": "Standard deviation in pixels of the result.",
    },
    "sharpen": {
        "type": "number",
        "minimum": 0,
        "maximum": 5,
        "default": 0,
        "description": "Strength of an unsharp mask of one pixel.",
    },
}
RULES: dict[str, Any] = {"anyOf": [{"required": ["width"]}, {"required": ["height"]}]}
