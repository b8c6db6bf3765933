"""What `white-balance` can be asked for."""

from __future__ import annotations

from typing import Any

SHIFT = {"type": "number", "minimum": -100, "maximum": 100}

PROPERTIES: dict[str, Any] = {
    "mode": {
        "enum": ["auto", "manual"],
        "default": "auto",
        "description": "auto: take away the colour of the light, as far as it can be "
        "told from the image. manual: by temperature and tint alone.",
    },
    "temperature": SHIFT
    | {"description": "Warmer above 0, cooler below. In auto it is added."},
    "tint": SHIFT
    | {"description": "Towards magenta above 0, green below. In auto it is added."},
}
RULES: dict[str, Any] = {
    "if": {"required": ["mode"], "properties": {"mode": {"const": "manual"}}},
    "then": {"anyOf": [{"required": ["temperature"]}, {"required": ["tint"]}]},
}
