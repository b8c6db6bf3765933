"""How ready the engines are now, by what their workers last said: a second old where
somebody asks for it, some seconds where it stands beside something else.

    no_worker    no live worker of the queue; jobs wait for one
    loading      the worker is there, the engine not yet; jobs wait for it
    load_failed  it could not be loaded; jobs try again
    others       what the engine's spec says, which no waiting changes: requests for it
                 are refused (`jobs.engines.resolve`)

An engine is as ready as in the worker where it is readiest. What a worker says nothing
of (CPU engines, hosted ones) is ready when the worker is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

from django.db import connection

from gpu_worker.contract import (
    ContractError,
    EngineSpec,
    EngineState,
    Unavailable,
    from_json,
    to_json,
)
from jobs.engines import family, live_workers
from jobs.workers.kept import Kept

FRESH_S = 1.0
BESIDE_S = 5.0
REASONS = ("no_worker", "loading", "load_failed", *get_args(Unavailable)[1:])
READINESS = ("failed", "cold", "loading", "warm", "hot")
"""From the least to the most."""
LOADED = ("warm", "hot")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Of one engine. `state` is None for one that is never loaded by itself."""

    reason: str | None
    state: str | None = None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Now:
    """The live workers: how many, and their slots, by queue; states by engine."""

    workers: dict[str, int]
    slots: dict[str, int]
    states: dict[tuple[str, Key], EngineState]
    is_known: bool = True

    def state_of(self, queue: str, key: Key) -> EngineState | None:
        """One of a family stands as the family does, which is what is loaded."""
        of_family = key[0], family(key[1])
        return self.states.get((queue, key)) or self.states.get((queue, of_family))


def standing_of(spec: EngineSpec) -> Standing:
    """Whether the engine would take a job now, and if not why."""
    now = _kept.get(fresh_s=FRESH_S)
    state = now.state_of(spec.queue, (spec.operation, spec.engine))
    shown = {"state": state.state, "message": state.message} if state else {}
    if spec.unavailable:
        return Standing(reason=spec.unavailable)
    if spec.queue not in now.slots:
        return Standing(reason="no_worker")
    if state is None:
        return Standing(reason=None if now.slots[spec.queue] else "loading")
    return Standing(reason=_reason(state, now.slots[spec.queue]), **shown)


def waits_for(queue: str, key: Key) -> tuple[str | None, str]:
    """Why a job on this queue cannot start yet, and a text; (None, ""): it can."""
    now = _kept.get(fresh_s=BESIDE_S)
    if not now.is_known:
        return None, ""
    if queue not in now.slots:
        return "no_worker", ""
    state = now.state_of(queue, key)
    if state is None:
        return (None if now.slots[queue] else "loading"), ""
    return _reason(state, now.slots[queue]), state.message


def lanes_of(queue: str, key: Key) -> int:
    """How many runs of an engine there can be at once: one for each live worker where
    it owns a device, else one for each of their slots."""
    now = _kept.get(fresh_s=BESIDE_S)
    places = now.workers if (queue, key) in now.states else now.slots
    return places.get(queue, 0)


def wish_unloaded(operation: str, engine: str) -> list[str]:
    """Have every worker that has the engine loaded free its device; their names."""
    name = f"{operation}/{engine}"
    with connection.cursor() as cursor:
        cursor.execute(_WISH, {"name": name, "wish": json.dumps([name])})
        return [row[0] for row in cursor.fetchall()]


def values_of(states: Sequence[EngineState]) -> dict[str, Any]:
    """What a worker says of its engines, for its row: values of a statement. No states
    are no news."""
    unloaded = [
        f"{one.operation}/{one.engine}" for one in states if one.state not in LOADED
    ]
    text = json.dumps([to_json(one) for one in states]) if states else None
    return {"states": text, "unloaded": unloaded}


def forget() -> None:
    """Look afresh when next asked."""
    _kept.forget()


def _reason(state: EngineState, slots: int) -> str | None:
    if state.state == "failed":
        return "load_failed"
    return "loading" if state.state == "loading" or not slots else None


def _look() -> _Now:
    workers: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    states: dict[tuple[str, Key], EngineState] = {}
    rows = live_workers().values_list("queue", "slots", "states")
    for queue, count, said in rows:
        workers[queue] += 1
        slots[queue] += count
        for one in _states(said):
            place = queue, (one.operation, one.engine)
            states[place] = max(states.get(place, one), one, key=_readiness)
    return _Now(workers=workers, slots=slots, states=states)


_kept = Kept(_look, unknown=_Now(workers={}, slots={}, states={}, is_known=False))


def _states(said: Iterable[Any]) -> Iterator[EngineState]:
    """Without those that an older or newer worker meant otherwise."""
    for one in said:
        with suppress(ContractError):
            yield from_json(EngineState, one)


def _readiness(state: EngineState) -> int:
    return READINESS.index(state.state)


# Told with the worker's next call, until it says that the engine is not loaded.
_WISH = """
UPDATE jobs_worker SET unload = (unload - %(name)s::text) || %(wish)s::jsonb
WHERE EXISTS (
    SELECT FROM jsonb_array_elements(states) AS engine
    WHERE engine->>'state' IN ('warm', 'hot')
        AND (engine->>'operation') || '/' || (engine->>'engine') = %(name)s::text
)
RETURNING name"""
