"""smart-mask/fastsam: a mask of what was pointed at, among all that FastSAM finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines.fastsam import settings
from gpu_worker.engines.parameters import smart_mask
from gpu_worker.engines.smart_mask.neural import NeuralMask
from gpu_worker.errors import EngineUnavailable

if TYPE_CHECKING:
    from gpu_worker.engines.fastsam.network import Scene
    from gpu_worker.engines.smart_mask.seeing import Network


class FastSam(NeuralMask):
    """Off until the owner has acknowledged the licence of ultralytics and weights."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="smart-mask",
        engine="fastsam",
        queue="t4",
        title="FastSAM",
        parameters=smart_mask.schema(candidates=True),
        roles=smart_mask.ROLES,
        results=smart_mask.MOST_CANDIDATES,
        batch_size=8,
        run_limit_s=60,
        run_limit_s_per_mp=1,
        licence=settings.LICENCE,
        extra="fastsam",
        weights="fastsam/FastSAM-x.pt",
        gpu_memory_gb=6,
    )

    @staticmethod
    def available() -> Unavailable:
        return settings.available()

    @staticmethod
    def side_px() -> int:
        return settings.side_px()

    @staticmethod
    def keep_bytes() -> int:
        return settings.keep_bytes()

    def network(self) -> Network[Scene]:
        # Once more, whoever asks: nothing of ultralytics is imported without it.
        if not settings.acknowledged():
            raise EngineUnavailable("The licence of FastSAM was not acknowledged.")
        from gpu_worker.engines.fastsam import network

        self.say("reading the weights of FastSAM")
        return network.read(settings.file(), settings.side_px())
