"""One transaction that accepts many submissions.

Order inside, at READ COMMITTED: idempotency rows in (user, mode, key) order, then the
`job:` sources in id order, then what counts a user's test jobs (`jobs.sandbox`), then
wallets in id order (`billing.ledger`), then entries, jobs, events. Two transactions
that keep it cannot deadlock.

A transaction that does not wait (`wait=False`) waits for no row at all: a key that a
twin is writing, a source or a wallet that somebody else has locked make their item
LOCKED, and its neighbours go on. That is why keys are taken under an advisory lock:
the unique index alone cannot be asked without waiting for it.

What is refused or passed over leaves no row behind, its idempotency row included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models.base import ModelState

from billing import ledger
from billing.errors import InsufficientCredits
from jobs import sandbox
from jobs.errors import (
    IdempotencyKeyReused,
    SandboxFull,
    SourceGone,
    TooManyUnfinished,
)
from jobs.idempotency import KEY_LOCK
from jobs.models import Job
from nijika.errors import NijikaError, Unavailable
from nijika.postgres import prepared

KEY_TRIES = 3
TIMES = ("created_at", "start_by", "give_up_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What becomes a job. `id` is made by the caller and names the job for ever.

    `then` is the column of that name; `price` and `run_limit_s` are of all together.
    `inputs` are the rows of `Job.inputs`; one with a `url` and no `key` is still to be
    fetched. `sources` are the jobs whose files are inputs: they are pinned until this
    job ends. With an `idempotency_key` goes the `digest` of the request. `own_key`:
    the provider is paid with the owner's key, which is here sealed.
    """

    id: UUID
    user_id: int
    test: bool
    operation: str
    engine: str
    queue: str
    parameters: dict[str, Any]
    metadata: dict[str, Any]
    inputs: list[dict[str, Any]]
    price: Decimal
    run_limit_s: float
    then: list[dict[str, Any]] = field(default_factory=list)
    request_id: str = ""
    idempotency_key: str | None = None
    digest: str | None = None
    retry_of: UUID | None = None
    webhook_url: str = ""
    sources: tuple[UUID, ...] = ()
    batch_id: UUID | None = None
    batch_index: int | None = None
    own_key: bool = False
    sealed_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The job as it is now, and what its owner has available; `replayed` by its key."""

    job: Job
    available: Decimal
    replayed: bool = False


class Later(Enum):
    """Nothing is decided yet for this item, and nothing of it is written."""

    LOCKED = "another transaction has a row that this item needs"


LOCKED = Later.LOCKED
Outcome = Accepted | NijikaError | Later


class Intake:
    """One attempt to accept `items`, of which no two share an idempotency key.

    After a failure, `committing` says whether COMMIT may have reached the database;
    `xid` then names the transaction, and `outcomes` hold if it was committed.
    """

    def __init__(self, items: Sequence[Submission], *, wait: bool) -> None:
        self.items = items
        self.wait = wait
        self.outcomes: dict[UUID, Outcome] = {}
        self.xid: str | None = None
        self.committing = False

    def run(self) -> list[Outcome]:
        """The outcome of each item, once committed. Raises what the database raises."""
        with transaction.atomic(durable=True):
            self._decide()
            self.committing = self.xid is not None
        return self.answers()

    def _decide(self) -> None:
        if self._accept_at_once():
            return
        self._take_keys()
        self._lock_sources()
        self._limit_tests()
        self._limit_unfinished()
        self._accept(self._hold())
        self._drop_unused_keys()

    def answers(self) -> list[Outcome]:
        return [self.outcomes[item.id] for item in self.items]

    def _open(self) -> list[Submission]:
        """The items about which nothing is decided yet."""
        return [item for item in self.items if item.id not in self.outcomes]

    # A lone submission

    def _accept_at_once(self) -> bool:
        """Accept a lone plain item by one statement, sent together with BEGIN.

        Most requests are that when little is to do, and the round trips are most of
        their time. False: nothing was done, and the long way says why or waits.
        """
        if len(self.items) != 1 or not _is_plain(self.items[0]):
            return False
        [item] = self.items
        if not (row := _accept_one(item)):
            return False
        self.xid, available, *times = row
        self.outcomes[item.id] = Accepted(job=_job(item, times), available=available)
        return True

    # Idempotency keys

    def _take_keys(self) -> None:
        keyed = sorted((i for i in self.items if i.idempotency_key), key=_key)
        for _ in range(KEY_TRIES):
            if not keyed:
                return
            taken = _insert_keys(keyed, wait=self.wait)
            keyed = [item for item in keyed if item.id not in taken]
            # A statement of its own: the one above cannot see rows that were committed
            # while it waited.
            keyed = self._replay(keyed)
            if not self.wait:
                break
        for item in keyed:
            self.outcomes[item.id] = Unavailable() if self.wait else LOCKED

    def _replay(self, keyed: list[Submission]) -> list[Submission]:
        """Answer items whose key stands; gives those whose key is (again) free."""
        if not keyed:
            return []
        made = _read_keys(keyed)
        jobs = Job.objects.in_bulk([job_id for job_id, _ in made.values()])
        available = _balances(item.user_id for item in keyed if item.id in made)
        for item in keyed:
            if item.id in made:
                job_id, digest = made[item.id]
                self.outcomes[item.id] = replay(
                    item, jobs.get(job_id), digest, available[item.user_id]
                )
        return [item for item in keyed if item.id not in made]

    def _drop_unused_keys(self) -> None:
        """A refused or skipped item must not meet itself as its own twin later."""
        unused = [
            item
            for item in self.items
            if item.idempotency_key and not _keeps_key(self.outcomes[item.id])
        ]
        if unused:
            _delete_keys(unused)

    # Sources

    def _lock_sources(self) -> None:
        wanted = {source for item in self._open() for source in item.sources}
        if not wanted:
            return
        there = _lock_jobs(sorted(wanted), wait=self.wait)
        for item in self._open():
            if not {(s, item.user_id, item.test) for s in item.sources} <= there:
                # Passed over and gone look alike; only who waits can tell.
                self.outcomes[item.id] = SourceGone() if self.wait else LOCKED

    # Test jobs

    def _limit_tests(self) -> None:
        """A user's test jobs are free, and therefore few."""
        tests = [item for item in self._open() if item.test]
        if not tests:
            return
        ids = [item.id for item in tests]
        rooms = sandbox.rooms((i.user_id for i in tests), ids, wait=self.wait)
        for item in tests:
            room = rooms.get(item.user_id)
            if room is None:
                self.outcomes[item.id] = LOCKED
            elif room <= 0:
                self.outcomes[item.id] = SandboxFull()
            else:
                rooms[item.user_id] = room - 1

    # Unfinished jobs

    def _limit_unfinished(self) -> None:
        """Nobody fills the queues alone. Counted without a lock: what other groups are
        accepting at this moment is not in it."""
        most = settings.UNFINISHED_PER_USER
        items = [item for item in self._open() if not item.test]
        if not most or not items:
            return
        left = _unfinished_left({item.user_id for item in items}, items, most)
        for item in items:
            left[item.user_id] -= 1
            if left[item.user_id] < 0:
                self.outcomes[item.id] = TooManyUnfinished()

    # Credits

    def _hold(self) -> dict[UUID, Decimal]:
        """What is available after each hold. Test jobs move no credits."""
        free = [item for item in self._open() if item.test]
        balances = _balances(item.user_id for item in free)
        available = {item.id: balances[item.user_id] for item in free}
        charged = [item for item in self._open() if not item.test]
        holds = [_hold(item) for item in charged]
        results = ledger.hold_many(holds, wait=self.wait) if holds else []
        for item, result in zip(charged, results, strict=True):
            match result:
                case ledger.Held():
                    available[item.id] = result.available_after
                case ledger.Short():
                    self.outcomes[item.id] = InsufficientCredits(
                        needed=result.needed, available=result.available
                    )
                case ledger.Locked():
                    self.outcomes[item.id] = LOCKED
        return available

    # Jobs

    def _accept(self, available: dict[UUID, Decimal]) -> None:
        items = self._open()
        if not items:
            return
        self.xid, *times = _insert_jobs(items)
        _insert_fetches(items)
        _insert_pins(items)
        for item in items:
            self.outcomes[item.id] = Accepted(
                job=_job(item, times), available=available[item.id]
            )


