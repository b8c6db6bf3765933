"""Which delivery goes out when.

- A row is claimed with a lease, by one claimer at a time, and tried on a thread that
  never touches the database: what it needs is written before, what came of it is noted
  afterwards, many at once, under the claim. So a process that dies loses nothing: its
  rows are tried again when their leases end.
- Deliveries queue in lanes, one per receiver. Of a lane only a few are on their way at
  once; of one that has failed lately, is new, or keeps a try for seconds, only one.
  Such unproven lanes together get half of the places.
- A try that takes longer than a moment gives up its place and only counts among the
  slow ones: receivers that hang take threads, which are many, not places, which are
  few. When many are slow, every lane gets one at a time, so that there is still room
  for all lanes.
- After five failures in a row the circuit of a lane opens: nothing is sent until it
  has rested, then one try decides. The rest doubles up to ten minutes. What waits
  meanwhile uses up none of its tries, only its time.
"""

from __future__ import annotations

import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction

from gpu_worker.fetch import INTERNET, Network
from jobs.models import Job
from jobs.webhooks import (
    deliveries,
    endpoints,
    low_credits,
    rendering,
    sending,
    signing,
)
from jobs.webhooks.sending import Letter, Outcome
from nijika.postgres import prepared

PLACE_FOR_S = 0.25
DOUBTED_AFTER_S = 2.0
LEAST_TURN_S = 0.02
LOOK_AGAIN_S = 0.1
LEASE_MARGIN_S = 30
FAILURES = 5
LONGEST_REST_S = 600.0
JITTER = 0.1
EXPIRED_AT_ONCE = 1000

