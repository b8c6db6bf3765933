"""What `generate` can be asked for, whoever paints it.

An engine that does not honour a member takes it out of its own schema: what is not
honoured is refused.
"""

from __future__ import annotations

from typing import Any

from gpu_worker.engines.parameters import output

MOST_CHARACTERS = 4000
LEAST_SIDE_PX, MOST_SIDE_PX = 256, 2048
MOST_RESULTS = 4
IMAGES = (0, 0)

PROMPT: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MOST_CHARACTERS,
    # Blanks alone ask for nothing.
    "pattern": "\\S",
    "x-form": "must not be blank",
}
SIDE: dict[str, Any] = {
    "type": "integer",
    "minimum": LEAST_SIDE_PX,
    "maximum": MOST_SIDE_PX,
}
PAINTING: dict[str, Any] = {
    "negative_prompt": {
        "type": "string",
        "maxLength": MOST_CHARACTERS,
        "description": "What should not be in the picture.",
    },
    "steps": {
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": "Denoising steps: more take longer.",
    },
    "true_cfg_scale": {
        "type": "number",
        "minimum": 0.5,
        "maximum": 15,
        "default": 4.0,
        "description": "How closely the prompt is followed (classifier-free guidance).",
    },
    "guidance_scale": {
        "type": "number",
        "minimum": 0.5,
        "maximum": 20,
        "description": "The older name of true_cfg_scale; one of the two.",
    },
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**31 - 1,
        "description": "The same seed gives the same picture; one that was chosen is "
        "in the result's details.",
    },
    "n": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_RESULTS,
        "default": 1,
        "description": "How many pictures.",
    },
}
"""What every engine that paints from a prompt is told, with or without an image."""

OUTPUT = output.PROPERTIES | {
    "format": output.PROPERTIES["format"]
    | {"default": "png", "description": "Type of the results."}
}
PAINTING_RULES: dict[str, Any] = {
    "dependentSchemas": {"guidance_scale": {"properties": {"true_cfg_scale": False}}},
    "allOf": [output.RULES],
}
PROPERTIES: dict[str, Any] = {
    "prompt": PROMPT | {"description": "What the picture shows."},
    **PAINTING,
    "steps": PAINTING["steps"] | {"default": 50},
    "width": SIDE | {"default": 1024, "description": "In pixels."},
    "height": SIDE | {"default": 1024, "description": "In pixels."},
    **OUTPUT,
}
RULES: dict[str, Any] = PAINTING_RULES | {"required": ["prompt"]}
