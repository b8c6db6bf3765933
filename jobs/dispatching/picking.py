"""Which rows go next: chosen fairly, taken, given back, and looked for again.

- Fewest in flight first, per user; then the oldest. The cost grows with the users who
  wait, not with their jobs (`_PICK` walks the index from user to user), and of each
  only so many jobs are read as can have their turn.
- A row is taken only as it was seen, and one that somebody else has locked is left
  out: nobody here waits for a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg.rows import class_row

from gpu_worker.contract import SIZES_MP, SPARE_RUNS
from jobs.database.unpooled import Connection
from jobs.ids import new_ids

MOST_DOUBLINGS = 8
MOST_TOGETHER = 16
"""Of the jobs that share a message for being short, each with a run of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A waiting job whose turn it is, and how many of its kind share a run. `share_ms`
    is what such a job takes of its engine's time; None where that is not measured."""

    id: UUID
    operation: str
    engine: str
    alone: bool
    batch_size: int
    room: int
    window: int
    beside: int = 0
    share_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A dispatched row: all that its assignment needs. `word`: what its metadata say to
    the sandbox, if it is the sandbox's."""

    id: UUID
    message: UUID
    attempt: int
    operation: str
    engine: str
    parameters: dict[str, Any]
    then: list[dict[str, Any]]
    inputs: list[dict[str, Any]]
    run_limit_s: float
    request_id: str
    alone: bool
    user_id: int
    word: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lone:
    """How many live jobs wait, of which only none, one and several are told apart; the
    one, if there is room for its message; the window, and how many messages it still
    has room for; and whether test jobs wait."""

    waiting: int
    window: int
    room: int
    tests_wait: bool
    taken: Taken | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """A dispatched row that nobody has claimed though a slot is free."""

    id: UUID
    dispatches: int
    age_s: float
    window: int

    @property
    def is_due(self) -> bool:
        """The first time soon, afterwards with a doubling pause."""
        return self.age_s >= _pause_s(self.dispatches)


def take_lone(session: Connection, queue: str) -> Lone:
    """What `pick` and `take` would do where little is to do, by one small statement: a
    third of their time. It also says whether they have anything to do. A row that is
    locked is not taken."""
    values = _of(queue) | {"message": new_ids(1)[0]}
    [row] = session.execute(_TAKE_LONE, values, prepare=True).fetchall()
    waiting, window, room, tests_wait, *taken = row
    return Lone(
        waiting=waiting,
        window=window,
        room=room,
        tests_wait=tests_wait,
        taken=Taken(**dict(zip(_TAKEN, taken, strict=True))) if taken[0] else None,
    )


def pick(session: Connection, queue: str) -> list[Candidate]:
    """The waiting jobs whose turn it is, fairly, as many as the window may take."""
    with session.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(_PICK, _of(queue), prepare=True).fetchall()


def pick_tests(session: Connection, queue: str) -> list[Candidate]:
    """The waiting test jobs whose turn it is: some while a slot is free, else none."""
    values = _of(queue) | {"spare_runs": SPARE_RUNS}
    with session.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(_PICK_TESTS, values, prepare=True).fetchall()


def take(session: Connection, messages: Sequence[Sequence[UUID]]) -> list[Taken]:
    """Commit that these jobs are dispatched, before they are. A row that changed or is
    locked meanwhile stays out."""
    names = new_ids(len(messages))
    pairs = [(one, name) for name, m in zip(names, messages, strict=True) for one in m]
    values = {"ids": [p[0] for p in pairs], "messages": [p[1] for p in pairs]}
    with session.cursor(row_factory=class_row(Taken)) as cursor:
        rows = cursor.execute(_TAKE, values, prepare=True).fetchall()
    order = {one: place for place, (one, _) in enumerate(pairs)}
    return sorted(rows, key=lambda row: order[row.id])


def give_back(
    session: Connection, taken: Sequence[Taken], *, pause_s: float = 0
) -> None:
    """These were not published: they wait again, unless somebody claimed them after
    all (the broker may have taken what it did not acknowledge)."""
    values = {
        "ids": [one.id for one in taken],
        "messages": [one.message for one in taken],
        "pause_s": pause_s,
    }
    session.execute(_GIVE_BACK, values)


def unclaimed(session: Connection, queue: str) -> list[Unclaimed]:
    values = _of(queue) | {"age_s": settings.REPUBLISH_AFTER_S / 2}
    with session.cursor(row_factory=class_row(Unclaimed)) as cursor:
        return cursor.execute(_UNCLAIMED, values, prepare=True).fetchall()