OFF = "The endpoint is switched off or removed."
NO_MORE = "What this told of is no more."
BROKEN = "This could not be sent."

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A claimed row. `url` is None where its endpoint is off or gone."""

    id: UUID
    claim: UUID
    event_id: UUID
    type: str
    user_id: int
    test: bool
    job_id: UUID | None
    endpoint_id: UUID | None
    url: str | None
    data: dict[str, Any] | None
    created_at: datetime
    tries: int
    generation: int
    both: bool
    proven: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flight:
    began: float
    proven: bool

    @property
    def is_young(self) -> bool:
        return time.monotonic() - self.began < PLACE_FOR_S


class Deliverer:
    """Delivers what is due. `turn` is one thread's; `wake` is called from others."""

    def __init__(self, network: Network = INTERNET) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._network = network
        self._flights: dict[UUID, _Flight] = {}
        self._ended: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._unnoted: list[Outcome] = []
        self._turned_at = self._chores_at = self._cleaned_at = float("-inf")
        self._is_full = False

    def turn(self) -> int:
        """Note what ended, claim what is due, send it; gives how many were claimed."""
        # News come far more often than there is something to send.
        time.sleep(max(self._turned_at + LEAST_TURN_S - time.monotonic(), 0))
        self._turned_at = time.monotonic()
        self._note()
        self._do_chores()
        claimed = self._claim()
        # A thread takes a moment to start: nobody waits for those of dead receivers.
        for letter in self._written(sorted(claimed, key=lambda one: not one.proven)):
            self._send(letter)
        return len(claimed)

    def pause_s(self, longest: float) -> float:
        """A try that becomes slow makes room without a word."""
        return min(longest, LOOK_AGAIN_S) if self._is_full else longest

    def close(self) -> None:
        """Note what has ended. What is on its way is tried again by another."""
        self._note()

    @property
    def on_their_way(self) -> int:
        return len(self._flights)

    def _note(self) -> None:
        while not self._ended.empty():
            self._unnoted.append(self._ended.get())
        if self._unnoted:
            note(self._unnoted)  # raises while the database is away; later, then
            self._unnoted = []

    def _do_chores(self) -> None:
        if time.monotonic() < self._chores_at + settings.POLL_S:
            return
        self._chores_at = time.monotonic()
        give_up()
        low_credits.tell()
        if self._chores_at > self._cleaned_at + settings.SWEEP_S:
            self._cleaned_at = self._chores_at
            deliveries.clean()

    def _claim(self) -> list[Claimed]:
        young = [one for one in list(self._flights.values()) if one.is_young]
        unproven = sum(not one.proven for one in young)
        places = settings.WEBHOOK_SENDERS
        most = min(
            places - len(young),
            places + settings.WEBHOOK_SLOW_SENDERS - len(self._flights),
        )
        slow = len(self._flights) - len(young)
        is_crowded = slow > settings.WEBHOOK_SLOW_SENDERS // 2
        claimed = claim(
            most,
            unproven=max(places // 2 - unproven, 0),
            per_lane=1 if is_crowded else settings.WEBHOOK_PER_ENDPOINT,
        )
        self._is_full = len(claimed) >= most or len(young) >= places // 2
        for one in claimed:
            self._flights[one.id] = _Flight(began=time.monotonic(), proven=one.proven)
        return claimed

    def _written(self, claimed: Sequence[Claimed]) -> list[Letter]:
        try:
            jobs = rendering.jobs_of(claimed)
        except Exception:  # the database is away: their leases end
            for one in claimed:
                self._flights.pop(one.id, None)
            raise
        outcomes = [_written(one, jobs) for one in claimed]
        for outcome in outcomes:
            if isinstance(outcome, Outcome):
                self._end(outcome)
        return [one for one in outcomes if isinstance(one, Letter)]

    def _send(self, letter: Letter) -> None:
        threading.Thread(
            target=self._try, args=(letter,), name="webhook", daemon=True
        ).start()

    def _try(self, letter: Letter) -> None:
        try:
            outcome = sending.send(letter, self._network)
        except Exception:
            logger.exception("delivery %s stumbled", letter.id)
            outcome = Outcome(
                id=letter.id, claim=letter.claim, tries=letter.tries, error=BROKEN
            )
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self._ended.put(outcome)
        self._flights.pop(outcome.id, None)
        self.wake()


def claim(most: int, *, unproven: int, per_lane: int | None = None) -> list[Claimed]:
    """Claim up to `most` deliveries that are due, of which so many of unproven lanes,
    fairly among lanes and users."""
    if most <= 0:
        return []
    wanted = {
        "most": most,
        "unproven": unproven,
        "claim": uuid4(),
        "per_lane": per_lane or settings.WEBHOOK_PER_ENDPOINT,
        "per_user": settings.WEBHOOK_PER_USER,
        "doubted_s": DOUBTED_AFTER_S,
        "both_s": float(signing.BOTH_FOR_S),
        "lease_s": settings.WEBHOOK_TIMEOUT_S + LEASE_MARGIN_S,
    }
    # Most news are of jobs that nobody is told of: no transaction for these.
    if not prepared.rows(_IS_ANY, ()):
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_BY_LANES)
        cursor.execute(_ALONE)
        if cursor.fetchone() != (True,):
            return []
        cursor.execute(_CLAIM, wanted)
        names = [column.name for column in cursor.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return [Claimed(**row | {"data": _loaded(row["data"])}) for row in rows]


def note(outcomes: Sequence[Outcome]) -> None:
    """Write down what came of tries, each under its claim; the rest is not believed."""
    if not outcomes:
        return
    pauses = [_pause_s(one) for one in outcomes]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_UNHURRIED)
        cursor.execute(
            _NOTE,
            {
                "ids": [one.id for one in outcomes],
                "claims": [one.claim for one in outcomes],
                "oks": [one.ok for one in outcomes],
                "pauses": pauses,
                "statuses": [one.status for one in outcomes],
                "errors": [one.error[:200] for one in outcomes],
                "milliseconds": [one.milliseconds for one in outcomes],
                "answers": [one.answer for one in outcomes],
                "sent": [one.is_sent for one in outcomes],
                "sick": [one.is_sick for one in outcomes],
                "gone": [one.is_gone for one in outcomes],
                "failures": FAILURES,
                "rest_s": settings.WEBHOOK_CIRCUIT_PAUSE_S,
                "longest_rest_s": LONGEST_REST_S,
            },
        )
        for endpoint_id in sorted({row[0] for row in cursor.fetchall()}):
            endpoints.disable(endpoint_id, endpoints.GONE)


def give_up() -> None:
    """End what has waited too long, whatever tries are left."""
    with connection.cursor() as cursor:
        cursor.execute(_EXPIRE, [EXPIRED_AT_ONCE])


def _pause_s(outcome: Outcome) -> float | None:
    """How long to wait for the next try; None: there is none."""
    schedule = settings.WEBHOOK_SCHEDULE_S
    over = outcome.ok or outcome.is_final or outcome.is_gone
    if over or outcome.tries >= len(schedule):
        return None
    usual = schedule[outcome.tries] * random.uniform(1 - JITTER, 1 + JITTER)
    return max(usual, outcome.wish_s)


def _written(one: Claimed, jobs: Mapping[UUID, Job]) -> Letter | Outcome:
    """What goes out, or why nothing does. One that cannot be written stops no other."""
    if one.url is None:
        return _unsent(one, OFF, is_final=True)
    try:
        body = rendering.body(one, jobs)
    except Exception:
        logger.exception("delivery %s cannot be written", one.id)
        return _unsent(one, BROKEN, is_final=False)
    if body is None:
        return _unsent(one, NO_MORE, is_final=True)
    return _letter(one, one.url, body)


