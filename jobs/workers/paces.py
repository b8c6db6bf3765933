"""How long runs take, as the workers measured them: for estimates and for the window.

A running mean over all workers by engine and class of size, a few seconds old. What has
never run has none, and then nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

from gpu_worker.contract import Measure, size_class
from jobs.engines import family
from jobs.models import EnginePace
from jobs.workers.kept import Kept

FRESH_S = 5.0

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Seconds of one run, and of a job's share in a run of several."""

    run_s: float
    share_s: float


def keep(measures: Sequence[Measure]) -> None:
    """Take new measures into the means."""
    latest = {(one.operation, one.engine, one.size_mp): one for one in measures}
    # In one order, so that two workers that tell at once cannot deadlock.
    rows = [latest[key] for key in sorted(latest)]
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            _KEEP,
            [
                [one.operation for one in rows],
                [one.engine for one in rows],
                [one.size_mp for one in rows],
                [one.run_ms for one in rows],
                [one.share_ms for one in rows],
            ],
        )
    forget()


def of(operation: str, engine: str, *, pixels: int = 0) -> Pace | None:
    """The usual pace for an input of so many pixels (0: of any size), or the nearest
    size's that is known; None for an engine that has never run. Of one of a family
    (`fal:a/model`) that has no pace of its own, the family's."""
    paces = _kept.get(fresh_s=FRESH_S)
    known = paces.get((operation, engine)) or paces.get((operation, family(engine)))
    if not known:
        return None
    if not pixels:
        return _mean(list(known.values()))
    wanted = size_class(pixels)
    return known[
        min(known, key=lambda size: abs(size.bit_length() - wanted.bit_length()))
    ]


def forget() -> None:
    _kept.forget()


def _mean(paces: Sequence[Pace]) -> Pace:
    return Pace(
        run_s=sum(one.run_s for one in paces) / len(paces),
        share_s=sum(one.share_s for one in paces) / len(paces),
    )


def _read() -> dict[Key, dict[int, Pace]]:
    found: dict[Key, dict[int, Pace]] = {}
    rows = EnginePace.objects.values_list(
        "operation", "engine", "size_mp", "run_ms", "share_ms"
    )
    for operation, engine, size_mp, run_ms, share_ms in rows:
        pace = Pace(run_s=run_ms / 1000, share_s=share_ms / 1000)
        found.setdefault((operation, engine), {})[size_mp] = pace
    return found


_NONE: dict[Key, dict[int, Pace]] = {}
_kept = Kept(_read, unknown=_NONE)

_KEEP = """
INSERT INTO jobs_enginepace AS known
    (operation, engine, size_mp, run_ms, share_ms, measured_at)
SELECT *, clock_timestamp() FROM unnest(
    %s::text[], %s::text[], %s::smallint[], %s::int[], %s::int[]
)
ON CONFLICT (operation, engine, size_mp) DO UPDATE
SET run_ms = round(0.5 * known.run_ms + 0.5 * excluded.run_ms),
    share_ms = round(0.5 * known.share_ms + 0.5 * excluded.share_ms),
    measured_at = excluded.measured_at"""
