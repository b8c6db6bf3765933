"""smart-mask/classical: a mask of what was pointed at, on any CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Hooks, Item, Outcome, Placement
from gpu_worker.engines.parameters import smart_mask


class Classical:
    """Masks one object at a time."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="smart-mask",
        engine="classical",
        queue="cpu",
        title="Classical smart mask (no model; basic quality)",
        parameters=smart_mask.schema(),
        roles=smart_mask.ROLES,
        run_limit_s=30,
        run_limit_s_per_mp=1,
        licence="MIT",
    )
    placement: ClassVar[Placement] = "child"

    def load(self) -> None:
        from gpu_worker.engines.cutout import faces
        from gpu_worker.engines.smart_mask import masking

        faces.load()
        self._mask = masking.mask

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [(self._mask(item, hooks),) for item in batch]
