"""From waiting rows to messages: which job goes to the workers next, and when.

The database is the queue; the broker only carries the few messages that the workers
can soon take. One dispatcher per queue is active, whoever holds the lock
(`unpooled.Sole`); all it says goes over the session of that lock. Nothing is
remembered that a decision needs: another copy goes on from the rows.

- The window counts messages, not jobs: two per slot (one runs, one is claimed ahead)
  and one more per live worker; one per slot where runs are measured to be so long that
  nothing is claimed ahead: the rest waits where its order can still change. So work
  gathers into batches while all are busy, and a slot never waits for control. Without
  a live worker nothing is dispatched; one that still loads its engines has no slots.
- Fewest in flight first, per user; then the oldest. The cost grows with the users who
  wait, not with their jobs (`_PICK` walks the index from user to user).
- `dispatched_at` is committed before publishing. What the broker lost in between is
  published again (`_again`). Copies are harmless: a claim is granted once.
- A broker that does not answer is asked for its queue's depth before rows are taken, so
  they wait in the database while it is gone and go out as soon as it is back. The lone
  job of an idle queue is taken by the statement that finds it, and given back if the
  broker is away or full. A row whose publish failed goes back to waiting.
- Copies are bounded: a queue deeper than twice the window takes nothing more.
- A job that met a dead worker (`alone`) shares its message with nobody.
- Test jobs are free, so they get what live jobs leave: they go out while a slot is
  free and no live job is picked, and the workers run them beside their slots.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from django.conf import settings
from psycopg.rows import class_row

from gpu_worker.contract import (
    RUN_TASK,
    SANDBOX,
    SPARE_RUNS,
    Assignment,
    InputFile,
    Message,
    Step,
    from_json,
    to_json,
)
from jobs import sandbox
from jobs.ids import new_ids
from jobs.storage import store
from jobs.unpooled import Connection, Sole, held
from nijika.celery import BrokerDown, Publisher

# How soon a broker that did not answer is asked again.
ASK_AGAIN_S = 0.5
# A job whose assignment cannot be made is looked at again after this.
SET_ASIDE_S = 60
MOST_DOUBLINGS = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A waiting job whose turn it is, and how many of its kind may travel together."""

    id: UUID
    operation: str
    engine: str
    alone: bool
    batch_size: int
    room: int
    window: int
    beside: int = 0


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
    one, if nothing is in flight beside it; and the window."""

    waiting: int
    window: int
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


class Dispatcher:
    """Dispatches one queue. Not thread-safe: one per thread."""

    def __init__(self, queue: str, publisher: Publisher | None = None) -> None:
        self.queue = queue
        # A dispatch that a crash undoes is a second copy of a message: harmless.
        self._sole = Sole(lock_name(queue), durable=False)
        self._publisher = publisher or Publisher()
        self._suspects: set[UUID] = set()
        self._looked_at = 0.0
        self._broker_down_until = 0.0

    def turn(self) -> int:
        """Publish what the window has room for, and what the broker seems to have lost.

        Returns the number of messages published; 0 also when another copy is active or
        the broker is down. Raises psycopg.Error when the database is gone; the next
        call starts afresh.
        """
        with self._sole as session:
            if session is None or self._broker_is_down():
                return 0
            try:
                return self._new(session) + self._again(session)
            except BrokerDown as error:
                logger.warning("queue %s: %s", self.queue, error)
                self._broker_down_until = time.monotonic() + ASK_AGAIN_S
                return 0

    def pause_s(self, longest: float) -> float:
        """How long to wait for news before the next turn."""
        return min(longest, ASK_AGAIN_S) if self._broker_is_down() else longest

    def close(self) -> None:
        """Let another copy take over, at once."""
        self._sole.close()
        self._publisher.close()

    def _broker_is_down(self) -> bool:
        return time.monotonic() < self._broker_down_until

    def _new(self, session: Connection) -> int:
        live = self._lone(session)
        if live is None:
            live = self._published(session, pick(session, self.queue))
        return live + self._published(session, pick_tests(session, self.queue))

    def _lone(self, session: Connection) -> int | None:
        """Publish the one job that waits, if nothing is in flight; None: there is more
        to decide on."""
        lone = take_lone(session, self.queue)
        if lone.waiting == 0:
            return 0
        if lone.taken is None:
            return None
        try:
            is_full = self._is_full(lone.window)
        except BrokerDown:
            give_back(session, [lone.taken])
            raise
        if is_full:
            give_back(session, [lone.taken])
            return 0
        return self._publish(session, [lone.taken])

    def _published(self, session: Connection, candidates: Sequence[Candidate]) -> int:
        if not candidates:
            return 0
        first = candidates[0]
        if self._is_full(first.window, beside=first.beside):
            return 0
        return self._publish(session, take(session, pack(candidates)))

    def _again(self, session: Connection) -> int:
        """Publish again what nobody claimed, though a worker says that it is idle.

        A row counts as lost when two looks, a second apart, found it unclaimed: the
        first may have come between a worker's last word and its claim.
        """
        if time.monotonic() < self._looked_at + settings.POLL_S:
            return 0
        self._looked_at = time.monotonic()
        unclaimed = _unclaimed(session, self.queue)
        lost = [one for one in unclaimed if one.is_due and one.id in self._suspects]
        self._suspects = {one.id for one in unclaimed}
        if not lost or self._is_full(lost[0].window):
            return 0
        logger.warning("queue %s: %s messages lost", self.queue, len(lost))
        return self._publish(session, _take_again(session, lost))

    def _is_full(self, window: int, *, beside: int = 0) -> bool:
        """Whether the broker holds more than the workers can soon take: leftovers and
        copies, which they throw away faster than anything. Raises BrokerDown.

        `beside`: messages of test jobs, which take nobody's room.
        """
        return self._publisher.depth(self.queue) - beside >= 2 * window

    def _publish(self, session: Connection, taken: Sequence[Taken]) -> int:
        waiting = _messages(taken)
        published = 0
        try:
            while waiting:
                message = self._message(session, waiting[0])
                if message.assignments:
                    self._publisher.publish(
                        RUN_TASK, to_json(message), queue=self.queue
                    )
                    published += 1
                waiting.pop(0)
        except BrokerDown:
            give_back(session, [one for message in waiting for one in message])
            raise
        return published

    def _message(self, session: Connection, taken: Sequence[Taken]) -> Message:
        assignments = []
        for one in taken:
            try:
                assignments.append(_assignment(one))
            except Exception:
                # One bad row must not stop its queue.
                logger.exception("job %s cannot be dispatched", one.id)
                give_back(session, [one], pause_s=SET_ASIDE_S)
        return Message(id=str(taken[0].message), assignments=tuple(assignments))


def lock_name(queue: str) -> str:
    return f"dispatch {queue}"


def active(queues: Iterable[str]) -> set[str]:
    """The queues that have an active dispatcher now, in any copy of control."""
    names = {lock_name(queue): queue for queue in queues}
    return {names[name] for name in held(list(names))}


def take_lone(session: Connection, queue: str) -> Lone:
    """What `pick` and `take` would do where little is to do, by one small statement: a
    third of their time. A row that is locked is not taken."""
    values = _of(queue) | {"message": new_ids(1)[0]}
    [row] = session.execute(_TAKE_LONE, values, prepare=True).fetchall()
    waiting, window, *taken = row
    return Lone(
        waiting=waiting,
        window=window,
        taken=Taken(**dict(zip(_TAKEN, taken, strict=True))) if taken[0] else None,
    )


def pick(session: Connection, queue: str) -> list[Candidate]:
    """The waiting jobs whose turn it is, fairly, as many as the window may take."""
    with session.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(_PICK, _of(queue), prepare=True).fetchall()


def pick_tests(session: Connection, queue: str) -> list[Candidate]:
    """The waiting test jobs whose turn it is: some while a slot is free, else none."""
    values: dict[str, Any] = {"queue": queue}
    # The one question of a turn without any is a small one.
    if session.execute(_TESTS_WAIT, values, prepare=True).fetchone() is None:
        return []
    values = _of(queue) | {"spare_runs": SPARE_RUNS}
    with session.cursor(row_factory=class_row(Candidate)) as cursor:
        return cursor.execute(_PICK_TESTS, values, prepare=True).fetchall()


def _of(queue: str) -> dict[str, Any]:
    """What the statements about a queue need to know."""
    return {
        "queue": queue,
        "gone_s": settings.WORKER_GONE_S,
        "long_ms": settings.CLAIM_AHEAD_S * 1000,
    }


def pack(candidates: Sequence[Candidate]) -> list[list[UUID]]:
    """Share the candidates, in their order, among at most `room` messages.

    Only when there are more than messages do several travel together: those of one
    engine, up to its batch size, evenly spread over the messages.
    """
    if not candidates:
        return []
    room = candidates[0].room
    even = -(-len(candidates) // room)
    messages: list[list[UUID]] = []
    open_messages: dict[tuple[str, str], list[UUID]] = {}
    for one in candidates:
        size = 1 if one.alone else min(one.batch_size, even)
        kind = (one.operation, one.engine)
        message = open_messages.get(kind)
        if message is not None and not one.alone and len(message) < size:
            message.append(one.id)
        elif len(messages) < room:
            messages.append([one.id])
            if not one.alone:
                open_messages[kind] = messages[-1]
    return messages


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


def _unclaimed(session: Connection, queue: str) -> list[Unclaimed]:
    values = _of(queue) | {"age_s": settings.REPUBLISH_AFTER_S / 2}
    with session.cursor(row_factory=class_row(Unclaimed)) as cursor:
        return cursor.execute(_UNCLAIMED, values, prepare=True).fetchall()


def _take_again(session: Connection, lost: Sequence[Unclaimed]) -> list[Taken]:
    values = {
        "ids": [one.id for one in lost],
        "dispatches": [one.dispatches for one in lost],
    }
    with session.cursor(row_factory=class_row(Taken)) as cursor:
        rows = cursor.execute(_TAKE_AGAIN, values).fetchall()
    return sorted(rows, key=lambda row: row.id)


def _messages(taken: Sequence[Taken]) -> list[list[Taken]]:
    """The rows by the message that they travel in."""
    messages: dict[UUID, list[Taken]] = {}
    for one in taken:
        messages.setdefault(one.id if one.alone else one.message, []).append(one)
    return list(messages.values())


def _assignment(one: Taken) -> Assignment:
    return Assignment(
        job_id=str(one.id),
        attempt=one.attempt + 1,
        operation=one.operation,
        engine=one.engine,
        parameters=_parameters(one),
        then=tuple(from_json(Step, step) for step in one.then),
        inputs=tuple(_input(file) for file in one.inputs),
        run_limit_s=one.run_limit_s,
        request_id=one.request_id,
        alone=one.alone,
        owner=str(one.user_id),
    )


def _parameters(one: Taken) -> dict[str, Any]:
    if one.engine != SANDBOX:
        return one.parameters
    return one.parameters | {SANDBOX: sandbox.directions(one.parameters, one.word)}


def _input(file: dict[str, Any]) -> InputFile:
    return InputFile(
        role=file["role"],
        location=store().read_location(file["key"]),
        content_type=file.get("content_type") or "",
        size_bytes=file.get("size_bytes") or 0,
        width_px=file.get("width_px") or 0,
        height_px=file.get("height_px") or 0,
    )


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

# The words of the partial index `job_in_flight`.
_IN_FLIGHT = """
(status = 'running' OR (status = 'queued' AND dispatched_at IS NOT NULL))
"""

_LIVE = """
SELECT name, incarnation, slots, free_slots FROM jobs_worker
WHERE queue = %(queue)s
  AND seen_at > clock_timestamp() - make_interval(secs => %(gone_s)s)
