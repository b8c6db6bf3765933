"""What is going on, in numbers for staff. Every number has a bounded cost.

No table of jobs is counted: what has happened lately is read from the newest `NEWEST`
jobs, and a queue is counted up to `DEEPEST`. What is in flight is as much as the
workers have slots for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import connection

NEWEST = 20_000
NEWEST_OF_A_USER = 5_000
DEEPEST = 10_000
OLDEST_AMONG = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueNow:
    """`waiting` stops counting at DEEPEST. `oldest` is when a job came that has waited
    about as long as any."""

    name: str
    waiting: int
    oldest: datetime | None
    running: int
    workers: int
    slots: int
    free: int

    @property
    def busy(self) -> int:
        """Taken slots, in percent; 0 without workers."""
        return round(100 * (self.slots - self.free) / self.slots) if self.slots else 0

    @property
    def is_deepest(self) -> bool:
        return self.waiting >= DEEPEST


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerNow:
    name: str
    queue: str
    slots: int
    free: int
    running: int
    is_alive: bool
    seen_at: datetime
    silent: timedelta
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopNow:
    name: str
    seen_at: datetime
    silent: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """What became of an operation's live jobs among the newest ones."""

    operation: str
    jobs: int
    succeeded: int
    failed: int
    cancelled: int
    charged: Decimal
    engine_ms: int | None

    @property
    def success_rate(self) -> float | None:
        """Of those that an engine has ended, in percent."""
        ended = self.succeeded + self.failed
        return 100 * self.succeeded / ended if ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    at: datetime
    succeeded: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """`jobs` is exact below NEWEST, and above it what the database estimates; the
    others are exact."""

    users: int
    suspended: int
    jobs: int
    available: Decimal
    held: Decimal


def queues() -> list[QueueNow]:
    """The queues of the settings, in their order, then those of other live workers."""
    running = dict(_rows(_RUNNING))
    crews = {row[0]: row[1:] for row in _rows(_CREWS, [_gone()])}
    found = []
    for name in dict.fromkeys([*settings.QUEUES, *sorted(crews)]):
        [[waiting]] = _rows(_WAITING, [name, DEEPEST])
        [[oldest]] = _rows(_OLDEST, [OLDEST_AMONG, name])
        workers, slots, free = crews.get(name, (0, 0, 0))
        found.append(
            QueueNow(
                name=name,
                waiting=waiting,
                oldest=oldest,
                running=running.get(name, 0),
                workers=workers,
                slots=slots,
                free=free,
            )
        )
    return found


def workers() -> list[WorkerNow]:
    """Those that called within two days, the living first."""
    fields = WorkerNow.__slots__
    return [
        WorkerNow(**dict(zip(fields, row, strict=True)))
        for row in _rows(_WORKERS, [_gone()])
    ]


def loops() -> list[LoopNow]:
    """The loops of control, by name."""
    return [
        LoopNow(name=n, seen_at=at, silent=silent) for n, at, silent in _rows(_LOOPS)
    ]


def lately() -> tuple[datetime | None, list[Lately]]:
    """Since when the newest jobs go back, and their operations, the busiest first."""
    found = _rows(_LATELY, [NEWEST])
    since = min((row[0] for row in found), default=None)
    fields = Lately.__slots__
    return since, [Lately(**dict(zip(fields, row[1:], strict=True))) for row in found]


def usage_of(user_id: int) -> tuple[datetime | None, list[Lately]]:
    """As `lately`, of one user's newest jobs."""
    found = _rows(_USAGE, [user_id, NEWEST_OF_A_USER])
    since = min((row[0] for row in found), default=None)
    fields = Lately.__slots__
    return since, [Lately(**dict(zip(fields, row[1:], strict=True))) for row in found]


def by_hour() -> list[Hour]:
    """The last 24 hours, as far as the newest jobs go back."""
    return [Hour(at=at, succeeded=s, failed=f) for at, s, f in _rows(_HOURS, [NEWEST])]


