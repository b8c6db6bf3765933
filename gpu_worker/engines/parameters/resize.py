"""What `resize` can be asked for."""

from __future__ import annotations

from typing import Any

# Two such sides make a picture of 50 megapixels, the most that is handled.
MOST_SIDE_PX = 7000
SIDE = {"type": "integer", "minimum": 1, "maximum": MOST_SIDE_PX}

PROPERTIES: dict[str, Any] = {
    "width": SIDE | {"description": "In pixels; alone, it keeps the proportions."},
    "height": SIDE | {"description": "In pixels; alone, it keeps the proportions."},
    "fit": {
        "enum": ["cover", "contain", "fill", "inside", "outside"],
        "default": "cover",
        "description": "cover: fill the box and crop from the centre. contain: fit "
        "into the box and pad. fill: stretch. inside: no larger than the box. "
        "outside: no smaller than the box.",
    },
    "enlarge": {
        "type": "boolean",
        "default": False,
        "description": "Whether the picture may become larger than it is.",
    },
}
RULES: dict[str, Any] = {"anyOf": [{"required": ["width"]}, {"required": ["height"]}]}
