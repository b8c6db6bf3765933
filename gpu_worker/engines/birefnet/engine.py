"""removebg/birefnet: announced by every worker of its queue that has the weights."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines import devices, parameters
from gpu_worker.engines.base import (
    Arrays,
    DeviceOutcome,
    Hooks,
    Item,
    OnDevice,
    Picture,
)
from gpu_worker.engines.birefnet import settings
from gpu_worker.engines.birefnet.sizing import seen_size
from gpu_worker.engines.parameters import removebg
from gpu_worker.errors import Stopped

if TYPE_CHECKING:
    import numpy as np

    from gpu_worker.engines.birefnet.matting import Cutout

logger = logging.getLogger("gpu_worker.birefnet")


class Removebg(OnDevice):
    """Cut-outs of photos of any sizes, up to eight in one pass of the network."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="removebg",
        engine="birefnet",
        queue="t4",
        title="BiRefNet",
        parameters=parameters.schema(removebg.PROPERTIES, removebg.RULES),
        roles=removebg.ROLES,
        batch_size=settings.BATCH,
        run_limit_s=120,
        run_limit_s_per_mp=2,
        licence="MIT",
        extra="gpu",
        weights="birefnet/model.safetensors",
        gpu_memory_gb=8,
    )
    modules: ClassVar[tuple[str, ...]] = ("torch", "safetensors")

    @staticmethod
    def available() -> Unavailable:
        return settings.available()

    @staticmethod
    def batch_key(item: Item) -> Hashable | None:
        """Pictures that the network sees at one size."""
        return _seen(item)

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        from gpu_worker.engines.cutout import options

        return {"picture": options.picture(item)}

    def load(self) -> None:
        from gpu_worker.engines.birefnet import running

        self.say("reading the weights of BiRefNet")
        self._loaded = running.shared(devices.device(), settings.weights())

    def warm_up(self) -> None:
        self._loaded.warm_up(settings.sizing(), self.say)

    def unload(self) -> None:
        del self._loaded

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        """One pass for all that are seen at one size."""
        made: dict[str, DeviceOutcome] = {}
        for size in dict.fromkeys(_seen(item) for item in batch):
            same = [item for item in batch if _seen(item) == size]
            made |= self._pass(same, size, hooks)
        return [made[item.job_id] for item in batch]

    def _pass(
        self, items: Sequence[Item], size: tuple[int, int], hooks: Hooks
    ) -> dict[str, DeviceOutcome]:
        wanted = [item for item in items if not hooks.cancelled(item)]
        made: dict[str, DeviceOutcome] = {item.job_id: Stopped() for item in items}
        for item in wanted:
            hooks.progress(item, 1, 3, "finding the subject")
        pictures = [item.arrays["picture"] for item in wanted]
        cutouts = self._loaded.matting.cut_out(pictures, *size) if wanted else []
        logger.info("%d pictures in one pass", len(cutouts))
        for item, cutout in zip(wanted, cutouts, strict=True):
            hooks.progress(item, 2, 3, "encoding")
            made[item.job_id] = _arrays(cutout)
        return made

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Picture, ...]:
        return (Picture(pixels=made.arrays["rgba"], details=made.details),)


def _seen(item: Item) -> tuple[int, int]:
    height_px, width_px = item.arrays["picture"].shape[:2]
    return seen_size(width_px, height_px, settings.sizing())


def _arrays(cutout: Cutout) -> Arrays:
    found = cutout.subject_found
    details = {"subject_found": found, "uncertain": not found}
    return Arrays(arrays={"rgba": cutout.rgba}, details=details)
