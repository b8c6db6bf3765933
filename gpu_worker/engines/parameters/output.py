"""How a result is encoded: members that every imaging operation takes."""

from __future__ import annotations

from typing import Any

PROPERTIES: dict[str, Any] = {
    "format": {
        "enum": ["jpg", "jpeg", "png", "webp"],
        "description": "The input's own where it can hold the result; else png where "
        "anything is transparent, and jpeg where nothing is.",
    },
    "quality": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": "Of a jpg or webp; 85 where nothing is said.",
    },
}
RULES: dict[str, Any] = {
    "dependentRequired": {"quality": ["format"]},
    "if": {"required": ["format"], "properties": {"format": {"const": "png"}}},
    "then": {"properties": {"quality": False}},
}