def totals() -> Totals:
    """Reads a row per user."""
    [row] = _rows(_TOTALS, {"newest": NEWEST})
    return Totals(**dict(zip(Totals.__slots__, row, strict=True)))


def _gone() -> float:
    return float(settings.WORKER_GONE_S)


def _rows(query: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


_WAITING = """
SELECT count(*) FROM (
    SELECT FROM jobs_job WHERE queue = %s AND status = 'queued'
        AND dispatched_at IS NULL AND waiting_fetches = 0
    LIMIT %s
) AS waiting
"""

_OLDEST = """
SELECT min(created_at) FROM (
    SELECT queue, created_at, dispatched_at FROM jobs_job WHERE status = 'queued'
    ORDER BY start_by LIMIT %s
) AS waiting WHERE queue = %s AND dispatched_at IS NULL
"""

_RUNNING = """
SELECT queue, count(*) FROM jobs_job
WHERE status = 'running' AND lease_until IS NOT NULL GROUP BY queue
"""

_CREWS = """
SELECT queue, count(*), sum(slots), sum(free_slots) FROM jobs_worker
WHERE seen_at > statement_timestamp() - make_interval(secs => %s) GROUP BY queue
"""

_WORKERS = """
SELECT name, queue, slots, free_slots, (
        SELECT count(*) FROM jobs_job
        WHERE jobs_job.worker = jobs_worker.name AND status = 'running'
    ),
    seen_at > statement_timestamp() - make_interval(secs => %s) AS is_alive,
    seen_at, greatest(statement_timestamp() - seen_at, interval '0'), started_at
FROM jobs_worker ORDER BY is_alive DESC, queue, name LIMIT 500
"""

_LOOPS = """
SELECT loop, seen_at, greatest(statement_timestamp() - seen_at, interval '0')
FROM jobs_controlsign ORDER BY loop
"""

_BY_OPERATION = """
SELECT min(created_at), operation, count(*),
    count(*) FILTER (WHERE status = 'succeeded'),
    count(*) FILTER (WHERE status = 'failed'),
    count(*) FILTER (WHERE status = 'cancelled'),
    coalesce(sum(charged), 0),
    (percentile_cont(0.5) WITHIN GROUP (ORDER BY engine_ms))::int
FROM ({newest}) AS newest
WHERE NOT test GROUP BY operation ORDER BY 3 DESC, operation
"""

_COLUMNS = "created_at, operation, status, charged, engine_ms, test"

_LATELY = _BY_OPERATION.format(
    newest=f"SELECT {_COLUMNS} FROM jobs_job ORDER BY id DESC LIMIT %s"
)

_USAGE = _BY_OPERATION.format(
    newest=f"""SELECT {_COLUMNS} FROM jobs_job WHERE user_id = %s AND test = false
    ORDER BY created_at DESC, id DESC LIMIT %s"""
)

_HOURS = """
SELECT hour, count(newest.id) FILTER (WHERE status = 'succeeded'),
    count(newest.id) FILTER (WHERE status = 'failed')
FROM generate_series(
    date_trunc('hour', statement_timestamp()) - interval '23 hours',
    date_trunc('hour', statement_timestamp()), interval '1 hour'
) AS hour LEFT JOIN (
    SELECT id, created_at, status, test FROM jobs_job ORDER BY id DESC LIMIT %s
) AS newest ON date_trunc('hour', newest.created_at) = hour AND NOT newest.test
GROUP BY hour ORDER BY hour
"""

_TOTALS = """
SELECT users, suspended, CASE
    WHEN jobs < %(newest)s THEN jobs
    ELSE greatest(jobs, (
        SELECT reltuples::bigint FROM pg_class WHERE oid = 'jobs_job'::regclass
    )) END, available, held
FROM (
    SELECT count(*) AS jobs FROM (SELECT FROM jobs_job LIMIT %(newest)s) AS job
) AS work, (
    SELECT count(*) AS users, count(suspended_at) AS suspended FROM accounts_user
) AS people, (
    SELECT coalesce(sum(available), 0) AS available, coalesce(sum(held), 0) AS held
    FROM billing_wallet
) AS credits
"""
