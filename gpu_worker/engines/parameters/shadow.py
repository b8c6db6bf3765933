"""What `shadow` can be asked for."""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters import COLOUR, output

OFFSET = {"type": "integer", "minimum": -500, "maximum": 500}

PROPERTIES: dict[str, Any] = {
    "format": output.PROPERTIES["format"] | {"default": "png"},
    "offset_x": OFFSET
    | {"default": 3, "description": "In pixels; positive is to the right."},
    "offset_y": OFFSET
    | {"default": 5, "description": "In pixels; positive is downwards."},
    "opacity": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": 0.4,
        "description": "How dark the shadow is where it is darkest.",
    },
    "blur_radius": {
        "type": "integer",
        "minimum": 0,
        "maximum": 200,
        "default": 21,
        "description": "How soft its edge is: the width of the blur in pixels.",
    },
    "floating_height": {
        "type": "integer",
        "minimum": 0,
        "maximum": 500,
        "default": 0,
        "description": "How far the object floats above the ground, in pixels: its "
        "shadow lies lower by as much, and is softer by 30 % for each 50 pixels.",
    },
    "ground_bias": {
        "type": "boolean",
        "default": True,
        "description": "Whether the shadow fades from the object's foot to its top.",
    },
    "expand": {
        "type": "boolean",
        "default": False,
        "description": "Whether the picture grows where the shadow would be cut off.",
    },
    "backdrop": COLOUR
    | {
        "description": "Put object and shadow on this colour; transparent where "
        "nothing is said.",
    },
}