def replay(
    item: Submission, job: Job | None, digest: str | None, available: Decimal
) -> Outcome:
    """What an item gets whose key had made `job` for a request with `digest`; no job
    where it had made something else."""
    if digest != item.digest or job is None:
        return IdempotencyKeyReused()
    # A key that made this very job was taken by an earlier try of ours, not by a twin.
    return Accepted(job=job, available=available, replayed=job.id != item.id)


def _balances(users: Iterable[int]) -> dict[int, Decimal]:
    return {user_id: ledger.balance(user_id)[0] for user_id in set(users)}


def _key(item: Submission) -> tuple[int, bool, str]:
    return item.user_id, item.test, item.idempotency_key or ""


def _keeps_key(outcome: Outcome) -> bool:
    """Whether the row of this item's key is right to be there."""
    return isinstance(outcome, Accepted | IdempotencyKeyReused)


def _hold(item: Submission) -> ledger.Hold:
    return ledger.Hold(user_id=item.user_id, credits=item.price, reference=str(item.id))


def _is_plain(item: Submission) -> bool:
    """Whether its job and its hold are all that has to be written."""
    more = item.idempotency_key or item.sources or item.test
    return not more and not any(map(_waits_for_fetch, item.inputs))


def _waits_for_fetch(given: dict[str, Any]) -> bool:
    return bool(given.get("url")) and not given.get("key")


