"""What `edit` can be asked for, and what the images of a request stand for.

The first `image` is edited; further ones are references, in their order. `mask` says
where (white: edit here), `reference` is an object to insert, `reference_mask` cuts that
object out of its picture.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gpu_worker.engines.parameters import composing, generate
from gpu_worker.engines.parameters.generate import MOST_RESULTS, OUTPUT, PAINTING

__all__ = ["MOST_RESULTS"]

IMAGES = (1, 4)
ROLES = ("image", "mask", "reference", "reference_mask")

DEFAULT_PROMPT = (
    "Furnish this room in a minimalist modern style with neutral colours. Leave its "
    "architecture and its light as they are, and give every piece a true shadow and "
    "reflection."
)
"""For who sends a picture and no word: home staging."""

CONDITIONS: dict[str, tuple[str, ...]] = {
    "insertion": ("reference", "mask", "masked_background"),
    "removal": ("masked_background", "mask", "mae"),
    "white-balance": ("image", "canny"),
}
"""By task: the pictures that a model is given, in the order in which it was trained.

`masked_background` is the image with a black hole where the mask is white, `mae` the
image with that hole filled in by `inpaint`, `canny` its edges. With a `reference_mask`
the mask is the object's outline, placed where `mask` says.
"""
NEEDS: dict[str, tuple[str, ...]] = {
    "insertion": ("mask", "reference"),
    "removal": ("mask",),
}
BUCKETS_PX = ((640, 512), (896, 768), (1280, 1024), (1792, 1536))
LARGEST_BUCKET_PX = 2048
BRUSH_DILATION_PX = 35
"""How far a brush's mask is grown before the hole is filled in for a removal."""

PROPERTIES: dict[str, Any] = {
    "prompt": generate.PROMPT
    | {
        "description": "What to do with the image. Without one, and without a task, a "
        "room is furnished."
    },
    "task": {
        "enum": [*CONDITIONS],
        "description": "insertion: put the reference where the mask is. removal: take "
        "away what is under the mask. white-balance: correct the colours. Without a "
        "task the prompt alone says what to do.",
    },
    "input_quality": {
        "enum": ["resized", "original"],
        "default": "resized",
        "description": "resized: work at the nearest of 512, 768, 1024, 1536 and 2048 "
        "pixels of the longer side. original: at the size that the image has.",
    },
    "mask_tool": {
        "enum": ["brush", "box"],
        "description": "How the mask was drawn: a brush's is grown a little before the "
        "hole is filled in.",
    },
    **composing.PROPERTIES,
    **PAINTING,
    "steps": PAINTING["steps"] | {"default": 40},
    "width": generate.SIDE | {"description": "Of the result; with height."},
    "height": generate.SIDE | {"description": "Of the result; with width."},
    **OUTPUT,
}
RULES: dict[str, Any] = generate.PAINTING_RULES | {
    "dependentRequired": {
        "width": ["height"],
        "height": ["width"],
        "mask_tool": ["task"],
    },
    "allOf": [
        *generate.PAINTING_RULES["allOf"],
        # It changes nothing else: least of all what is seen.
        {
            "if": {
                "required": ["task"],
                "properties": {"task": {"const": "white-balance"}},
            },
            "then": {"properties": dict.fromkeys(composing.PROPERTIES, False)},
        },
    ],
    # What goes with the images that come along, each as a member here.
    "x-images": {
        "dependentRequired": {"reference_mask": ["reference"], "mask_tool": ["mask"]},
        "allOf": [
            {
                "if": {
                    "required": ["task"],
                    "properties": {"task": {"const": task}},
                },
                "then": {"required": [*needs]},
            }
            for task, needs in NEEDS.items()
        ],
    },
}


def bucket_px(longer_side_px: int) -> int:
    """The side of the square in which an image of this longer side is worked on."""
    for most_px, side_px in BUCKETS_PX:
        if longer_side_px <= most_px:
            return side_px
    return LARGEST_BUCKET_PX


def size_px(image_px: tuple[int, int], parameters: dict[str, Any]) -> tuple[int, int]:
    """(width, height) of the result of editing an image of this size.

    The padding to a square, where an engine needs it, is undone in the result.
    """
    if "width" in parameters:
        return parameters["width"], parameters["height"]
    if parameters.get("input_quality", "resized") == "original":
        return image_px
    factor = bucket_px(max(image_px)) / max(image_px)
    return max(1, round(image_px[0] * factor)), max(1, round(image_px[1] * factor))


def missing(parameters: dict[str, Any], roles: Collection[str]) -> tuple[str, ...]:
    """The images that the task needs and that are not among these roles."""
    needs = NEEDS.get(parameters.get("task", ""), ())
    return tuple(role for role in needs if role not in roles)
