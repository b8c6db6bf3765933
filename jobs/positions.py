"""How many are before a waiting job in its queue: roughly, and only for people.

Once a second, for the first thousand of a queue in the order of dispatch; beyond it is
unknown. A row is written only when its number has changed by a tenth, and only once it
has waited a second, so that a busy queue does not write all its rows all the time.
"""

from __future__ import annotations

from django.conf import settings

from jobs.unpooled import Sole

MOST = 1000


class Positions:
    """Numbers the waiting jobs of all queues; one copy of control at a time does."""

    def __init__(self) -> None:
        self._sole = Sole("positions")

    def turn(self) -> int:
        """Bring the numbers up to date; gives the number of rows written."""
        with self._sole as session:
            if session is None:
                return 0
            values = [{"queue": queue, "most": MOST} for queue in settings.QUEUES]
            return sum(session.execute(_NUMBER, one).rowcount for one in values)

    def close(self) -> None:
        self._sole.close()


_WAITING = "status = 'queued' AND dispatched_at IS NULL AND waiting_fetches = 0"

# The order is that of `jobs.dispatch`, without looking at what is in flight: the first
# of each user, then the second of each, and so on.
_NUMBER = f"""
WITH RECURSIVE waiting (user_id) AS (
  (SELECT user_id FROM jobs_job WHERE queue = %(queue)s AND {_WAITING}
   ORDER BY user_id LIMIT 1)
  UNION ALL
  SELECT (SELECT user_id FROM jobs_job WHERE queue = %(queue)s AND {_WAITING}
          AND user_id > waiting.user_id ORDER BY user_id LIMIT 1)
  FROM waiting WHERE waiting.user_id IS NOT NULL
),
users AS MATERIALIZED (SELECT user_id FROM waiting WHERE user_id IS NOT NULL),
share AS (SELECT greatest(1, 2 * %(most)s::bigint / greatest(1, count(*))) AS jobs
          FROM users),
numbered AS (
  SELECT chosen.id, row_number() OVER (ORDER BY chosen.place, chosen.id) AS number
  FROM users CROSS JOIN LATERAL (
    SELECT id, row_number() OVER (ORDER BY id) AS place
    FROM (SELECT id FROM jobs_job WHERE queue = %(queue)s AND {_WAITING}
          AND user_id = users.user_id ORDER BY id LIMIT (SELECT jobs FROM share)
    ) AS first_ones
  ) AS chosen
  ORDER BY chosen.place, chosen.id LIMIT %(most)s
),
stale AS (
  SELECT jobs_job.id, number FROM jobs_job JOIN numbered USING (id)
  WHERE {_WAITING} AND created_at < clock_timestamp() - interval '1 second'
    AND (position IS NULL OR abs(position - number) > number / 10)
  FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
)
UPDATE jobs_job SET position = stale.number FROM stale WHERE jobs_job.id = stale.id
"""
