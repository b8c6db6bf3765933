"""What `upscale` can be asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpu_worker.engines import parameters
from gpu_worker.engines.parameters import output

MODELS = (
    "RealESRGAN_x4plus",
    "RealESRNet_x4plus",
    "RealESRGAN_x4plus_anime_6B",
    "RealESRGAN_x2plus",
    "realesr-general-x4v3",
)

PROPERTIES: dict[str, Any] = {
    "scale": {
        "type": "integer",
        "minimum": 1,
        "maximum": 6,
        "default": 4,
        "description": "How many times as wide and as high the result is.",
    },
    "format": output.PROPERTIES["format"] | {"default": "jpg"},
    "quality": output.PROPERTIES["quality"] | {"default": 95},
}
REFUSED = "needs a GPU engine: the classical engine resamples, without any model"
NO_FACES = "no engine here restores faces by a model of their own"


def schema(*, models: Sequence[str]) -> dict[str, Any]:
    """With a choice among these models, the first of them unless said; or, where there
    are none, with a refusal that says why."""
    properties = output.PROPERTIES | PROPERTIES
    if models:
        properties["model"] = {
            "enum": [*models],
            "default": models[0],
            "description": "Which trained model makes the detail.",
        }
    else:
        properties["model"] = _refused(REFUSED)
    properties["face_enhance"] = _refused(NO_FACES if models else REFUSED)
    return parameters.schema(properties, {"allOf": [output.RULES]})


def _refused(reason: str) -> dict[str, Any]:
    return {"not": {}, "x-refused": reason}
