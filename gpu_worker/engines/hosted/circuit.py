"""A provider that fails again and again is left alone for a while.

Only faults of the provider itself count (it cannot be reached, answers 5xx, or not in
time): a key that it refuses is one client's trouble. After the pause one request goes
through; its outcome closes the circuit or doubles the pause. Each worker has its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gpu_worker.engines.hosted.errors import (
    HostedError,
    ProviderTimeout,
    ProviderUnavailable,
)

FAILURES = 5
LONGEST_PAUSE_S = 300.0


class CircuitOpen(ProviderUnavailable):
    """The provider has failed repeatedly and is left alone for a while."""


class Circuit:
    """Of one provider and model. Thread-safe."""

    def __init__(
        self, pause_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_pause_s = self._pause_s = pause_s
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until = 0.0

    def check(self) -> None:
        """Raises CircuitOpen. Whom it lets through after a pause goes alone."""
        with self._lock:
            if self._failures < FAILURES:
                return
            now = self._clock()
            if now < self._open_until:
                raise CircuitOpen
            self._open_until = now + self._pause_s

    def heard(self, error: HostedError | None) -> None:
        """What came of a request; None: the provider did its part."""
        if isinstance(error, CircuitOpen):
            return
        with self._lock:
            if not isinstance(error, ProviderUnavailable | ProviderTimeout):
                self._failures, self._pause_s = 0, self._first_pause_s
                return
            self._failures += 1
            if self._failures >= FAILURES:
                self._open_until = self._clock() + self._pause_s
                self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)


class Circuits:
    """One circuit per provider and model, made when it is first asked for."""

    def __init__(self, pause_s: Callable[[], float]) -> None:
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._circuits: dict[tuple[str, str], Circuit] = {}

    def of(self, provider: str, model: str) -> Circuit:
        with self._lock:
            key = provider, model
            if key not in self._circuits:
                self._circuits[key] = Circuit(self._pause_s())
            return self._circuits[key]
