"""upscale/classical: a picture several times as large, by resampling.

No detail is invented: what was not in the picture is not in the result. The models
that do invent are known by name, so that who asks for one is told where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Hooks, Item, Outcome, Placement
from gpu_worker.engines.parameters import upscale


class Classical:
    """Upscales one image at a time."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="upscale",
        engine="classical",
        queue="cpu",
        title="Classical upscaling (no model; resamples, invents no detail)",
        parameters=upscale.schema(models=()),
        roles=("image",),
        run_limit_s=30,
        run_limit_s_per_mp=8,
        licence="MIT",
    )
    placement: ClassVar[Placement] = "child"

    def load(self) -> None:
        from gpu_worker.engines.upscaling import resampling

        self._upscale = resampling.upscale

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [(self._upscale(item),) for item in batch]