def _unsent(one: Claimed, why: str, *, is_final: bool) -> Outcome:
    return Outcome(
        id=one.id,
        claim=one.claim,
        tries=one.tries,
        error=why,
        is_sent=False,
        is_final=is_final,
    )


def _letter(one: Claimed, url: str, body: bytes) -> Letter:
    if one.endpoint_id is not None:
        holder = signing.of_endpoint(one.endpoint_id)
    else:
        holder = signing.of_account(one.user_id, test=one.test)
    before = (one.generation - 1,) if one.both else ()
    return Letter(
        id=one.id,
        claim=one.claim,
        event_id=rendering.event_id(one.event_id),
        url=url,
        body=body,
        holder=holder,
        generations=(one.generation, *before),
        tries=one.tries,
    )


def _loaded(data: Any) -> Any:
    """Django has psycopg give JSON as text."""
    return json.loads(data) if isinstance(data, str) else data


_IS_ANY = "SELECT 1 FROM jobs_webhookdelivery WHERE status = 'pending' LIMIT 1"

# Nobody waits until the disk has a claim or what came of it: a database that loses its
# power forgets the last moments, and what they tell of is sent once more.
_UNHURRIED = "SET LOCAL synchronous_commit = off"

# Where the planner believes the table to be small it would rather read and sort all
# that is pending, once for each lane.
_BY_LANES = """
SELECT set_config('synchronous_commit', 'off', true),
  set_config('enable_sort', 'off', true), set_config('jit', 'off', true)"""

# Two claimers that count at the same time would go beyond the limits.
_ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('nijika claims webhooks'))"

_DUE = """
delivery.status = 'pending' AND delivery.next_at <= statement_timestamp()
AND (delivery.lease_until IS NULL OR delivery.lease_until <= clock_timestamp())
"""

# From lane to lane through the index, and only the first few rows of each: the cost
# grows with the receivers, not with what waits for them. A lane that is not known, or
# whose row is NULL by the join, is not proven.
_CLAIM = f"""
WITH RECURSIVE lanes (lane) AS (
  (SELECT lane FROM jobs_webhookdelivery WHERE status = 'pending'
   ORDER BY lane LIMIT 1)
  UNION ALL
  SELECT (SELECT lane FROM jobs_webhookdelivery
          WHERE status = 'pending' AND lane > lanes.lane ORDER BY lane LIMIT 1)
  FROM lanes WHERE lanes.lane IS NOT NULL
),
busy AS MATERIALIZED (
  SELECT lane, user_id, claimed_at FROM jobs_webhookdelivery
  WHERE lease_until > clock_timestamp()
),
busy_lanes AS (
  SELECT lane, count(*) AS many, min(claimed_at) AS since FROM busy GROUP BY lane
),
open_lanes AS (
  SELECT lanes.lane, coalesce(many, 0) AS many, (
      known.failures = 0 AND (since IS NULL OR since
        > clock_timestamp() - make_interval(secs => %(doubted_s)s))
    ) IS TRUE AS proven
  FROM lanes LEFT JOIN jobs_webhooklane AS known ON known.lane = lanes.lane
    LEFT JOIN busy_lanes ON busy_lanes.lane = lanes.lane
  WHERE lanes.lane IS NOT NULL
    AND (known.open_until IS NULL OR known.open_until <= clock_timestamp())
),
due AS (
  SELECT first_ones.*, proven, many
    + row_number() OVER (PARTITION BY open_lanes.lane ORDER BY next_at) AS lane_place
  FROM open_lanes CROSS JOIN LATERAL (
    SELECT id, user_id, next_at FROM jobs_webhookdelivery AS delivery
    WHERE delivery.lane = open_lanes.lane AND {_DUE}
    ORDER BY next_at LIMIT %(per_lane)s
  ) AS first_ones
),
by_user AS (
  SELECT id, proven, next_at,
    row_number() OVER (PARTITION BY user_id ORDER BY lane_place, NOT proven, next_at)
    + (SELECT count(*) FROM busy WHERE busy.user_id = due.user_id) AS user_place
  FROM due
  WHERE lane_place <= CASE WHEN proven THEN %(per_lane)s ELSE 1 END
),
ranked AS (
  SELECT id, proven,
    row_number() OVER (PARTITION BY proven ORDER BY user_place, next_at) AS place
  FROM by_user WHERE user_place <= %(per_user)s
),
chosen AS (
  SELECT delivery.id, delivery.endpoint_id, delivery.user_id, delivery.test, proven
  FROM jobs_webhookdelivery AS delivery JOIN (
    SELECT id, proven FROM ranked WHERE proven OR place <= %(unproven)s
    ORDER BY place, NOT proven LIMIT %(most)s
  ) AS first_ones ON first_ones.id = delivery.id
  FOR UPDATE OF delivery SKIP LOCKED
)
UPDATE jobs_webhookdelivery AS delivery
SET claim = %(claim)s, claimed_at = clock_timestamp(),
  lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s),
  tries = tries + 1, attempts = attempts + 1
FROM chosen
  LEFT JOIN jobs_webhookendpoint AS endpoint ON endpoint.id = chosen.endpoint_id
  LEFT JOIN jobs_webhooksecret AS secret ON chosen.endpoint_id IS NULL
    AND secret.user_id = chosen.user_id AND secret.test = chosen.test
WHERE delivery.id = chosen.id AND {_DUE}
RETURNING delivery.id, delivery.claim, delivery.event_id, delivery.type,
  delivery.user_id, delivery.test, delivery.job_id, delivery.endpoint_id,
  CASE WHEN delivery.endpoint_id IS NULL THEN delivery.url
    WHEN endpoint.disabled_at IS NULL THEN endpoint.url END AS url,
  delivery.data, delivery.created_at, delivery.tries,
  coalesce(endpoint.generation, secret.generation, 1) AS generation,
  coalesce(coalesce(endpoint.rotated_at, secret.rotated_at)
    > clock_timestamp() - make_interval(secs => %(both_s)s), false) AS both,
  chosen.proven
"""

