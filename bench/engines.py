"""Engines whose own cost is known: none, or 50 ms of sleep. They take no image."""

import time
from collections.abc import Sequence

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Item, Outcome, Result

# The smallest PNG: one transparent pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478"
    "9c6360000200000500017a5eab3f0000000049454e44ae426082"
)
SLEEP_S = 0.05


def _spec(operation: str, *, batch_size: int = 1, queue: str = "cpu") -> EngineSpec:
    return EngineSpec(
        operation=operation,
        engine="bench",
        queue=queue,
        parameters={"type": "object", "properties": {}, "additionalProperties": False},
        images=(0, 0),
        batch_size=batch_size,
    )


PARK = _spec("park", queue="nowhere")
"""An engine that no worker offers: its jobs are accepted and wait."""


class Noop:
    """Does nothing, for a whole batch at once."""

    spec = _spec("noop", batch_size=32)
    placement = "child"

    def load(self) -> None:
        pass

    def run(self, batch: Sequence[Item], hooks: object) -> list[Outcome]:
        result = Result(data=PNG, content_type="image/png", width_px=1, height_px=1)
        return [(result,) for _ in batch]


class Single(Noop):
    """Does nothing, for one job at a time, as most engines work."""

    spec = _spec("single")


class Sleep(Noop):
    """Does nothing for 50 ms."""

    spec = _spec("sleep")

    def run(self, batch: Sequence[Item], hooks: object) -> list[Outcome]:
        time.sleep(SLEEP_S)
        return super().run(batch, hooks)
