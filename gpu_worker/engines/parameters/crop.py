"""What `crop` can be asked for."""

from __future__ import annotations

from typing import Any

GRAVITY: dict[str, Any] = {
    "enum": [
        "center",
        "north",
        "north-east",
        "east",
        "south-east",
        "south",
        "south-west",
        "west",
        "north-west",
    ],
    "default": "center",
}
SHARE = {"type": "number", "minimum": 0, "maximum": 1}

PROPERTIES: dict[str, Any] = {
    "unit": {
        "enum": ["pixels", "fraction"],
        "default": "pixels",
        "description": "Of x, y, width and height; a fraction is one of the picture's "
        "width or height, from 0 to 1.",
    },
    "x": {
        "type": "number",
        "minimum": 0,
        "description": "Of the left edge. Where neither x nor y is given, gravity or "
        "the focus point says where the box lies.",
    },
    "y": {"type": "number", "minimum": 0, "description": "Of the upper edge."},
    "width": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Of the box; all that there is where nothing is said.",
    },
    "height": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Of the box; all that there is where nothing is said.",
    },
    "gravity": GRAVITY
    | {"description": "The side or corner of the picture that the box lies at."},
    "focus_x": SHARE
    | {"description": "The point that the box has in its middle, as far as it stays "
        "inside the picture: 0 left, 1 right."},
    "focus_y": SHARE | {"description": "0 top, 1 bottom."},
    "trim": {
        "type": "boolean",
        "default": False,
        "description": "Cut away first what is transparent around the picture, or has "
        "the colour of its upper left corner.",
    },
    "trim_threshold": {
        "type": "integer",
        "minimum": 0,
        "maximum": 254,
        "description": "How far a colour, or an alpha, of the border may be off; 10 "
        "where nothing is said.",
    },
}  # fmt: skip

_PIXELS = {"type": "integer", "maximum": 16_000}
_BOX = ("x", "y", "width", "height")
# What says where the box lies leaves nothing to say for the gravity.
_PLACED = {"gravity": {"const": "center"}}
RULES: dict[str, Any] = {
    "anyOf": [
        {"required": ["width"]},
        {"required": ["height"]},
        {"required": ["x"]},
        {"required": ["y"]},
        {"required": ["trim"], "properties": {"trim": {"const": True}}},
    ],
    "if": {"required": ["unit"], "properties": {"unit": {"const": "fraction"}}},
    "then": {"properties": dict.fromkeys(_BOX, SHARE)},
    "else": {"properties": dict.fromkeys(_BOX, _PIXELS)},
    "dependentRequired": {"focus_x": ["focus_y"], "focus_y": ["focus_x"]},
    "dependentSchemas": {
        "x": {"properties": _PLACED},
        "y": {"properties": _PLACED},
        "focus_x": {"properties": {"x": False, "y": False} | _PLACED},
        "trim_threshold": {
            "required": ["trim"],
            "properties": {"trim": {"const": True}},
        },
    },
}
