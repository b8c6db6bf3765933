"""What `extract` can be asked for."""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters import output

PROPERTIES: dict[str, Any] = {
    "format": output.PROPERTIES["format"] | {"default": "png"},
    "mode": {
        "enum": ["transparent", "square"],
        "default": "transparent",
        "description": "transparent: the whole image, the mask as its alpha. square: "
        "the object alone, fitted into a white square of 512 pixels, or of 1024 where "
        "it is larger than 512.",
    },
}
