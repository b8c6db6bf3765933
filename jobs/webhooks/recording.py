"""A row per event and receiver, written in the transaction of what happened.

So a delivery is there exactly if what it tells of was committed. All receivers of one
event are told the same event id. What a transition inserts costs one look at the
owner's endpoints; where there are none and the job has no address, nothing more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection

from jobs.webhooks import events

Values = dict[str, Any]


def values() -> Values:
    """What the statements of `from_moved` need beside their own."""
    return {"webhook_give_up_s": float(settings.WEBHOOK_GIVE_UP_S)}


def from_moved(event: str) -> str:
    """A further common table expression for a statement whose `moved` gives the `id`,
    `user_id`, `test` and `webhook_url` of jobs to which `event` happens. '' for an
    event that nobody is told of.
    """
    told = events.of_job(event)
    if told is None:
        return ""
    own = _OWN if told in events.JOB_ENDS else ""
    return _FROM_MOVED.format(type=told, own=own)


def is_told(event: str) -> str:
    """Whether anybody is told of a row of `moved`, in a statement that has what
    `from_moved(event)` gives."""
    if events.of_job(event) is None:
        return "false"
    return "EXISTS (SELECT FROM hooked WHERE hooked.job_id = moved.id)"


def record(
    event: str,
    *,
    user_id: int,
    test: bool,
    data: Mapping[str, Any],
    endpoint_id: UUID | None = None,
) -> list[UUID]:
    """Tell the endpoints that ask for `event`, or exactly this one; gives the ids of
    the deliveries. Runs in the caller's transaction, which also writes what happened.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _RECORD,
            values()
            | {
                "event_id": uuid4(),
                "type": event,
                "user": user_id,
                "test": test,
                "data": json.dumps(data),
                "endpoint": endpoint_id,
            },
        )
        return [row[0] for row in cursor.fetchall()]


_COLUMNS = """(
        id, event_id, type, user_id, test, job_id, endpoint_id, url, lane, data,
        give_up_at
    )"""

_GIVE_UP_AT = """clock_timestamp()
        + make_interval(secs => %(webhook_give_up_s)s::float8)"""

# The address was checked when the job was accepted. A lane is a receiver, as one user
# knows it: nobody can hold up another's deliveries to the same host.
_OWN = r"""
        UNION ALL
        SELECT NULL::uuid, noted.webhook_url, noted.user_id || '@'
            || lower(left(substring(noted.webhook_url FROM '//([^/?#]*)'), 255))
        WHERE noted.webhook_url <> ''"""

_FROM_MOVED = f""", hooked AS (
    INSERT INTO jobs_webhookdelivery {_COLUMNS}
    SELECT gen_random_uuid(), noted.event_id, '{{type}}', noted.user_id, noted.test,
        noted.id, receiver.endpoint_id, receiver.url, receiver.lane, NULL::jsonb,
        {_GIVE_UP_AT}
    FROM (SELECT *, gen_random_uuid() AS event_id FROM moved OFFSET 0) AS noted
    CROSS JOIN LATERAL (
        SELECT endpoint.id AS endpoint_id, ''::text AS url,
            'endpoint ' || endpoint.id AS lane
        FROM jobs_webhookendpoint AS endpoint
        WHERE endpoint.user_id = noted.user_id AND endpoint.test = noted.test
            AND endpoint.disabled_at IS NULL AND '{{type}}' = ANY(endpoint.events)
        {{own}}
    ) AS receiver
    RETURNING job_id
)"""

_RECORD = f"""
INSERT INTO jobs_webhookdelivery {_COLUMNS}
SELECT gen_random_uuid(), %(event_id)s::uuid, %(type)s, user_id, test, NULL, id, '',
    'endpoint ' || id, %(data)s::jsonb, {_GIVE_UP_AT}
FROM jobs_webhookendpoint
WHERE user_id = %(user)s AND test = %(test)s AND CASE
    WHEN %(endpoint)s::uuid IS NULL
        THEN disabled_at IS NULL AND %(type)s::text = ANY(events)
    ELSE id = %(endpoint)s::uuid END
RETURNING id
"""
