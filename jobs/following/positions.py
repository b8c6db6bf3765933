"""How many are before a waiting job in its queue: roughly, and only for people.

Once a second, for the first thousand of a queue in the order of dispatch; beyond it is
unknown. A row is written only when its number has changed by a tenth, and only once it
has waited a second, so that a busy queue does not write all its rows all the time.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings

from jobs.database.unpooled import Connection, Sole
from jobs.models import Job

MOST = 1000


class Positions:
    """Numbers the waiting jobs of all queues; one copy of control at a time does."""

    def __init__(self) -> None:
        self._sole = Sole("positions", durable=False)

    def turn(self) -> int:
        """Bring the numbers up to date; gives the number of rows written."""
        with self._sole as session:
            if session is None:
                return 0
            return sum(number(session, queue) for queue in settings.QUEUES)

    def close(self) -> None:
        """Let another copy have it, at once."""
        self._sole.close()


def length(queue: str) -> int:
    """How many jobs wait in the queue, at most `MOST`."""
    waiting = Job.objects.filter(
        queue=queue,
        status=Job.Status.QUEUED,
        dispatched_at=None,
        waiting_fetches=0,
        test=False,
    )
    return waiting[:MOST].count()


def number(session: Connection, queue: str) -> int:
    """Bring one queue's numbers up to date; gives the number of rows written."""
    values: dict[str, Any] = {"queue": queue, "most": MOST}
    rows = session.execute(_WRONG, values, prepare=True).fetchall()
    if not rows:
        return 0
    ids, numbers = zip(*rows, strict=True)
    values = {"ids": list(ids), "numbers": list(numbers)}
    return session.execute(_WRITE, values, prepare=True).rowcount


# Test jobs are in nobody's way, and have no number.
_WAITING = """
status = 'queued' AND dispatched_at IS NULL AND waiting_fetches = 0 AND NOT test
"""

# The order is that of `jobs.dispatch`, without looking at what is in flight: the first
# of each user, then the second of each, and so on. Ordering by the id, too, is what
# makes the planner walk the index of waiting rows.
_WRONG = f"""
WITH RECURSIVE waiting (user_id) AS (
  (SELECT user_id FROM jobs_job WHERE queue = %(queue)s AND {_WAITING}
   ORDER BY user_id, id LIMIT 1)
  UNION ALL
  SELECT (SELECT user_id FROM jobs_job WHERE queue = %(queue)s AND {_WAITING}
          AND user_id > waiting.user_id ORDER BY user_id, id LIMIT 1)
  FROM waiting WHERE waiting.user_id IS NOT NULL
),
users AS MATERIALIZED (SELECT user_id FROM waiting WHERE user_id IS NOT NULL),
share AS (SELECT greatest(1, 2 * %(most)s::bigint / greatest(1, count(*))) AS jobs
          FROM users),
numbered AS (
  SELECT chosen.id, chosen.position, chosen.created_at,
         row_number() OVER (ORDER BY chosen.place, chosen.id) AS number
  FROM users CROSS JOIN LATERAL (
    SELECT id, position, created_at, row_number() OVER (ORDER BY id) AS place
    FROM (SELECT id, position, created_at FROM jobs_job
          WHERE queue = %(queue)s AND {_WAITING} AND user_id = users.user_id
          ORDER BY id LIMIT (SELECT jobs FROM share)
    ) AS first_ones
  ) AS chosen
  ORDER BY chosen.place, chosen.id LIMIT %(most)s
)
SELECT id, number::int FROM numbered
WHERE created_at < clock_timestamp() - interval '1 second'
  AND (position IS NULL OR abs(position - number) > number / 10)
"""

_WRITE = f"""
WITH numbered AS (
  SELECT * FROM unnest(%(ids)s::uuid[], %(numbers)s::int[]) AS numbered (id, number)
),
free AS (
  SELECT jobs_job.id, number FROM jobs_job JOIN numbered USING (id)
  WHERE {_WAITING} FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
)
UPDATE jobs_job SET position = free.number FROM free WHERE jobs_job.id = free.id
"""
