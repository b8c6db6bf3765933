"""What a run's time went into, for its owner and for who looks for the slow part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpu_worker.batching import Errand
from gpu_worker.contract import STAGES, Assignment, size_class


class Stages:
    """The milliseconds of one run by stage. Not thread-safe: one thread has a run."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.add(name, time.monotonic() - began)

    def add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + max(0.0, seconds)

    def set(self, name: str, milliseconds: float) -> None:
        self._seconds[name] = milliseconds / 1000

    def errand(self, do: str, errand: Errand) -> None:
        """An errand has been answered now: its waiting, and its own time."""
        if errand.began_at:
            self.add("wait_ms", errand.began_at - errand.offered_at)
            self.add(f"{do}_ms", time.monotonic() - errand.began_at)

    def taken(self) -> dict[str, int]:
        """Milliseconds, in the order of the run."""
        return {
            name: round(self._seconds[name] * 1000)
            for name in STAGES
            if name in self._seconds
        }


def size_mp(assignment: Assignment) -> int:
    """The class of size of a job: that of its first image, else of what it asks for."""
    given = [one.width_px * one.height_px for one in assignment.inputs[:1]]
    return size_class(max([*given, _asked(assignment.parameters)]))


def _asked(parameters: dict[str, Any]) -> int:
    sides = parameters.get("width"), parameters.get("height")
    both = [side for side in sides if isinstance(side, int)]
    return both[0] * both[1] if len(both) == 2 else 0
