"""A provider that fails again and again is left alone for a while.

Only faults of the provider itself count (it cannot be reached, answers 5xx, or not in
time): a key that it refuses is one client's trouble. After the pause one request goes
through; its outcome closes the circuit or doubles the pause. What was under way when
the circuit opened may fail as well, and says nothing new: a pause that each of them
doubled would be minutes after one bad second of a busy worker.

Whose quota is used up waits alone, for as long as the provider says (`Retry-After`),
and is not asked for meanwhile. Whoever is not let through is told how long to wait, and
has lost no try by it. The job that opened the circuit is not tried again before either.

Each worker process has its own, for all of its slots: n of them may send a provider
that is down n times as many requests.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from gpu_worker.engines.hosted.errors import (
    HostedError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)

FAILURES = 5
LONGEST_PAUSE_S = 300.0
SPREAD = 0.25
"""By how much longer those may wait who were not let through, so that they do not all
come back at once."""


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
        self._rests: dict[str, float] = {}

    def check(self, payer: str = "") -> bool:
        """Whether this request is the trial after a pause, which goes alone. Raises
        ProviderRateLimited while this payer is to wait, and CircuitOpen."""
        with self._lock:
            now = self._clock()
            if (left_s := self._rests.get(payer, now) - now) > 0:
                raise _put_off(ProviderRateLimited(), left_s)
            if self._failures < FAILURES:
                return False
            if (left_s := self._open_until - now) > 0:
                raise _put_off(CircuitOpen(), left_s)
            self._open_until = now + self._pause_s
            return True

    def heard(
        self, error: HostedError | None, payer: str = "", *, trial: bool = False
    ) -> None:
        """What came of a request, which was a trial or not; None: the provider did its
        part."""
        if isinstance(error, CircuitOpen):
            return
        with self._lock:
            if isinstance(error, ProviderUnavailable | ProviderTimeout):
                self._failures += 1
                if self._failures == FAILURES or trial:
                    self._open(error)
                elif self._failures > FAILURES:
                    self._stay_open(error)
                return
            self._failures, self._pause_s = 0, self._first_pause_s
            if isinstance(error, ProviderRateLimited) and error.retry_after_s > 0:
                self._rest(payer, error.retry_after_s)

    def _open(self, error: HostedError) -> None:
        """For as long as the provider asks for, if that is longer."""
        asked_s = min(error.retry_after_s, LONGEST_PAUSE_S)
        error.retry_after_s = max(self._pause_s, asked_s)
        self._open_until = self._clock() + error.retry_after_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _stay_open(self, error: HostedError) -> None:
        """For one that was under way: it waits like all others."""
        now = self._clock()
        asked_s = min(error.retry_after_s, LONGEST_PAUSE_S)
        self._open_until = max(self._open_until, now + asked_s)
        error.retry_after_s = max(0.0, self._open_until - now)

    def _rest(self, payer: str, wait_s: float) -> None:
        now = self._clock()
        self._rests = {who: end for who, end in self._rests.items() if end > now}
        self._rests[payer] = now + wait_s


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


def _put_off(error: HostedError, left_s: float) -> HostedError:
    error.put_off = True
    error.retry_after_s = left_s * random.uniform(1, 1 + SPREAD)
    return error
