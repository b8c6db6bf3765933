"""The engine `imaging`: one class per operation, all alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Hooks, Item, Outcome, Placement
from gpu_worker.engines.imaging.table import OPERATIONS, work


class Imaging:
    """Does one operation of the table on one item at a time."""

    spec: ClassVar[EngineSpec]
    placement: ClassVar[Placement] = "child"

    def __init_subclass__(cls, operation: str, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.spec = spec_of(operation)

    def load(self) -> None:
        from gpu_worker import finishing
        from gpu_worker.engines.imaging import running

        finishing.load()
        work(self.spec.operation)
        self._run = running.run

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [(self._run(self.spec.operation, item),) for item in batch]


def spec_of(name: str) -> EngineSpec:
    operation = OPERATIONS[name]
    return EngineSpec(
        operation=name,
        engine="imaging",
        queue="cpu",
        title=operation.title,
        parameters=operation.schema,
        images=operation.images,
        roles=operation.roles,
        needs=operation.needs,
        run_limit_s=operation.run_limit_s,
        run_limit_s_per_mp=operation.run_limit_s_per_mp,
        licence="MIT",
        is_step=operation.is_step,
    )


class Resize(Imaging, operation="resize"):
    """resize/imaging"""


class Crop(Imaging, operation="crop"):
    """crop/imaging"""


class Encode(Imaging, operation="encode"):
    """encode/imaging"""


class Extract(Imaging, operation="extract"):
    """extract/imaging"""


class Inpaint(Imaging, operation="inpaint"):
    """inpaint/imaging"""


class Canny(Imaging, operation="canny"):
    """canny/imaging"""


class Shadow(Imaging, operation="shadow"):
    """shadow/imaging"""


class WhiteBalance(Imaging, operation="white-balance"):
    """white-balance/imaging"""


class Compose(Imaging, operation="compose"):
    """compose/imaging"""
