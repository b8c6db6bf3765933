"""smart-mask/birefnet: the subject's mask, where it is what was pointed at."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines import devices
from gpu_worker.engines.base import (
    Arrays,
    DeviceOutcome,
    Hooks,
    Item,
    OnDevice,
    Picture,
)
from gpu_worker.engines.birefnet import settings
from gpu_worker.engines.parameters import smart_mask

if TYPE_CHECKING:
    import numpy as np

    from gpu_worker.engines.birefnet.masking import Masking


class SmartMask(OnDevice):
    """One mask for each prompt, with the soft edges of a cut-out. `candidates` are
    refused: there is one subject. Shares its network with `removebg/birefnet`."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="smart-mask",
        engine="birefnet",
        queue="t4",
        title="BiRefNet",
        parameters=smart_mask.schema(),
        roles=smart_mask.ROLES,
        batch_size=settings.BATCH,
        run_limit_s=120,
        run_limit_s_per_mp=1,
        licence="MIT",
        extra="gpu",
        weights="birefnet/model.safetensors",
        gpu_memory_gb=8,
    )
    modules: ClassVar[tuple[str, ...]] = ("torch", "safetensors")
    _masking: Masking

    @staticmethod
    def available() -> Unavailable:
        return settings.available()

    @staticmethod
    def batch_key(item: Item) -> Hashable | None:
        return ()

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        from gpu_worker.engines.smart_mask import asking, source

        return asking.arrays(item, source.MIDDLE_SIDE_PX)

    def load(self) -> None:
        from gpu_worker.engines.birefnet import masking, running

        self.say("reading the weights of BiRefNet")
        loaded = running.shared(devices.device(), settings.weights())
        self._masking = masking.Masking(loaded, settings.sizing())

    def warm_up(self) -> None:
        self._masking.loaded.warm_up(settings.sizing(), self.say)

    def unload(self) -> None:
        del self._masking

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        return self._masking.run(batch, hooks)

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Picture, ...]:
        from gpu_worker.engines.smart_mask import answering

        return answering.pictures(item, made)
