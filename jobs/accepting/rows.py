"""The statements that write submissions, and what they answer.

Each is planned once per connection (`nijika.postgres.prepared`), which for the insert
of the jobs is half of its time.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models.base import ModelState

from billing import ledger
from jobs.accepting.idempotency import KEY_LOCK
from jobs.accepting.items import Submission, hold_of, key_of, waits_for_fetch
from jobs.models import Job
from nijika.postgres import prepared

TIMES = ("created_at", "start_by", "give_up_at")

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


def insert_keys(items: list[Submission], *, wait: bool) -> set[UUID]:
    """The ids of those items whose key this transaction has now taken."""
    keys = _columns(key_of(item) for item in items)
    if wait:
        prepared.rows(_WAIT_FOR_KEYS, keys)
    more = [[item.digest or "" for item in items], [item.id for item in items]]
    return {made for (made,) in prepared.rows(_INSERT_KEYS, [*keys, *more])}


def read_keys(items: list[Submission]) -> dict[UUID, tuple[UUID, str]]:
    """The job and the digest that each item's key stands for, where it does."""
    rows = prepared.rows(
        _READ_KEYS, _columns((item.id, *key_of(item)) for item in items)
    )
    return {item_id: (made, digest) for item_id, made, digest in rows}


def delete_keys(items: list[Submission]) -> None:
    prepared.rows(_DELETE_KEYS, _columns((item.id, *key_of(item)) for item in items))


def lock_jobs(ids: list[UUID], *, wait: bool) -> set[tuple[UUID, int, bool]]:
    return set(prepared.rows(_LOCK_JOBS + ("" if wait else "SKIP LOCKED"), [ids]))


def insert_jobs(items: list[Submission]) -> tuple[Any, ...]:
    """The transaction's id and the times that all its jobs have."""
    [row] = prepared.rows(_INSERT_JOBS, _values(items))
    return tuple(row)


def accept_one(item: Submission) -> tuple[Any, ...] | None:
    """As `_insert_jobs`, with what is available after the hold; None: nothing done."""
    hold = ledger.lone_hold(hold_of(item))
    [rows] = prepared.rows_of_each([(_ACCEPT_ONE, _values([item]) | hold)])
    return tuple(rows[0]) if rows else None


def _values(items: list[Submission]) -> dict[str, Any]:
    return {
        "items": json.dumps([_row(item) for item in items], default=str),
        "start_by_s": settings.START_BY_S,
        "give_up_s": settings.GIVE_UP_S,
        "most_unfinished": settings.UNFINISHED_PER_USER,
    }


def unfinished_left(
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
        "waiting_fetches": sum(map(waits_for_fetch, item.inputs)),
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


def insert_fetches(items: list[Submission]) -> None:
    rows = [
        (item.id, item.user_id, position, given["url"], _host(given["url"]))
        for item in items
        for position, given in enumerate(item.inputs)
        if waits_for_fetch(given)
    ]
    if rows:
        prepared.rows(_INSERT_FETCHES, _columns(rows))


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "")[:255]


def insert_pins(items: list[Submission]) -> None:
    rows = [(item.id, source) for item in items for source in item.sources]
    if rows:
        prepared.rows(_INSERT_PINS, _columns(rows))


def job(item: Submission, times: Sequence[datetime]) -> Job:
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
