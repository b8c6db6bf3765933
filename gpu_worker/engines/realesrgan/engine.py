"""upscale/realesrgan: announced where there is at least one of the five networks."""

from __future__ import annotations

from collections.abc import Sequence
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
from gpu_worker.engines.parameters import upscale
from gpu_worker.engines.realesrgan import files
from gpu_worker.errors import Stopped

if TYPE_CHECKING:
    import numpy as np

SCALE = 4


class Upscale(OnDevice):
    """One picture at a time: its tiles fill the device."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="upscale",
        engine="realesrgan",
        queue="t4",
        title="Real-ESRGAN",
        parameters=upscale.schema(models=files.present() or upscale.MODELS),
        run_limit_s=60,
        run_limit_s_per_mp=60,
        licence="BSD-3-Clause",
        extra="gpu",
        weights="upscale/",
        gpu_memory_gb=4,
    )
    modules: ClassVar[tuple[str, ...]] = ("torch", "spandrel", "safetensors")

    @staticmethod
    def available() -> Unavailable:
        return files.available()

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        from gpu_worker.engines.realesrgan import carrying

        return carrying.arrays(item, _scale(item))

    def load(self) -> None:
        from gpu_worker.engines.realesrgan import networks

        self._networks = {}
        device = devices.device()
        for name in files.present():
            self.say(f"reading {name}")
            self._networks[name] = networks.read(name, device)

    def unload(self) -> None:
        del self._networks

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        return [self._one(item, hooks) for item in batch]

    def _one(self, item: Item, hooks: Hooks) -> DeviceOutcome:
        from gpu_worker.engines.realesrgan import tiling

        def went_on(number: int, total: int) -> None:
            if hooks.cancelled(item):
                raise Stopped
            hooks.progress(item, number, total, "enlarging")

        first = next(iter(self._networks))
        network = self._networks[item.parameters.get("model", first)]
        arrays = dict(item.arrays)
        try:
            arrays["colours"] = tiling.enlarged(
                arrays["colours"], network, _scale(item), files.tile_px(), went_on
            )
        except Stopped as stopped:
            return stopped
        return Arrays(arrays=arrays)

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Picture, ...]:
        from gpu_worker.engines.realesrgan import carrying

        return (carrying.picture(made.arrays),)


def _scale(item: Item) -> int:
    return int(item.parameters.get("scale", SCALE))