"""

# Runs that are long on the average are not claimed ahead (`gpu_worker.pace`).
_WINDOW = """
CASE WHEN slots = 0 THEN 0 WHEN (
  SELECT avg(run_ms) FROM jobs_enginepace AS pace JOIN jobs_engine AS known
    ON known.operation = pace.operation AND known.name = pace.engine
  WHERE known.queue = %(queue)s
) > %(long_ms)s THEN slots + 1 ELSE 2 * slots + 1 END
"""

# What runs on a worker that is gone takes no room from the others. A user's jobs beyond
# the window's size cannot be chosen, nor can those of users beyond as many.
_PICK_FROM = f"""
WITH RECURSIVE live AS ({_LIVE}),
in_flight AS MATERIALIZED (
  SELECT user_id, test, coalesce(message, id) AS message FROM jobs_job
  WHERE queue = %(queue)s AND {_IN_FLIGHT}
    AND (status = 'queued' OR (worker, incarnation) IN
         (SELECT name, incarnation FROM live))
),
room AS MATERIALIZED (
  SELECT size, messages, beside, greatest(0, messages) * (
           SELECT coalesce(max((spec->>'batch_size')::int), 1) FROM jobs_engine
           WHERE queue = %(queue)s) AS jobs
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
)
SELECT chosen.id, chosen.operation, chosen.engine, chosen.alone,
       coalesce((jobs_engine.spec->>'batch_size')::int, 1) AS batch_size,
       (SELECT messages::int FROM room) AS room,
       (SELECT size::int FROM room) AS window,
       (SELECT beside::int FROM room) AS beside