def take_again(session: Connection, lost: Sequence[Unclaimed]) -> list[Taken]:
    values = {
        "ids": [one.id for one in lost],
        "dispatches": [one.dispatches for one in lost],
    }
    with session.cursor(row_factory=class_row(Taken)) as cursor:
        rows = cursor.execute(_TAKE_AGAIN, values).fetchall()
    return sorted(rows, key=lambda row: row.id)


def _of(queue: str) -> dict[str, Any]:
    """What the statements about a queue need to know."""
    return {
        "queue": queue,
        "gone_s": settings.WORKER_GONE_S,
        "long_ms": settings.CLAIM_AHEAD_S * 1000,
        "message_ms": settings.MESSAGE_WORK_S * 1000,
    }


def _pause_s(dispatches: int) -> float:
    if dispatches <= 1:
        return settings.REPUBLISH_AFTER_S
    doublings = min(dispatches - 2, MOST_DOUBLINGS)
    return float(settings.REPUBLISH_BACKOFF_S * 2**doublings)


# The words of the partial index `job_waiting`; a delayed retry waits in it, too.
_WAITING = """
status = 'queued' AND dispatched_at IS NULL AND waiting_fetches = 0
AND (not_before IS NULL OR not_before <= clock_timestamp())
"""

# The same in words that prove no partial index: rows named by their ids are found by
# the primary key. A plan made while few jobs wait would read all that wait, later.
_STILL_WAITING = _WAITING.replace("status = 'queued'", "status || '' = 'queued'")

_LIVE = """
SELECT name, incarnation, slots, free_slots FROM jobs_worker
WHERE queue = %(queue)s
  AND seen_at > clock_timestamp() - make_interval(secs => %(gone_s)s)
"""

# The first condition has the words of the partial index `job_in_flight`. What runs on a
# worker that is gone takes no room from the others.
_IN_FLIGHT = """
SELECT user_id, test, coalesce(message, id) AS message FROM jobs_job
WHERE queue = %(queue)s
  AND (status = 'running' OR (status = 'queued' AND dispatched_at IS NOT NULL))
  AND (status = 'queued' OR (worker, incarnation) IN
       (SELECT name, incarnation FROM live))
"""

# Runs that are long on the average are not claimed ahead (`gpu_worker.pace`).
_WINDOW = """
CASE WHEN slots = 0 THEN 0 WHEN (
  SELECT avg(run_ms) FROM jobs_enginepace AS pace JOIN jobs_engine AS known
    ON known.operation = pace.operation AND known.name = pace.engine
  WHERE known.queue = %(queue)s
) > %(long_ms)s THEN slots + 1 ELSE 2 * slots + 1 END
"""

# The class of a job's size, as the workers measure by it (`gpu_worker.stages`).
_SIZE_MP = f"""
CASE {" ".join(f"WHEN pixels <= {size}000000 THEN {size}" for size in SIZES_MP[:-1])}
  ELSE {SIZES_MP[-1]} END
"""

_PIXELS = """
greatest(
  coalesce((inputs->0->>'width_px')::numeric * (inputs->0->>'height_px')::numeric, 0),
  CASE WHEN jsonb_typeof(parameters->'width') = 'number'
        AND jsonb_typeof(parameters->'height') = 'number'
    THEN (parameters->>'width')::numeric * (parameters->>'height')::numeric
    ELSE 0 END
)
"""

# How many of its shortest jobs one message may hold.
_SHORT = f"""
SELECT max(least({MOST_TOGETHER}, %(message_ms)s / greatest(share_ms, 1)))::int
FROM jobs_enginepace AS pace JOIN jobs_engine AS known
  ON known.operation = pace.operation AND known.name = pace.engine
WHERE known.queue = %(queue)s
"""

# The jobs of a user who has some in flight come later by as many turns. So few turns
# fill the window if nobody runs out of jobs: every user then has jobs up to that turn,
# as water stands at one level over an uneven ground. With the k users who have the
# fewest, it is (room + what they have) / k, and least with the right k. Who ran out
# leaves room to the others, for whom it is then found again.
_DEEPER = f"""
turn_{{N}} AS (
  SELECT min(ceil((missing + before) / number)) AS last
  FROM (SELECT row_number() OVER in_order AS number, sum(jobs) OVER in_order AS before
        FROM depth_{{BEFORE}} WHERE has_more
        WINDOW in_order AS (ORDER BY jobs, user_id)) AS lowest
  CROSS JOIN (SELECT (SELECT jobs FROM room) - coalesce(sum(depth), 0) AS missing
              FROM depth_{{BEFORE}} WHERE NOT has_more) AS ran_out
),
depth_{{N}} AS (
  SELECT user_id, jobs, CASE WHEN is_asked THEN found ELSE depth END AS depth,
         is_asked AND found = wanted AS has_more
  FROM (
    SELECT *, CASE WHEN is_asked
        THEN greatest(0, (SELECT last FROM turn_{{N}}) - jobs) ELSE 0 END AS wanted
    FROM (SELECT *, has_more AND (SELECT sum(depth) FROM depth_{{BEFORE}})
                 < (SELECT jobs FROM room) AS is_asked
          FROM depth_{{BEFORE}}) AS users
  ) AS asked
  CROSS JOIN LATERAL (
    SELECT count(*) AS found
    FROM (SELECT FROM jobs_job
          WHERE queue = %(queue)s AND {_WAITING} AND {{KIND}}
            AND user_id = asked.user_id
          LIMIT asked.wanted) AS of_one
  ) AS counted
),
"""

