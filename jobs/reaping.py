"""Jobs that nobody will end: lost workers, runs past their limit, jobs too old.

- A lease that is over is a sign of death only where a living worker could have renewed
  it. So the reaper takes lost jobs only when it has itself seen the database *and* the
  link answering, asked as a worker asks, without a gap for a whole lease. An outage of
  PostgreSQL, of web or of the network is no death of workers.
- Ages (`expired`) need no such watch.
- Any copy may reap: every step is a guarded UPDATE in `jobs.lifecycle`, on rows that no
  other transaction has.
"""

from __future__ import annotations

import logging
import time
import urllib.request
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.client import HTTPException

from django.conf import settings
from django.db import DatabaseError, transaction

from jobs import lifecycle, news
from jobs.database import sql, turns

BATCH = 200
ASK_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)


class Watch:
    """Since when the platform has been seen answering. Times are this process's own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._looked_at = clock()

    def look(self, *, answers: bool) -> None:
        """Note what was seen just now; not having looked for long is a gap, too."""
        now = self._clock()
        if now - self._looked_at > self._longest_gap_s():
            self._since = None
        self._looked_at = now
        if not answers:
            self._since = None
        elif self._since is None:
            self._since = now

    def is_whole(self) -> bool:
        """Whether everything answered for a whole lease."""
        since = self._since
        return since is not None and self._clock() - since >= settings.LEASE_S

    def _longest_gap_s(self) -> float:
        return float(max(settings.LEASE_S / 2, 2 * settings.REAP_S + ASK_TIMEOUT_S))


class Reaper:
    """One copy of the reaper; `turn` is called every `REAP_S` seconds."""

    def __init__(self, watch: Watch | None = None) -> None:
        self._watch = watch or Watch()

    def turn(self) -> set[str]:
        """Look after the watch, then end or queue again what is due; gives its ids.

        Raises Django's database errors, after noting that the database did not answer.
        """
        try:
            answers = link_answers()
            expired = expire()
        except DatabaseError:
            self._watch.look(answers=False)
            raise
        self._watch.look(answers=answers)
        return expired | (reap() if self._watch.is_whole() else set())


def reap() -> set[str]:
    """Queue again or end the jobs whose lease is over; gives the ids of those moved."""
    return _in_batches(_LOST, lifecycle.lose_many)


def expire() -> set[str]:
    """Fail the jobs that waited, or are unfinished, for too long; gives their ids."""
    waited = _in_batches(_WAITED, lifecycle.expire_many)
    return waited | _in_batches(_TOO_OLD, lifecycle.expire_many)


def link_answers() -> bool:
    """Whether the link answers to a worker's token, through the worker's address."""
    token = f"Bearer {settings.LINK_TOKEN}"
    request = urllib.request.Request(
        settings.LINK_URL, headers={"Authorization": token}
    )
    try:
        with _direct.open(request, timeout=ASK_TIMEOUT_S) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):
        return False


# Workers reach the link directly, whatever proxy the environment names.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _in_batches(due: str, end: turns.End) -> set[str]:
    """Take what is due, a batch at a time, passing over what is held up."""
    changed: set[str] = set()
    seen: set[str] = set()
    while jobs := _due(due, seen):
        turn = turns.take(jobs, end)
        news.announce(turn.changed)
        changed |= turn.changed
        seen |= set(jobs)
    return changed


def _due(query: str, seen: Collection[str]) -> list[str]:
    with transaction.atomic():
        values = {"seen": list(seen), "batch": BATCH}
        [rows] = sql.run([(query, values)])
    return [row[0] for row in rows]


# `statement_timestamp()` can use an index, `clock_timestamp()` cannot; the guards in
# the lifecycle look at the clock itself.

_LOST = """
SELECT id::text FROM jobs_job
WHERE status = 'running' AND lease_until <= statement_timestamp()
    AND id <> ALL(%(seen)s::uuid[])
ORDER BY lease_until LIMIT %(batch)s::int"""

_WAITED = """
SELECT id::text FROM jobs_job
WHERE status = 'queued' AND start_by <= statement_timestamp()
    AND id <> ALL(%(seen)s::uuid[])
ORDER BY start_by LIMIT %(batch)s::int"""

_TOO_OLD = """
SELECT id::text FROM jobs_job
WHERE status IN ('queued', 'running') AND give_up_at <= statement_timestamp()
    AND id <> ALL(%(seen)s::uuid[])
ORDER BY give_up_at LIMIT %(batch)s::int"""