FROM users CROSS JOIN LATERAL (
  SELECT id, operation, engine, alone, row_number() OVER (ORDER BY id) AS place
  FROM (SELECT id, operation, engine, alone FROM jobs_job
        WHERE queue = %(queue)s AND {_WAITING} AND {{KIND}} AND user_id = users.user_id
        ORDER BY id LIMIT (SELECT jobs FROM room)) AS first_ones
) AS chosen
LEFT JOIN jobs_engine
  ON jobs_engine.operation = chosen.operation AND jobs_engine.name = chosen.engine
ORDER BY users.jobs + chosen.place, chosen.id LIMIT (SELECT jobs FROM room)
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

_TESTS_WAIT = f"""
SELECT true FROM jobs_job WHERE queue = %(queue)s AND {_WAITING} AND test LIMIT 1
"""

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

_TAKE_LONE = f"""
WITH live AS ({_LIVE}),
waiting AS MATERIALIZED (
  SELECT id FROM jobs_job WHERE queue = %(queue)s AND {_WAITING} AND NOT test
  ORDER BY user_id, id LIMIT 2
),
room AS MATERIALIZED (SELECT coalesce(sum({_WINDOW}), 0)::int AS size FROM live),
free AS (
  SELECT id FROM jobs_job
  WHERE id = (SELECT (array_agg(id))[1] FROM waiting HAVING count(*) = 1)
    AND {_STILL_WAITING} AND (SELECT size FROM room) > 0
    AND NOT EXISTS (
      SELECT FROM jobs_job WHERE queue = %(queue)s AND {_IN_FLIGHT} AND NOT test
    )
  FOR NO KEY UPDATE SKIP LOCKED
),
taken AS (
  UPDATE jobs_job AS job
  SET dispatched_at = clock_timestamp(), dispatches = dispatches + 1,
      message = %(message)s::uuid
  WHERE job.id = (SELECT id FROM free)
  RETURNING {_COLUMNS}
)
SELECT (SELECT count(*)::int FROM waiting), room.size, taken.*
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
