"""What `inpaint` can be asked for."""

from __future__ import annotations

from typing import Any

PROPERTIES: dict[str, Any] = {
    "method": {
        "enum": ["telea", "navier-stokes"],
        "default": "telea",
        "description": "How the hole is filled from its surroundings.",
    },
    "radius": {
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
        "default": 3,
        "description": "How far around a pixel is looked, in pixels.",
    },
    "mask_type": {
        "enum": ["area", "brush"],
        "default": "area",
        "description": "area: the mask says exactly what to fill. brush: it was "
        "painted by hand, and is widened first.",
    },
    "dilation": {
        "type": "integer",
        "minimum": 15,
        "maximum": 50,
        "default": 35,
        "description": "By how many pixels a brush mask is widened on each side.",
    },
}
RULES: dict[str, Any] = {
    "dependentSchemas": {
        "dilation": {
            "required": ["mask_type"],
            "properties": {"mask_type": {"const": "brush"}},
        }
    }
}