_NOTE = """
WITH said AS MATERIALIZED (
  SELECT * FROM unnest(
    %(ids)s::uuid[], %(claims)s::uuid[], %(oks)s::bool[], %(pauses)s::float8[],
    %(statuses)s::smallint[], %(errors)s::text[], %(milliseconds)s::int[],
    %(answers)s::text[], %(sent)s::bool[], %(sick)s::bool[], %(gone)s::bool[]
  ) AS said (id, claim, ok, pause_s, status, error, milliseconds, answer, sent, sick,
    gone)
), moved AS (
  UPDATE jobs_webhookdelivery AS delivery
  SET claim = NULL, claimed_at = NULL, lease_until = NULL,
    status = CASE WHEN ok THEN 'delivered' WHEN pause_s IS NULL THEN 'failed'
      ELSE 'pending' END,
    ended_at = CASE WHEN ok OR pause_s IS NULL THEN clock_timestamp() END,
    next_at = CASE WHEN pause_s IS NULL THEN next_at
      ELSE clock_timestamp() + make_interval(secs => pause_s) END
  FROM said WHERE delivery.id = said.id AND delivery.claim = said.claim
  RETURNING delivery.id, delivery.attempts, delivery.lane, delivery.endpoint_id,
    said.status, said.error, said.milliseconds, said.answer, said.sent, said.sick,
    said.gone
), logged AS (
  INSERT INTO jobs_webhookattempt (
    delivery_id, number, at, status, error, milliseconds, answer
  )
  SELECT id, attempts, clock_timestamp() - milliseconds * interval '1 ms', status,
    error, milliseconds, answer
  FROM moved
), judged AS (
  INSERT INTO jobs_webhooklane AS known (lane, failures)
  SELECT lane, CASE WHEN bool_and(sick) THEN count(*) ELSE 0 END
  FROM moved WHERE sent GROUP BY lane ORDER BY lane
  ON CONFLICT (lane) DO UPDATE SET
    changed_at = clock_timestamp(),
    failures = CASE WHEN excluded.failures = 0 THEN 0
      ELSE known.failures + excluded.failures END,
    open_until = CASE
      WHEN excluded.failures > 0
        AND known.failures + excluded.failures >= %(failures)s::int
      THEN clock_timestamp() + make_interval(secs => least(
        %(longest_rest_s)s::float8, %(rest_s)s::float8
          * 2 ^ least(known.failures + excluded.failures - %(failures)s::int, 20)
      )) END
  WHERE known.failures > 0 OR excluded.failures > 0
)
SELECT DISTINCT endpoint_id FROM moved WHERE gone AND endpoint_id IS NOT NULL
"""

_EXPIRE = """
UPDATE jobs_webhookdelivery SET status = 'failed', ended_at = clock_timestamp(),
  claim = NULL, lease_until = NULL
WHERE id IN (
  SELECT id FROM jobs_webhookdelivery
  WHERE status = 'pending' AND give_up_at <= statement_timestamp()
    AND (lease_until IS NULL OR lease_until <= clock_timestamp())
  LIMIT %s FOR UPDATE SKIP LOCKED)
"""