# A user's jobs beyond the window's size cannot be chosen, nor can those of users beyond
# as many. Two looks nearly always find how deep to read; else all that can be chosen is
# read.
_PICK_FROM = f"""
WITH RECURSIVE live AS ({_LIVE}),
in_flight AS MATERIALIZED ({_IN_FLIGHT}),
room AS MATERIALIZED (
  SELECT size, messages, beside, greatest(0, messages) * greatest(1, ({_SHORT}), (
           SELECT max((spec->>'batch_size')::int) FROM jobs_engine
           WHERE queue = %(queue)s)) AS jobs
  FROM ({{ROOM}}) AS counted
),
waiting (user_id, first_id) AS (
  (SELECT user_id, id FROM jobs_job
   WHERE queue = %(queue)s AND {_WAITING} AND {{KIND}} AND (SELECT jobs FROM room) > 0
   ORDER BY user_id, id LIMIT 1)
  UNION ALL
  SELECT following.user_id, following.id FROM waiting CROSS JOIN LATERAL
  (SELECT user_id, id FROM jobs_job
   WHERE queue = %(queue)s AND {_WAITING} AND {{KIND}} AND user_id > waiting.user_id
   ORDER BY user_id, id LIMIT 1) AS following
),
busy AS (
  SELECT user_id, count(*) AS jobs FROM in_flight WHERE {{KIND}} GROUP BY user_id
),
users AS (
  SELECT waiting.user_id, coalesce(busy.jobs, 0) AS jobs
  FROM waiting LEFT JOIN busy USING (user_id)
  ORDER BY coalesce(busy.jobs, 0), first_id LIMIT (SELECT jobs FROM room)
),
depth_0 AS (SELECT *, 0::numeric AS depth, true AS has_more FROM users),
{_DEEPER.replace("{N}", "1").replace("{BEFORE}", "0")}
{_DEEPER.replace("{N}", "2").replace("{BEFORE}", "1")}
depths AS (
  SELECT user_id, users.jobs,
         CASE WHEN has_more AND (SELECT sum(depth) FROM depth_2) < room.jobs
           THEN room.jobs ELSE depth END AS depth
  FROM depth_2 AS users CROSS JOIN room
),
chosen AS (
  SELECT first_ones.*, users.jobs + first_ones.place AS turn
  FROM depths AS users CROSS JOIN LATERAL (
    SELECT *, row_number() OVER (ORDER BY id) AS place
    FROM (SELECT id, operation, engine, alone, inputs, parameters FROM jobs_job
          WHERE queue = %(queue)s AND {_WAITING} AND {{KIND}}
            AND user_id = users.user_id
          ORDER BY id LIMIT users.depth) AS of_one
  ) AS first_ones
  ORDER BY turn, id LIMIT (SELECT jobs FROM room)
)
SELECT chosen.id, chosen.operation, chosen.engine, chosen.alone,
       coalesce((jobs_engine.spec->>'batch_size')::int, 1) AS batch_size,
       (SELECT messages::int FROM room) AS room,
       (SELECT size::int FROM room) AS window,
       (SELECT beside::int FROM room) AS beside, share_ms
FROM (SELECT *, {_PIXELS} AS pixels FROM chosen) AS chosen
LEFT JOIN jobs_engine
  ON jobs_engine.operation = chosen.operation AND jobs_engine.name = chosen.engine
LEFT JOIN jobs_enginepace AS pace
  ON pace.operation = chosen.operation AND pace.engine = chosen.engine
  AND pace.size_mp = {_SIZE_MP}
ORDER BY turn, chosen.id
"""

_COUNTED = f"""
SELECT (SELECT coalesce(sum({_WINDOW}), 0) FROM live) AS size,
       (SELECT coalesce(sum(slots), 0) FROM live) AS slots,
       (SELECT count(DISTINCT message) FROM in_flight WHERE NOT test) AS used,
       (SELECT count(DISTINCT message) FROM in_flight WHERE test) AS beside
"""

