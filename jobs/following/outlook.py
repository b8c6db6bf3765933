"""What a waiting job waits for, and about how long a job will take. For people: nothing
is decided by it.

    input      its inputs are still being fetched
    retry      it failed in a way that passes, and pauses
    no_worker  nobody works on its queue now
    loading    its engine is being loaded
    load_failed  its engine could not be loaded; it is tried again
    turn       others are before it

A time is guessed only from measured ones: what has never run here has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from gpu_worker.contract import EngineSpec
from jobs.following import positions
from jobs.models import Job
from jobs.workers import engine_states, paces

REASONS = ("input", "retry", "no_worker", "loading", "load_failed", "turn")


def waiting(job: Job) -> dict[str, Any] | None:
    """Why a queued job has not started, as the API shows it; None for others."""
    if job.status != Job.Status.QUEUED:
        return None
    reason, message = _reason(job)
    return {"reason": reason, "message": message, "eta_s": eta_s(job)}


def eta_s(job: Job) -> float | None:
    """About how long until a queued job has ended; None where nobody can say."""
    key = job.operation, job.engine
    pixels = pixels_of(job.inputs, job.parameters)
    found = expected_s(job.queue, key, pixels=pixels, before=job.position or 0)
    return None if found is None else round(found + _pause_s(job), 2)


def estimate(
    spec: EngineSpec, parameters: Mapping[str, Any], *, given: int
) -> dict[str, float | None]:
    """The seconds that such a job would run, and until its end if it came now. `given`
    are the pixels of its first image."""
    key = spec.operation, spec.engine
    pixels = max(given, _area(parameters.get("width"), parameters.get("height")))
    before = positions.length(spec.queue)
    return {
        "run_s": run_s(key, pixels=pixels),
        "eta_s": expected_s(spec.queue, key, pixels=pixels, before=before),
    }


def run_s(key: tuple[str, str], *, pixels: int) -> float | None:
    """How long such a run usually takes; None: it has not been measured."""
    pace = paces.of(*key, pixels=pixels)
    return None if pace is None else round(pace.run_s, 2)


def expected_s(
    queue: str, key: tuple[str, str], *, pixels: int, before: int
) -> float | None:
    """As `eta_s`, with so many jobs before it in the queue."""
    pace, lanes = paces.of(*key, pixels=pixels), engine_states.lanes_of(queue, key)
    if pace is None or lanes == 0:
        return None
    return round(before * pace.share_s / lanes + pace.run_s, 2)


def pixels_of(
    inputs: Iterable[Mapping[str, Any]], parameters: Mapping[str, Any]
) -> int:
    """The size that a run's time depends on: of the first image or of what is asked
    for. 0: it is not known."""
    first: Mapping[str, Any] = next(iter(inputs), {})
    given = (first.get("width_px") or 0) * (first.get("height_px") or 0)
    return max(int(given), _area(parameters.get("width"), parameters.get("height")))


def _area(width: Any, height: Any) -> int:
    both = isinstance(width, int) and isinstance(height, int)
    return int(width * height) if both else 0


def _reason(job: Job) -> tuple[str, str]:
    if job.waiting_fetches:
        return "input", ""
    if _pause_s(job):
        return "retry", ""
    reason, message = engine_states.waits_for(job.queue, (job.operation, job.engine))
    return reason or "turn", message


def _pause_s(job: Job) -> float:
    """How long the job must not be tried yet."""
    if job.not_before is None:
        return 0.0
    return max(0.0, (job.not_before - datetime.now(UTC)).total_seconds())
