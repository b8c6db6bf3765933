"""How a result is encoded: members that every imaging operation takes.

In a pipeline they are the last step's to say: `x-output` marks them, so that the
platform refuses them on any other step.
"""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters import COLOUR

OUTPUT = {"x-output": True}
_MEMBERS: dict[str, Any] = {
    "format": {
        "enum": ["jpg", "jpeg", "png", "webp", "avif", "gif"],
        "description": "The input's own where it can hold the result; else png where "
        "anything is transparent, and jpeg where nothing is. An animation stays one in "
        "gif and webp; the others show its first frame.",
    },
    "quality": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": "Of a jpg, webp (85 where nothing is said) or avif (60).",
    },
    "lossless": {
        "type": "boolean",
        "default": False,
        "description": "Keep every pixel: of a webp or avif; a png always does.",
    },
    "progressive": {
        "type": "boolean",
        "default": False,
        "description": "Show coarse before fine: of a jpg or png.",
    },
    "max_bytes": {
        "type": "integer",
        "minimum": 100,
        "description": "The most bytes of the file. The quality is lowered until it "
        "fits; what cannot be made to fit fails as invalid_parameters.",
    },
    "strip_metadata": {
        "type": "boolean",
        "default": True,
        "description": "Leave out what the input's EXIF and XMP say, among it where a "
        "photo was taken.",
    },
    "icc": {
        "enum": ["srgb", "keep"],
        "default": "srgb",
        "description": "srgb: convert the colours. keep: leave them as they are, and "
        "embed the input's RGB profile.",
    },
    "background": COLOUR
    | {
        "description": "What shows through where the format has no transparency; "
        "white where nothing is said.",
    },
}
PROPERTIES = {name: member | OUTPUT for name, member in _MEMBERS.items()}


def _where(name: str, value: Any) -> dict[str, Any]:
    return {"required": [name], "properties": {name: value}}


RULES: dict[str, Any] = {
    "dependentRequired": {"quality": ["format"]},
    "allOf": [
        {
            "if": _where("format", {"enum": ["png", "gif"]}),
            "then": {"properties": {"quality": False}},
        },
        {
            "if": _where("lossless", {"const": True}),
            "then": {
                "required": ["format"],
                "properties": {
                    "format": {"enum": ["png", "webp", "avif"]},
                    "quality": False,
                },
            },
        },
        {
            "if": _where("progressive", {"const": True}),
            "then": _where("format", {"enum": ["jpg", "jpeg", "png"]}),
        },
    ],
}