# The statements. Each is planned once per connection (`prepare`), which for the insert
# of the jobs is half of its time.

_INSERT_KEYS = f"""
WITH wanted AS MATERIALIZED (
    SELECT * FROM unnest(%s::bigint[], %s::bool[], %s::text[], %s::text[], %s::uuid[])
        AS wanted (user_id, test, key, digest, made)
), free AS MATERIALIZED (
    SELECT * FROM wanted WHERE pg_try_advisory_xact_lock({KEY_LOCK})
)
INSERT INTO jobs_idempotencykey (user_id, test, key, digest, made)
SELECT * FROM free ON CONFLICT (user_id, test, key) DO NOTHING RETURNING made
"""

_WAIT_FOR_KEYS = f"""
SELECT pg_advisory_xact_lock({KEY_LOCK})
FROM unnest(%s::bigint[], %s::bool[], %s::text[]) AS wanted (user_id, test, key)
"""

_READ_KEYS = """
SELECT wanted.id, made, digest
FROM unnest(%s::uuid[], %s::bigint[], %s::bool[], %s::text[])
    AS wanted (id, user_id, test, key)
CROSS JOIN LATERAL (
    SELECT made, digest FROM jobs_idempotencykey AS used
    WHERE used.user_id = wanted.user_id
        AND used.test = wanted.test AND used.key = wanted.key
    OFFSET 0
) AS used
"""

_DELETE_KEYS = """
DELETE FROM jobs_idempotencykey WHERE id = ANY(ARRAY(
    SELECT used.id FROM unnest(%s::uuid[], %s::bigint[], %s::bool[], %s::text[])
        AS mine (id, user_id, test, key)
    CROSS JOIN LATERAL (
        SELECT id FROM jobs_idempotencykey AS used
        WHERE used.user_id = mine.user_id
            AND used.test = mine.test AND used.key = mine.key AND used.made = mine.id
        OFFSET 0
    ) AS used
))
"""

_LOCK_JOBS = """
SELECT id, user_id, test FROM jobs_job
WHERE id = ANY(%s::uuid[]) AND erased_at IS NULL ORDER BY id FOR SHARE
"""

