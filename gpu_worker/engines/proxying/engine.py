"""proxy/imaging: one picture by the options of its address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Hooks, Item, Outcome


class Proxy:
    """Makes one picture at a time. A second input is the watermark."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="proxy",
        engine="imaging",
        queue="web",
        title="On the fly",
        parameters={"type": "object"},
        images=(1, 2),
        licence="MIT",
    )
    placement: ClassVar[Literal["child"]] = "child"

    def load(self) -> None:
        from gpu_worker.engines.proxying import pipeline

        self._make = pipeline.make

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [(self._make(item),) for item in batch]
