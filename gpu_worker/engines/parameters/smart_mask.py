"""What `smart-mask` can be asked for: points, boxes, a mask that guides, or nothing."""

from __future__ import annotations

from typing import Any

from gpu_worker.engines import parameters

MOST_POINTS = 100
MOST_BOXES = 16
MOST_BORDER_PX = 200
MOST_CANDIDATES = 3

_NUMBER = {"type": "number", "minimum": 0}
_BOX = {"type": "array", "items": _NUMBER, "minItems": 4, "maxItems": 4}

PROPERTIES: dict[str, Any] = {
    "points": {
        "type": "array",
        "items": {"type": "array", "items": _NUMBER, "minItems": 2, "maxItems": 2},
        "minItems": 1,
        "maxItems": MOST_POINTS,
        "description": "[x, y] in pixels of the upright image, from its upper left "
        "corner.",
    },
    "labels": {
        "type": "array",
        "items": {"enum": [0, 1]},
        "minItems": 1,
        "maxItems": MOST_POINTS,
        "description": "One for each point: 1 on the object, 0 beside it. All 1 where "
        "nothing is said.",
    },
    "box": _BOX
    | {
        "description": "[x_min, y_min, x_max, y_max] around the object, in pixels of "
        "the upright image; what lies outside the image is cut away.",
    },
    "boxes": {
        "type": "array",
        "items": _BOX,
        "minItems": 1,
        "maxItems": MOST_BOXES,
        "description": "Several boxes, each around an object of its own.",
    },
    "auto": {
        "type": "boolean",
        "description": "Find the subject where no point, box or mask says what it is.",
    },
    "border_adjustment": {
        "type": "integer",
        "minimum": -MOST_BORDER_PX,
        "maximum": MOST_BORDER_PX,
        "default": 0,
        "description": "Pixels of the image by which the outline is moved: outwards, "
        "or inwards where it is negative.",
    },
    "blur": {
        "type": "boolean",
        "default": False,
        "description": "Soften the edge much more: by 0.75 % of the shorter side, and "
        "4 pixels at least (standard deviation).",
    },
    "format": {
        "enum": ["png"],
        "x-output": True,
        "default": "png",
        "description": "A grey picture of 8 bits, as large as the image.",
    },
}
RULES: dict[str, Any] = {
    "dependentRequired": {"labels": ["points"]},
    "dependentSchemas": {"box": {"properties": {"boxes": False}}},
    "x-images": {
        "anyOf": [
            {"required": [name]} for name in ("points", "box", "boxes", "auto", "mask")
        ]
    },
}
ROLES = ("image", "mask")


CANDIDATES: dict[str, Any] = {
    "candidates": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_CANDIDATES,
        "default": 1,
        "description": "How many masks to make at most: what is meant is often open, "
        "the whole or a part of it. The best is the first result.",
    },
}


def schema(*, candidates: bool = False) -> dict[str, Any]:
    """For an engine that may have several answers, or for one that has a single one."""
    return parameters.schema(PROPERTIES | (CANDIDATES if candidates else {}), RULES)