_INSERTED = """item AS (
    SELECT * FROM jsonb_to_recordset(%(items)s::jsonb) AS item (
        id uuid, user_id bigint, test bool, operation text, engine text, queue text,
        parameters jsonb, "then" jsonb, metadata jsonb, inputs jsonb,
        waiting_fetches smallint, request_id text, retry_of uuid, webhook_url text,
        batch_id uuid,
        batch_index smallint, price numeric, run_limit_s float8,
        own_key bool, sealed_key text
    )
), made AS (
    INSERT INTO jobs_job (
        id, user_id, test, operation, engine, queue, parameters, "then", metadata,
        inputs, waiting_fetches, request_id, retry_of, webhook_url, batch_id,
        batch_index, price,
        run_limit_s, own_key, sealed_key,
        start_by, give_up_at,
        status, charged, attempt, worker, dispatches, failures, losses, hand_backs,
        alone, result_prefix, results
    )
    SELECT
        id, user_id, test, operation, engine, queue, parameters, "then", metadata,
        inputs, waiting_fetches, request_id, retry_of, webhook_url, batch_id,
        batch_index, price,
        run_limit_s, own_key, sealed_key,
        statement_timestamp() + %(start_by_s)s::float8 * interval '1s',
        statement_timestamp() + %(give_up_s)s::float8 * interval '1s',
        'queued', 0, 0, '', 0, 0, 0, 0, false, '', '[]'
    FROM item WHERE {gate}
    RETURNING id, created_at, start_by, give_up_at
), event AS (
    INSERT INTO jobs_jobevent (job_id, type, attempt, reason)
    SELECT id, 'queued', 0, '' FROM made
)"""

_INSERT_JOBS = f"""
WITH {_INSERTED.format(gate="true")}
SELECT pg_current_xact_id()::text, created_at, start_by, give_up_at FROM made LIMIT 1
"""

_UNFINISHED = """
SELECT count(*) FROM (
    SELECT FROM jobs_job WHERE user_id = {user_id} AND NOT test
        AND status IN ('queued', 'running') AND id <> ALL({ids})
    LIMIT {most}
) AS counted
"""

_UNFINISHED_OF_EACH = f"""
SELECT user_id, (
    {_UNFINISHED.format(user_id="wanted.user_id", ids="%s::uuid[]", most="%s::int")}
) FROM unnest(%s::bigint[]) AS wanted (user_id)
"""

_HAS_ROOM = f"""(
    %(most_unfinished)s::int = 0 OR %(most_unfinished)s::int > (
        {
    _UNFINISHED.format(
        user_id="%(user_id)s::bigint",
        ids="ARRAY[%(reference)s]::uuid[]",
        most="%(most_unfinished)s::int",
    )
}
    )
)"""

_ACCEPT_ONE = f"""
WITH {ledger.LONE_HOLD.format(only_if=_HAS_ROOM)},
{_INSERTED.format(gate="EXISTS (SELECT FROM held)")}
SELECT pg_current_xact_id()::text, available_after, created_at, start_by, give_up_at
FROM held CROSS JOIN made
"""

_INSERT_FETCHES = """
INSERT INTO jobs_fetch (job_id, user_id, position, url, host, tries)
SELECT *, 0 FROM
    unnest(%s::uuid[], %s::bigint[], %s::smallint[], %s::text[], %s::text[])
"""

_INSERT_PINS = """
INSERT INTO jobs_pin (job_id, source_id) SELECT * FROM unnest(%s::uuid[], %s::uuid[])
"""


def _insert_keys(items: list[Submission], *, wait: bool) -> set[UUID]:
    """The ids of those items whose key this transaction has now taken."""
    keys = _columns(_key(item) for item in items)
    if wait:
        prepared.rows(_WAIT_FOR_KEYS, keys)
    more = [[item.digest or "" for item in items], [item.id for item in items]]
    return {made for (made,) in prepared.rows(_INSERT_KEYS, [*keys, *more])}