_PICK = _PICK_FROM.replace("{KIND}", "NOT test").replace(
    "{ROOM}",
    f"SELECT size, beside, size - used AS messages FROM ({_COUNTED}) AS counts",
)

_PICK_TESTS = _PICK_FROM.replace("{KIND}", "test").replace(
    "{ROOM}",
    f"""
    SELECT size, beside,
           CASE WHEN used < slots THEN %(spare_runs)s - beside ELSE 0 END AS messages
    FROM ({_COUNTED}) AS counts""",
)

_COLUMNS = """
job.id, coalesce(job.message, job.id) AS message, attempt, operation, engine,
parameters, "then", inputs, run_limit_s, request_id, alone, user_id,
CASE WHEN engine = 'sandbox' THEN metadata->>'sandbox' END AS word
"""

_TAKEN = tuple(one.name for one in fields(Taken))

_TESTS_WAIT = f"""
SELECT FROM jobs_job WHERE queue = %(queue)s AND {_WAITING} AND test LIMIT 1
"""

_TAKE_LONE = f"""
WITH live AS ({_LIVE}),
waiting AS MATERIALIZED (
  SELECT id FROM jobs_job WHERE queue = %(queue)s AND {_WAITING} AND NOT test
  ORDER BY user_id, id LIMIT 2
),
in_flight AS MATERIALIZED ({_IN_FLIGHT}),
room AS MATERIALIZED (
  SELECT size::int, (size - used)::int AS messages FROM ({_COUNTED}) AS counts
),
free AS (
  SELECT id FROM jobs_job
  WHERE id = (SELECT (array_agg(id))[1] FROM waiting HAVING count(*) = 1)
    AND {_STILL_WAITING} AND (SELECT messages FROM room) > 0
  FOR NO KEY UPDATE SKIP LOCKED
),
taken AS (
  UPDATE jobs_job AS job
  SET dispatched_at = clock_timestamp(), dispatches = dispatches + 1,
      message = %(message)s::uuid
  WHERE job.id = (SELECT id FROM free)
  RETURNING {_COLUMNS}
)
SELECT (SELECT count(*)::int FROM waiting), room.*, EXISTS ({_TESTS_WAIT}), taken.*
FROM room LEFT JOIN taken ON true
"""

_TAKE = f"""
WITH wanted AS (
  SELECT * FROM unnest(%(ids)s::uuid[], %(messages)s::uuid[]) AS wanted (id, message)
),
free AS (
  SELECT jobs_job.id, wanted.message FROM jobs_job JOIN wanted USING (id)
  WHERE jobs_job.id = ANY(%(ids)s::uuid[]) AND {_STILL_WAITING}
  FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
)
UPDATE jobs_job AS job
SET dispatched_at = clock_timestamp(), dispatches = dispatches + 1,
    message = free.message
FROM free WHERE job.id = free.id AND job.id = ANY(%(ids)s::uuid[])
RETURNING {_COLUMNS}
"""

_GIVE_BACK = """
UPDATE jobs_job AS job
SET dispatched_at = NULL, dispatches = 0, message = NULL,
    not_before = CASE WHEN %(pause_s)s::float8 > 0
      THEN clock_timestamp() + make_interval(secs => %(pause_s)s::float8)
      ELSE not_before END
FROM unnest(%(ids)s::uuid[], %(messages)s::uuid[]) AS unsent (id, message)
WHERE job.id = unsent.id AND coalesce(job.message, job.id) = unsent.message
  AND status = 'queued' AND dispatched_at IS NOT NULL
"""

_UNCLAIMED = f"""
SELECT id, dispatches, idle."window"::int AS "window",
       extract(epoch FROM clock_timestamp() - dispatched_at)::float8 AS age_s
FROM jobs_job CROSS JOIN (
  SELECT sum({_WINDOW}) AS "window" FROM ({_LIVE}) AS live
  HAVING sum(free_slots) > 0
) AS idle
WHERE queue = %(queue)s AND status = 'queued' AND dispatched_at IS NOT NULL
  AND dispatched_at < clock_timestamp() - make_interval(secs => %(age_s)s)
"""

_TAKE_AGAIN = f"""
WITH lost AS (
  SELECT * FROM unnest(%(ids)s::uuid[], %(dispatches)s::int[]) AS lost (id, dispatches)
),
free AS (
  SELECT jobs_job.id FROM jobs_job JOIN lost
    ON lost.id = jobs_job.id AND lost.dispatches = jobs_job.dispatches
  WHERE status = 'queued' AND dispatched_at IS NOT NULL
  FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
)
UPDATE jobs_job AS job
SET dispatched_at = clock_timestamp(), dispatches = dispatches + 1
FROM free WHERE job.id = free.id
RETURNING {_COLUMNS}
"""
