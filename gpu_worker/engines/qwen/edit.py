"""edit/qwen-image-edit: images changed as a prompt says, or by a task."""

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
from gpu_worker.engines.parameters import edit
from gpu_worker.engines.qwen import schemas, settings
from gpu_worker.engines.qwen.generate import pictures
from gpu_worker.engines.qwen.sizes import Canvas

if TYPE_CHECKING:
    import numpy as np

    from gpu_worker.engines.qwen.painting import Painter

NAME: settings.Name = "qwen-image-edit"


class Edit(OnDevice):
    """Qwen-Image-Edit, of the kind that takes several images (2509 and later)."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="edit",
        engine=NAME,
        queue="a100",
        title="Qwen-Image-Edit",
        parameters=schemas.of_edit(),
        images=edit.IMAGES,
        roles=edit.ROLES[1:],
        results=edit.MOST_RESULTS,
        batch_size=1,
        run_limit_s=3600,
        licence="Apache-2.0",
        extra="gpu",
        weights=NAME,
        gpu_memory_gb=64,
    )
    modules: ClassVar[tuple[str, ...]] = (
        *("torch", "torchvision", "diffusers", "transformers", "accelerate", "peft"),
    )
    _painter: Painter

    @staticmethod
    def available() -> Unavailable:
        settings.check()
        return "" if settings.source(NAME) else "weights_missing"

    @staticmethod
    def batch_key(item: Item) -> Hashable | None:
        """Never shared: the pipeline takes one prompt and its images at a time."""
        return None

    def load(self) -> None:
        from gpu_worker.engines.qwen.painting import Painter

        self._painter = Painter(NAME, say=self.say)

    def warm_up(self) -> None:
        for size in settings.warm_sizes(devices.device()):
            self.say(f"warming up at {size[0]}x{size[1]}")
            self._painter.warm_up(size)

    def unload(self) -> None:
        self._painter.unload()

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        from gpu_worker.engines.qwen import conditions

        return conditions.arrays(item)

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        canvases = [Canvas.of(item.arrays["canvas"]) for item in batch]
        return self._painter.paint_all(batch, canvases, hooks)

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Picture, ...]:
        from gpu_worker.engines.qwen import conditions

        return pictures(conditions.painted(made.arrays), made.details)
