"""What `upscale` can be asked for."""

from __future__ import annotations

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
MODEL_PROPERTIES: dict[str, Any] = {
    "model": {
        "enum": [*MODELS],
        "default": MODELS[0],
        "description": "Which trained model makes the detail.",
    },
    "face_enhance": {
        "type": "boolean",
        "default": False,
        "description": "Whether faces are restored by a model of their own.",
    },
}
REFUSED = "needs a GPU engine: the classical engine resamples, without any model"


def schema(*, models: bool) -> dict[str, Any]:
    """With the models' parameters, or with a refusal that says why there are none."""
    refused = {"not": {}, "x-refused": REFUSED}
    of_models = {
        name: member if models else refused for name, member in MODEL_PROPERTIES.items()
    }
    properties = output.PROPERTIES | PROPERTIES | of_models
    return parameters.schema(properties, {"allOf": [output.RULES]})
