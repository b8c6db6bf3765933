"""removebg/classical: the embedded default, which needs no weights and no GPU.

The subject is searched for at a small size; colours and alpha are those of the full
size. Basic quality: `details` say how confident it is, and `uncertain` when its guesses
differed so much that another engine may be worth its price.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Hooks, Item, Outcome
from gpu_worker.engines.cutout import SIZES

PARAMETERS: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "format": {
            "enum": ["png", "webp", "jpg", "jpeg"],
            "default": "png",
            "description": "Type of the result. A jpg needs a background_color.",
        },
        "output": {
            "enum": ["cutout", "alpha"],
            "default": "cutout",
            "description": "The cut-out, or its alpha alone as a grey picture.",
        },
        "background_color": {
            "type": "string",
            # "$" alone would let a line break follow.
            "pattern": "^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$(?!\\n)",
            "description": "Fill the background with this colour, as #rgb or #rrggbb.",
        },
        "crop": {
            "type": "boolean",
            "default": False,
            "description": "Cut away what is empty around the subject.",
        },
        "crop_margin": {
            "type": "integer",
            "minimum": 0,
            "maximum": 50,
            "default": 0,
            "description": "Space left around the cropped subject, in percent of its "
            "longer side. Never beyond the image.",
        },
        "size": {
            "enum": [*SIZES],
            "default": "full",
            "description": "At most 0.25, 1.5, 4 or 50 megapixels. Never enlarges.",
        },
    },
    "if": {
        "required": ["format"],
        "properties": {
            "format": {"enum": ["jpg", "jpeg"]},
            "output": {"enum": ["cutout"]},
        },
    },
    "then": {"required": ["background_color"]},
    "dependentRequired": {"crop_margin": ["crop"]},
}


class Classical:
    """Removes the background of one photo at a time."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="removebg",
        engine="classical",
        queue="cpu",
        title="Classical cut-out (no model; basic quality)",
        parameters=PARAMETERS,
        roles=("image",),
        run_limit_s=30,
        run_limit_s_per_mp=1,
        licence="MIT",
    )
    placement: ClassVar[Literal["child"]] = "child"

    def load(self) -> None:
        from gpu_worker.engines.cutout import removal

        self._remove = removal.remove

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [self._remove(item, hooks) for item in batch]
