"""How long the engines' runs take here, to decide what may be claimed ahead.

A claim starts a job's clock, so only what soon gets its turn is claimed before it. What
has not run here yet counts as long.
"""

from __future__ import annotations

from gpu_worker.registry import Key

WEIGHT = 0.3


class Pace:
    def __init__(self, short_s: float) -> None:
        self._short_ms = short_s * 1000
        self._usual_ms: dict[Key, float] = {}

    def took(self, key: Key, engine_ms: int | None) -> None:
        if engine_ms is None:
            return
        usual = self._usual_ms.get(key, engine_ms)
        self._usual_ms[key] = usual + WEIGHT * (engine_ms - usual)

    def is_short(self, key: Key) -> bool:
        return self._usual_ms.get(key, float("inf")) <= self._short_ms
