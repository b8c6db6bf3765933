"""smart-mask/sam2: a mask of what was pointed at, by a network made for prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines.parameters import smart_mask
from gpu_worker.engines.sam2 import settings
from gpu_worker.engines.smart_mask.neural import NeuralMask

if TYPE_CHECKING:
    from gpu_worker.engines.sam2.network import Embedding
    from gpu_worker.engines.smart_mask.seeing import Network

SIDE_PX = 1024
"""Of all published checkpoints; a smaller one gets its images smaller by itself."""


class Sam2(NeuralMask):
    """Three masks for each prompt: the whole, a part, a part of that."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="smart-mask",
        engine="sam2",
        queue="t4",
        title="Segment Anything 2",
        parameters=smart_mask.schema(candidates=True),
        roles=smart_mask.ROLES,
        results=smart_mask.MOST_CANDIDATES,
        batch_size=8,
        run_limit_s=60,
        run_limit_s_per_mp=1,
        licence="Apache-2.0",
        extra="gpu",
        weights="sam2/",
        gpu_memory_gb=6,
    )

    @staticmethod
    def available() -> Unavailable:
        return settings.available()

    @staticmethod
    def side_px() -> int:
        return SIDE_PX

    @staticmethod
    def keep_bytes() -> int:
        return settings.keep_bytes()

    def network(self) -> Network[Embedding]:
        from gpu_worker.engines.sam2 import network

        self.say("reading the weights of SAM 2")
        return network.read(settings.weights())
