"""resize/imaging: another size, and another format where asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Hooks, Item, Outcome

# Two such sides make a picture of 50 megapixels, the most that is handled.
MOST_SIDE_PX = 7000
SIDE = {"type": "integer", "minimum": 1, "maximum": MOST_SIDE_PX}

PARAMETERS: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "width": SIDE | {"description": "In pixels; alone, it keeps the proportions."},
        "height": SIDE | {"description": "In pixels; alone, it keeps the proportions."},
        "fit": {
            "enum": ["cover", "contain", "fill", "inside", "outside"],
            "default": "cover",
            "description": "cover: fill the box and crop from the centre. contain: fit "
            "into the box and pad. fill: stretch. inside: no larger than the box. "
            "outside: no smaller than the box.",
        },
        "enlarge": {
            "type": "boolean",
            "default": False,
            "description": "Whether the picture may become larger than it is.",
        },
        "format": {
            "enum": ["jpg", "jpeg", "png", "webp"],
            "description": "The input's own where it is one of these; else jpeg, or "
            "png where anything is transparent.",
        },
        "quality": {
            "type": "integer",
            "minimum": 1,
            "maximum": 100,
            "default": 85,
            "description": "Of a jpg or webp.",
        },
    },
    "anyOf": [{"required": ["width"]}, {"required": ["height"]}],
    "dependentRequired": {"quality": ["format"]},
    "if": {"required": ["format"], "properties": {"format": {"const": "png"}}},
    "then": {"properties": {"quality": False}},
}


class Resize:
    """Resizes one image at a time."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="resize",
        engine="imaging",
        queue="cpu",
        title="Resize",
        parameters=PARAMETERS,
        roles=("image",),
        run_limit_s=15,
        run_limit_s_per_mp=0.5,
        licence="MIT",
    )
    placement: ClassVar[Literal["child"]] = "child"

    def load(self) -> None:
        from gpu_worker.engines import resizing

        self._resize = resizing.resize

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [self._resize(item) for item in batch]
