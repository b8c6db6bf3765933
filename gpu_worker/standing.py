"""How this worker's engines stand: their states and usual times, and what of that the
platform has not been told yet.

An engine that has run stays `hot` for five minutes. Times are running means, told
every few seconds; at once where the platform knows none yet, or one that is much too
short: how much work it sends together depends on them. No report is held up for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gpu_worker.contract import EngineState, Measure, Readiness

HOT_S = 300.0
WEIGHT = 0.3
MEASURES_EVERY_S = 5.0
NOTHING_MS = 10
"""Between times that are so near each other there is no difference worth a word."""
MESSAGE_LIMIT_CHARACTERS = 200

Key = tuple[str, str]


@dataclass(slots=True)
class _Engine:
    state: EngineState
    used_at: float = 0.0
    running: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidings:
    """What one call tells."""

    states: tuple[EngineState, ...] = ()
    measures: tuple[Measure, ...] = ()


@dataclass(slots=True)
class Standing:
    """All engines on devices of this worker. `wake` is called when there is news that
    somebody may be waiting for. Thread-safe."""

    wake: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _engines: dict[Key, _Engine] = field(default_factory=dict)
    _measures: dict[tuple[Key, int], Measure] = field(default_factory=dict)
    _new: set[tuple[Key, int]] = field(default_factory=set)
    _known_ms: dict[tuple[Key, int], int] = field(default_factory=dict)
    _told: tuple[EngineState, ...] = ()
    _measured_at: float = 0.0

    def is_in(self, key: Key, state: Readiness, message: str = "") -> None:
        """The engine is in this state from now on."""
        text = message[:MESSAGE_LIMIT_CHARACTERS]
        now = EngineState(operation=key[0], engine=key[1], state=state, message=text)
        with self._lock:
            self._engines[key] = _Engine(state=now)
        self.wake()

    def begins(self, key: Key) -> None:
        """A run begins."""
        with self._lock:
            if engine := self._engines.get(key):
                engine.running += 1

    def ends(self, key: Key) -> None:
        with self._lock:
            if engine := self._engines.get(key):
                engine.running = max(0, engine.running - 1)
                engine.used_at = time.monotonic()

    def took(self, key: Key, *, size_mp: int, run_ms: int, together: int) -> None:
        """A run of `together` jobs took so long."""
        place, share_ms = (key, size_mp), run_ms / max(1, together)
        with self._lock:
            known = self._measures.get(place)
            self._measures[place] = Measure(
                operation=key[0],
                engine=key[1],
                size_mp=size_mp,
                run_ms=_mean(known.run_ms if known else None, run_ms),
                share_ms=_mean(known.share_ms if known else None, share_ms),
            )
            self._new.add(place)

    def tidings(self) -> Tidings:
        """What the platform does not know yet."""
        now = time.monotonic()
        with self._lock:
            states = tuple(_shown(one, now) for one in self._engines.values())
            due = now >= self._measured_at + MEASURES_EVERY_S
            due = due or any(self._is_urgent(place) for place in self._new)
            new = sorted(self._new) if due else []
            return Tidings(
                states=() if states == self._told else states,
                measures=tuple(self._measures[place] for place in new),
            )

    def told(self, tidings: Tidings) -> None:
        """The platform has heard this."""
        with self._lock:
            self._told = tidings.states or self._told
            if tidings.measures:
                self._measured_at = time.monotonic()
            for one in tidings.measures:
                place = ((one.operation, one.engine), one.size_mp)
                self._known_ms[place] = one.share_ms
                if self._measures[place] is one:
                    self._new.discard(place)

    def _is_urgent(self, place: tuple[Key, int]) -> bool:
        known_ms = self._known_ms.get(place)
        share_ms = self._measures[place].share_ms
        return known_ms is None or share_ms > 2 * known_ms + NOTHING_MS


def _mean(usual: int | None, new: float) -> int:
    return round(new if usual is None else usual + WEIGHT * (new - usual))


def _shown(engine: _Engine, now: float) -> EngineState:
    if engine.state.state != "warm":
        return engine.state
    is_hot = engine.running or 0 < engine.used_at > now - HOT_S
    return replace(engine.state, state="hot") if is_hot else engine.state
