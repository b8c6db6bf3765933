"""generate/qwen-image: pictures from a prompt."""

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
from gpu_worker.engines.parameters import generate
from gpu_worker.engines.qwen import schemas, settings, sizes

if TYPE_CHECKING:
    from gpu_worker.engines.qwen.painting import Painter

NAME: settings.Name = "qwen-image"


class Generate(OnDevice):
    """Qwen-Image. Small pictures share a pass; large ones fill the device alone."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="generate",
        engine=NAME,
        queue="a100",
        title="Qwen-Image",
        parameters=schemas.of_generate(),
        images=generate.IMAGES,
        results=generate.MOST_RESULTS,
        batch_size=sizes.MOST_TOGETHER,
        run_limit_s=1200,
        licence="Apache-2.0",
        extra="gpu",
        weights=NAME,
        gpu_memory_gb=64,
    )
    modules: ClassVar[tuple[str, ...]] = (
        *("torch", "diffusers", "transformers", "accelerate", "peft"),
    )
    _painter: Painter

    @staticmethod
    def available() -> Unavailable:
        settings.check()
        return "" if settings.source(NAME) else "weights_missing"

    @staticmethod
    def batch_key(item: Item) -> Hashable | None:
        """Pictures of one small size with the same steps and guidance."""
        size = size_of(item)
        if sizes.together(size) == 1:
            return None
        wanted = item.parameters
        kept = ("tier", "steps", "true_cfg_scale", "guidance_scale")
        return size, *(wanted.get(name) for name in kept)

    def load(self) -> None:
        from gpu_worker.engines.qwen.painting import Painter

        self._painter = Painter(NAME, say=self.say)

    def warm_up(self) -> None:
        for size in settings.warm_sizes(devices.device()):
            self.say(f"warming up at {size[0]}x{size[1]}")
            self._painter.warm_up(size)

    def unload(self) -> None:
        self._painter.unload()

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        canvases = [canvas_of(item) for item in batch]
        return self._painter.paint_all(batch, canvases, hooks)

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Picture, ...]:
        from gpu_worker.engines.qwen import conditions

        return pictures(conditions.painted(made.arrays), made.details)


def size_of(item: Item) -> settings.Size:
    """The size that is painted for the item."""
    wanted = item.parameters["width"], item.parameters["height"]
    return sizes.nearest(wanted, settings.sizes())


def canvas_of(item: Item) -> sizes.Canvas:
    wanted = item.parameters["width"], item.parameters["height"]
    return sizes.covering(size_of(item), wanted)


def pictures(
    painted: tuple[sizes.Canvas, list[Any]], details: dict[str, Any]
) -> tuple[Picture, ...]:
    """The results, each with its own seed in the details."""
    canvas, shown = painted
    same = {name: value for name, value in details.items() if name != "seeds"}
    same["painted_px"] = list(canvas.size_px)
    return tuple(
        Picture(pixels=one, details={"seed": seed} | same)
        for one, seed in zip(shown, details["seeds"], strict=True)
    )