def _read_keys(items: list[Submission]) -> dict[UUID, tuple[UUID, str]]:
    """The job and the digest that each item's key stands for, where it does."""
    rows = prepared.rows(_READ_KEYS, _columns((item.id, *_key(item)) for item in items))
    return {item_id: (made, digest) for item_id, made, digest in rows}


def _delete_keys(items: list[Submission]) -> None:
    prepared.rows(_DELETE_KEYS, _columns((item.id, *_key(item)) for item in items))


def _lock_jobs(ids: list[UUID], *, wait: bool) -> set[tuple[UUID, int, bool]]:
    return set(prepared.rows(_LOCK_JOBS + ("" if wait else "SKIP LOCKED"), [ids]))


def _insert_jobs(items: list[Submission]) -> tuple[Any, ...]:
    """The transaction's id and the times that all its jobs have."""
    [row] = prepared.rows(_INSERT_JOBS, _values(items))
    return tuple(row)


def _accept_one(item: Submission) -> tuple[Any, ...] | None:
    """As `_insert_jobs`, with what is available after the hold; None: nothing done."""
    hold = ledger.lone_hold(_hold(item))
    [rows] = prepared.rows_of_each([(_ACCEPT_ONE, _values([item]) | hold)])
    return tuple(rows[0]) if rows else None


def _values(items: list[Submission]) -> dict[str, Any]:
    return {
        "items": json.dumps([_row(item) for item in items], default=str),
        "start_by_s": settings.START_BY_S,
        "give_up_s": settings.GIVE_UP_S,
        "most_unfinished": settings.UNFINISHED_PER_USER,
    }


def _unfinished_left(
    users: set[int], items: Sequence[Submission], most: int
) -> dict[int, int]:
    """How many more each user may have, not counting those of `items`."""
    ids = [item.id for item in items]
    counted = prepared.rows(_UNFINISHED_OF_EACH, [ids, most, sorted(users)])
    return {user_id: most - int(count) for user_id, count in counted}


def _row(item: Submission) -> dict[str, Any]:
    return {
        "id": item.id,
        "user_id": item.user_id,
        "test": item.test,
        "operation": item.operation,
        "engine": item.engine,
        "queue": item.queue,
        "parameters": item.parameters,
        "then": item.then,
        "metadata": item.metadata,
        "inputs": item.inputs,
        "waiting_fetches": sum(map(_waits_for_fetch, item.inputs)),
        "request_id": item.request_id,
        "retry_of": item.retry_of,
        "webhook_url": item.webhook_url,
        "batch_id": item.batch_id,
        "batch_index": item.batch_index,
        "price": item.price,
        "run_limit_s": item.run_limit_s,
        "own_key": item.own_key,
        "sealed_key": item.sealed_key,
    }


def _insert_fetches(items: list[Submission]) -> None:
    rows = [
        (item.id, item.user_id, position, given["url"], _host(given["url"]))
        for item in items
        for position, given in enumerate(item.inputs)
        if _waits_for_fetch(given)
    ]
    if rows:
        prepared.rows(_INSERT_FETCHES, _columns(rows))


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "")[:255]


def _insert_pins(items: list[Submission]) -> None:
    rows = [(item.id, source) for item in items for source in item.sources]
    if rows:
        prepared.rows(_INSERT_PINS, _columns(rows))


def _job(item: Submission, times: Sequence[datetime]) -> Job:
    """The row as it was inserted, without reading it again.

    A model's constructor costs as much as the row's insert, so this copies a blank.
    """
    job = Job.__new__(Job)
    job.__dict__ |= vars(_blank()) | _row(item) | dict(zip(TIMES, times, strict=True))
    job._state = ModelState()
    job._state.adding, job._state.db = False, connection.alias
    return job


@cache
def _blank() -> Job:
    return Job(status=Job.Status.QUEUED, charged=Decimal(0))


def _columns(rows: Any) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
