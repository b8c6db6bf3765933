"""What `canny` can be asked for."""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters import output

# The steepest edge there is has a strength of 4 x 255 in each direction.
STRENGTH = {"type": "integer", "minimum": 0, "maximum": 2040}

PROPERTIES: dict[str, Any] = {
    "format": output.PROPERTIES["format"] | {"default": "png"},
    "mode": {
        "enum": ["automatic", "fixed"],
        "default": "automatic",
        "description": "automatic: thresholds from the image's median, after noise "
        "was smoothed away. fixed: those that are given.",
    },
    "low": STRENGTH
    | {"default": 100, "description": "An edge goes on above this. Fixed mode only."},
    "high": STRENGTH
    | {"default": 200, "description": "An edge begins above this. Fixed mode only."},
}
RULES: dict[str, Any] = {
    "if": {"properties": {"mode": {"const": "automatic"}}},
    "then": {"properties": {"low": False, "high": False}},
}
