"""The only writer of `Job.status`.

    queued --start--> running --requeue--> queued   (retry, lost worker, hand-back)
    queued, running --succeed--> succeeded
    running --fail--> failed                        (a run's report, or the reaper)
    queued --fail--> failed                         (inputs that cannot be fetched)
    queued, running --expire--> failed
    queued, running --cancel--> cancelled

- Each transition is one guarded UPDATE for many jobs. Its WHERE names the statuses it
  may leave, and the attempt and the claim where a worker speaks; of racing callers
  exactly one wins, and the others change nothing.
- Credits, events and what webhooks tell of them move in the winner's transaction or
  not at all. A success is charged the row's own price, everything else nothing; a
  worker has no say in it.
- `attempt` rises with every claim and never falls. The last claim stays in the row
  when a job is queued again, so that nobody else's claim of it is ever believed.
- Every function runs in the caller's transaction. It first locks all its jobs in one
  statement in id order, then moves them with a snapshot taken after that lock, then
  settles. Jobs before wallets, always.
- "Now" is the database's clock.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from billing import ledger
from billing.ledger import Settlement
from gpu_worker.contract import Beat, Checkpoint, Failure, Report, Run, to_json
from jobs import news
from jobs.database import sql, turns
from jobs.database.locks import lock, lock_free
from jobs.database.sql import Statement
from jobs.database.turns import WalletsLocked
from jobs.errors import JobNotCancellable, JobNotFound
from jobs.models import Job
from jobs.webhooks import recording

CHECKPOINT_LIMIT_BYTES = 4096
CANCELLED_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a worker says about its runs that ends none of them."""

    worker: str
    incarnation: int
    claims: Sequence[Run] = ()
    beats: Sequence[Beat] = ()
    checkpoints: Sequence[Checkpoint] = ()
    hand_backs: Sequence[Run] = ()

    def job_ids(self) -> set[str]:
        runs = [*self.claims, *self.hand_backs]
        runs += [one.run for one in self.beats]
        runs += [one.run for one in self.checkpoints]
        return {run.job_id for run in runs}

    def is_lone_claim(self) -> bool:
        """Whether it is one claim and nothing else: what most calls are."""
        others = self.beats or self.checkpoints or self.hand_backs
        return len(self.claims) == 1 and not others

    def about(self, jobs: Collection[str]) -> Said:
        """Only what is said about these jobs."""
        return replace(
            self,
            claims=[run for run in self.claims if run.job_id in jobs],
            beats=[one for one in self.beats if one.run.job_id in jobs],
            checkpoints=[one for one in self.checkpoints if one.run.job_id in jobs],
            hand_backs=[run for run in self.hand_backs if run.job_id in jobs],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a run gets with its grant: how many results, the job's checkpoint, and the
    sealed key that its owner pays a provider with."""

    results: int
    checkpoint: str | None
    sealed_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """`alive` are the beats that hold; `changed` the jobs that others may look at, of
    which `returned` wait again."""

    granted: Mapping[Run, Granted]
    alive: Collection[Run]
    changed: set[str]
    returned: set[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a waiting job cannot run: a code of the API and a text for its owner."""

    job_id: UUID
    code: str
    message: str


class Moved(NamedTuple):
    """A job that a transition moved, and whether a webhook tells of it."""

    id: str
    user_id: int
    test: bool
    charged: Decimal
    told: bool


# What workers say


def hear(said: Said) -> Heard:
    """Start what is claimed, then keep checkpoints, renew leases, take runs back.

    A claim is granted if it starts the job, or if it did so before (its answer was
    lost). All else holds only for a job that is running with this attempt and this
    claim. The jobs must be locked.
    """
    times = _settings()
    claims, hand_backs = _runs(said.claims), _runs(said.hand_backs)
    who = {"worker": said.worker, "incarnation": said.incarnation}
    granted, _, renewed, returned, _ = _asked(
        (said.claims, (_START, times | claims | who)),
        (said.checkpoints, (_CHECKPOINT, _checkpoints(said.checkpoints))),
        (said.beats, (_RENEW, times | _beats(said.beats))),
        (said.hand_backs, (_HAND_BACK, times | hand_backs)),
        (said.hand_backs, (_LET_GO, hand_backs)),
    )
    return _heard(granted, renewed, returned)


def _heard(
    granted: Sequence[sql.Row], renewed: Sequence[sql.Row], returned: Sequence[sql.Row]
) -> Heard:
    progressed = {row[0] for row in renewed if row[3]}
    return Heard(
        granted={_run(row): _granted(row) for row in granted},
        alive={_run(row) for row in renewed},
        changed=_ids(granted) | _ids(returned) | progressed,
        returned=_ids(returned),
    )


def start_after(first: Statement, said: Said) -> tuple[sql.Row | None, Heard]:
    """The row that `first` gives, and what comes of the lone claim in `said`: nothing
    if there is no such row. One statement, which is a transaction where none is open.
    """
    query, parameters = first
    values = _settings() | _runs(said.claims) | dict(parameters)
    values |= {"worker": said.worker, "incarnation": said.incarnation}
    [rows] = sql.run([(_START_AFTER.format(first=query), values)])
    granted = [row for row in rows if row[0] is not None]
    heard = _heard(granted, renewed=(), returned=())
    return (rows[0][_STARTED_COLUMNS:] if rows else None), heard


def start_many(worker: str, incarnation: int, claims: Sequence[Run]) -> set[Run]:
    """Start the claimed jobs; gives the claims that are granted."""
    sql.run([lock(run.job_id for run in claims)])
    said = Said(worker=worker, incarnation=incarnation, claims=claims)
    return set(hear(said).granted)


def finish_many(reports: Sequence[Report], *, wait: bool) -> set[str]:
    """End runs as they report; gives the ids of the jobs that this moved.

    A success of any attempt ends an unfinished job. A failure holds only for a job that
    is running with this attempt and this claim; a retryable one queues it again until
    it has failed too often. Results must lie under the run's own prefix: that is the
    caller's to check. Raises WalletsLocked (`wait=False`) or WalletBusy: roll back.
    """
    return _closed(_asked(*_endings(reports)), wait=wait)


def finish_after(
    first: Statement, reports: Sequence[Report]
) -> tuple[list[sql.Row], set[str]]:
    """The rows of `first`, a statement that shares the round trip with those of
    `finish_many(reports, wait=False)`, and what that gives."""
    first_rows, *ended = _asked((True, first), *_endings(reports))
    return first_rows, _closed(ended, wait=False)


def _endings(reports: Sequence[Report]) -> list[tuple[object, Statement]]:
    """The statements that end these runs, each if there is something for it to do."""
    times = _settings()
    successes = [one for one in reports if one.failure is None]
    failures = [one for one in reports if one.failure is not None]
    retryable = [one for one in failures if one.failure and one.failure.retryable]
    jobs = {one.run.job_id for one in reports}
    return [
        (len(jobs) > 1, lock(jobs)),
        (successes, (_SUCCEED, times | _successes(successes))),
        (retryable, (_RETRY, times | _failures(retryable))),
        # What was just queued again is not running any more, so this passes it over.
        (failures, (_FAIL, times | _failures(failures))),
    ]


def _closed(ended: Sequence[list[sql.Row]], *, wait: bool) -> set[str]:
    _, succeeded, retried, failed = ended
    _settle([*succeeded, *failed], wait=wait)
    return _ids(succeeded) | _ids(retried) | _ids(failed)


def prefix(run: Run) -> str:
    """The folder of a run's results, which no other run shares."""
    return f"results/{run.job_id}/{run.attempt}-{run.claim}/"


# What the platform does by itself


def void(worker: str) -> list[str]:
    """End the leases of all that ran under a worker's name now; gives its jobs.

    Whoever calls has the worker's row, so nothing of its new incarnation runs yet.
    """
    [rows] = sql.run([(_LOCK_RUNS_OF, {"worker": worker})])
    jobs = [str(row[0]) for row in rows]
    if jobs:
        sql.run([(_VOID, {"jobs": jobs})])
    return jobs


def lose_many(job_ids: Collection[str], *, wait: bool) -> set[str]:
    """Queue again, or end, those of these jobs whose lease is over.

    A run past its limit whose worker still called after it has failed
    (`limit_exceeded`). Otherwise its worker is lost: the job is queued again, to run
    alone, unless it has failed too often and this run was alone (`worker_lost`). Passes
    over jobs that another transaction has. Raises WalletsLocked or WalletBusy.
    """
    jobs = lock_free(job_ids)
    if not jobs:
        return set()
    values = _settings() | {"jobs": jobs}
    overran, requeued, lost = sql.run(
        [(_OVERRAN, values), (_REQUEUE_LOST, values), (_WORKER_LOST, values)]
    )
    _settle([*overran, *lost], wait=wait)
    return _ids(overran) | _ids(requeued) | _ids(lost)


def expire_many(job_ids: Collection[str], *, wait: bool) -> set[str]:
    """Fail those of these jobs that waited, or are unfinished, for too long.

    Passes over jobs that another transaction has. Raises WalletsLocked or WalletBusy.
    """
    jobs = lock_free(job_ids)
    if not jobs:
        return set()
    [expired] = sql.run([(_EXPIRE, _settings() | {"jobs": jobs})])
    _settle(expired, wait=wait)
    return _ids(expired)


def fail_waiting_many(faults: Sequence[Fault], *, wait: bool) -> set[str]:
    """Fail queued jobs whose inputs cannot be had.

    Raises WalletsLocked or WalletBusy.
    """
    ids = [str(one.job_id) for one in faults]
    errors = [_error(one.code, one.message) for one in faults]
    codes = [one.code for one in faults]
    values = {"jobs": ids, "errors": errors, "codes": codes}
    _, failed = sql.run([lock(ids), (_FAIL_WAITING, _settings() | values)])
    _settle(failed, wait=wait)
    return _ids(failed)


def refuse(report: Report, reason: str, *, wait: bool) -> set[str]:
    """Keep a report that cannot be stored, for a person, and fail its run.

    Raises WalletsLocked or WalletBusy.
    """
    run = report.run
    text = json.dumps(to_json(report))[:KEPT_LIMIT_CHARACTERS]
    kept = {"job": run.job_id, "report": text, "reason": reason}
    message = "The engine's report could not be stored."
    failure = Failure(code="engine_failed", message=message)
    said = _failures([Report(run=run, failure=failure)])
    _, _, failed = sql.run(
        [lock([run.job_id]), (_KEEP, kept), (_FAIL, _settings() | said)]
    )
    _settle(failed, wait=wait)
    return _ids(failed)


def cancel(job_id: UUID, *, user_id: int, test: bool) -> None:
    """End an unfinished job and give its credits back; a repeat changes nothing.

    Its own transaction. Raises JobNotFound, JobNotCancellable if it ended otherwise,
    and WalletBusy, which changed nothing.
    """
    end = _cancelling(user_id=user_id, test=test)
    changed = turns.take([str(job_id)], end).check().changed
    news.announce(changed)
    if not changed:
        _check_cancelled(job_id, user_id=user_id, test=test)


def cancel_many(job_ids: Iterable[UUID], *, user_id: int, test: bool) -> set[str]:
    """End those of these jobs that are this user's and unfinished; gives their ids.

    Transactions of its own. Raises WalletBusy: then some are left, for a repeat.
    """
    end = _cancelling(user_id=user_id, test=test)
    ids = [str(job_id) for job_id in job_ids]
    changed: set[str] = set()
    for start in range(0, len(ids), CANCELLED_AT_ONCE):
        turn = turns.take(ids[start : start + CANCELLED_AT_ONCE], end)
        news.announce(turn.changed)
        changed |= turn.check().changed
    return changed


def _cancelling(*, user_id: int, test: bool) -> turns.End:
    owner = {"user": user_id, "test": test}

    def end(job_ids: Collection[str], *, wait: bool) -> set[str]:
        values = _settings() | owner | {"jobs": list(job_ids)}
        _, cancelled = sql.run([lock(job_ids), (_CANCEL, values)])
        _settle(cancelled, wait=wait)
        return _ids(cancelled)

    return end


def _check_cancelled(job_id: UUID, *, user_id: int, test: bool) -> None:
    jobs = Job.objects.filter(pk=job_id, user_id=user_id, test=test)
    status = jobs.values_list("status", flat=True).first()
    if status is None:
        raise JobNotFound
    if status != Job.Status.CANCELLED:
        raise JobNotCancellable(status)


# Their money


def _settle(rows: Iterable[sql.Row], *, wait: bool) -> None:
    """Charge or release what the ended jobs held, and say it to those who tell webhooks
    of them. Jobs in test mode hold nothing."""
    ended = [Moved._make(row) for row in rows]
    if told := [one.id for one in ended if one.told]:
        say = partial(news.announce_soon, told, to=[news.ENDS])
        transaction.on_commit(say, robust=True)
    paying = [one for one in ended if not one.test]
    if not paying:
        return
    settlements = [Settlement(reference=one.id, charge=one.charged) for one in paying]
    settled = ledger.settle_many(settlements, wait=wait)
    if locked := {one.id: one.user_id for one in paying if one.id not in settled}:
        raise WalletsLocked(locked)


# Values for the statements


def _settings() -> dict[str, Any]:
    return recording.values() | {
        "lease_s": float(settings.LEASE_S),
        "grace_s": float(settings.RUN_LIMIT_GRACE_S),
        "start_by_s": float(settings.START_BY_S),
        "retention_s": float(settings.RETENTION_S),
        "backoff_s": float(settings.RETRY_BACKOFF_S),
        "max_failures": settings.MAX_FAILURES,
        "free_hand_backs": settings.FREE_HAND_BACKS,
    }


def _runs(runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "jobs": [run.job_id for run in runs],
        "attempts": [run.attempt for run in runs],
        "claims": [run.claim for run in runs],
    }


def _beats(beats: Sequence[Beat]) -> dict[str, Any]:
    progress = [one.progress and json.dumps(to_json(one.progress)) for one in beats]
    return _runs([one.run for one in beats]) | {"progress": progress}


def _checkpoints(checkpoints: Sequence[Checkpoint]) -> dict[str, Any]:
    texts = [one.text for one in checkpoints]
    return _runs([one.run for one in checkpoints]) | {"texts": texts}


def _successes(reports: Sequence[Report]) -> dict[str, Any]:
    return _runs([one.run for one in reports]) | {
        "prefixes": [prefix(one.run) for one in reports],
        "results": [json.dumps(to_json(one.results)) for one in reports],
        "engine_ms": [one.engine_ms for one in reports],
        "stages": [json.dumps(one.stages) if one.stages else None for one in reports],
    }


def _failures(reports: Sequence[Report]) -> dict[str, Any]:
    failures = [one.failure for one in reports if one.failure is not None]
    return _runs([one.run for one in reports]) | {
        "errors": [
            _error(one.code, one.message, retryable=one.retryable) for one in failures
        ],
        "codes": [one.code for one in failures],
        "waits_s": [one.retry_after_s for one in failures],
        "put_off": [one.put_off for one in failures],
    }


def _error(code: str, message: str, *, retryable: bool = False) -> str:
    return json.dumps({"code": code, "message": message, "retryable": retryable})


def _asked(*wanted: tuple[object, Statement]) -> list[list[sql.Row]]:
    """The rows of those statements that have something to act on, else none."""
    answers = iter(sql.run([statement for items, statement in wanted if items]))
    return [next(answers) if items else [] for items, _ in wanted]


def _ids(rows: Iterable[sql.Row]) -> set[str]:
    return {row[0] for row in rows}


def _run(row: sql.Row) -> Run:
    return Run(job_id=row[0], attempt=row[1], claim=row[2])


def _granted(row: sql.Row) -> Granted:
    return Granted(checkpoint=row[3], results=row[4], sealed_key=row[5])


# The statements

KEPT_LIMIT_CHARACTERS = 100_000
_STARTED_COLUMNS = 6

_LOCK_RUNS_OF = """
SELECT id::text FROM jobs_job WHERE worker = %(worker)s::text AND status = 'running'
ORDER BY id FOR NO KEY UPDATE"""

_SAID = """unnest(%(jobs)s::uuid[], %(attempts)s::int[], %(claims)s::text[])
        AS said (id, attempt, claim)"""

# The second condition says nothing new, but with it a plan that was made while the
# table was small still goes by the primary key when it has grown. `status || ''` is
# there for the same reason: a bare `status = 'queued'` lets the planner take an index
# of all unfinished jobs, which looks small as long as few are waiting.
_SAID_JOB = "job.id = said.id AND job.id = ANY(%(jobs)s::uuid[])"

_THIS_RUN = f"""{_SAID_JOB} AND job.status = 'running'
        AND job.attempt = said.attempt AND job.claim = said.claim"""

_REQUEUED = """status = 'queued', lease_until = NULL, started_at = NULL,
        progress = NULL, dispatched_at = NULL, dispatches = 0, message = NULL,
        start_by = clock_timestamp() + make_interval(secs => %(start_by_s)s::float8)"""

# An end of any kind takes the owner's key with it.
_ENDED = """ended_at = clock_timestamp(), lease_until = NULL, position = NULL,
        sealed_key = NULL, expires_at = clock_timestamp()
            + make_interval(secs => %(retention_s)s::float8)"""


def _transition(update: str, event: str, *, reason: str, attempt: str) -> str:
    """The UPDATE with its event and whom that is told, in one statement; gives `Moved`
    rows."""
    return f"""
WITH moved AS (
    {update}
    RETURNING job.id, job.user_id, job.test, job.webhook_url, job.charged,
        {attempt} AS attempt, {reason} AS reason
), told AS (
    INSERT INTO jobs_jobevent (job_id, type, attempt, reason)
    SELECT id, '{event}', attempt, reason FROM moved
){recording.from_moved(event)}
SELECT id::text, user_id, test, charged, {recording.is_told(event)} FROM moved"""


# Also those that run already: theirs was the answer that got lost.
_STARTING = f"""moved AS (
    UPDATE jobs_job AS job
    SET status = 'running', attempt = said.attempt, claim = said.claim,
        worker = %(worker)s::text, incarnation = %(incarnation)s::bigint,
        started_at = clock_timestamp(),
        lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s::float8),
        progress = NULL, position = NULL, not_before = NULL
    FROM {_SAID}
    WHERE {_SAID_JOB} AND job.status || '' = 'queued'
        AND job.attempt = said.attempt - 1 AND {{gate}}
    RETURNING job.id, job.attempt, job.claim, job.checkpoint, job.sealed_key,
        job.operation, job.engine, job.user_id, job.test, job.webhook_url
), told AS (
    INSERT INTO jobs_jobevent (job_id, type, attempt, reason)
    SELECT id, 'started', attempt, '' FROM moved
){recording.from_moved("started")}, granted AS (
    SELECT id, attempt, claim, checkpoint, sealed_key, operation, engine FROM moved
    UNION ALL
    SELECT job.id, job.attempt, job.claim, job.checkpoint, job.sealed_key,
        job.operation, job.engine
    FROM {_SAID} JOIN jobs_job AS job ON {_THIS_RUN}
), started AS (
    SELECT granted.id::text, attempt, claim, checkpoint, coalesce(
        (
            SELECT (spec ->> 'results')::int FROM jobs_engine AS known
            WHERE known.operation = granted.operation AND known.name IN (
                granted.engine, split_part(granted.engine, ':', 1) || ':'
            )
            ORDER BY known.name = granted.engine DESC LIMIT 1
        ),
        1
    ) AS results, sealed_key
    FROM granted
)"""

_START = f"""
WITH {_STARTING.format(gate="true")}
SELECT * FROM started"""

_START_AFTER = (
    "WITH first AS ({first}), "
    + _STARTING.format(gate="EXISTS (SELECT FROM first)")
    + "SELECT started.*, first.* FROM first LEFT JOIN started ON true"
)

_CHECKPOINT = f"""
UPDATE jobs_job AS job SET checkpoint = said.text
FROM unnest(
    %(jobs)s::uuid[], %(attempts)s::int[], %(claims)s::text[], %(texts)s::text[]
) AS said (id, attempt, claim, text)
WHERE {_THIS_RUN}"""

# None is renewed past the run's limit: a thread that hangs would beat for ever.
_RENEW = f"""
UPDATE jobs_job AS job
SET lease_until = clock_timestamp() + make_interval(secs => %(lease_s)s::float8),
    progress = coalesce(said.progress, job.progress)
FROM unnest(
    %(jobs)s::uuid[], %(attempts)s::int[], %(claims)s::text[], %(progress)s::jsonb[]
) AS said (id, attempt, claim, progress)
WHERE {_THIS_RUN}
    AND clock_timestamp() < job.started_at
        + make_interval(secs => job.run_limit_s + %(grace_s)s::float8)
RETURNING job.id::text, job.attempt, job.claim, said.progress IS NOT NULL"""

# Handing back is free so often; then it counts as a failure, and one failure too many
# gets one run alone.
_HAND_BACK = _transition(
    f"""UPDATE jobs_job AS job
    SET {_REQUEUED}, hand_backs = job.hand_backs + 1,
        failures = job.failures + (job.hand_backs >= %(free_hand_backs)s::int)::int,
        alone = job.alone OR job.hand_backs >= %(free_hand_backs)s::int
            AND job.failures + 1 >= %(max_failures)s::int
    FROM {_SAID}
    WHERE {_THIS_RUN}
        AND NOT (
            job.alone AND job.hand_backs >= %(free_hand_backs)s::int
            AND job.failures + 1 >= %(max_failures)s::int
        )""",
    "requeued",
    reason="'handed_back'",
    attempt="job.attempt",
)

# What may not be handed back any more is left to the reaper, like a lost worker's.
_LET_GO = f"""
UPDATE jobs_job AS job SET lease_until = clock_timestamp()
FROM {_SAID} WHERE {_THIS_RUN}"""

# The attempt's own claim is believed; an older attempt's is not in the row any more.
_SUCCEED = _transition(
    f"""UPDATE jobs_job AS job
    SET status = 'succeeded', {_ENDED}, error = NULL,
        charged = CASE WHEN job.test THEN 0 ELSE job.price END,
        result_prefix = said.prefix, results = said.results,
        engine_ms = said.engine_ms, stages = said.stages
    FROM unnest(
        %(jobs)s::uuid[], %(attempts)s::int[], %(claims)s::text[],
        %(prefixes)s::text[], %(results)s::jsonb[], %(engine_ms)s::int[],
        %(stages)s::jsonb[]
    ) AS said (id, attempt, claim, prefix, results, engine_ms, stages)
    WHERE {_SAID_JOB} AND job.status || '' IN ('queued', 'running')
        AND (
            said.attempt < job.attempt
            OR said.attempt = job.attempt AND said.claim = job.claim
        )""",
    "succeeded",
    reason="''",
    attempt="said.attempt",
)

_SAID_FAILURES = """unnest(
        %(jobs)s::uuid[], %(attempts)s::int[], %(claims)s::text[],
        %(errors)s::jsonb[], %(codes)s::text[], %(waits_s)s::float8[],
        %(put_off)s::bool[]
    ) AS said (id, attempt, claim, error, code, wait_s, put_off)"""

# A job that was put off has lost no try; its age alone ends it.
_RETRY = _transition(
    f"""UPDATE jobs_job AS job
    SET {_REQUEUED}, failures = job.failures + (NOT said.put_off)::int,
        not_before = clock_timestamp() + make_interval(secs => greatest(
            %(backoff_s)s::float8 * 2 ^ job.failures, said.wait_s
        ))
    FROM {_SAID_FAILURES}
    WHERE {_THIS_RUN}
        AND (said.put_off OR job.failures + 1 < %(max_failures)s::int)""",
    "requeued",
    reason="said.code",
    attempt="job.attempt",
)

_FAIL = _transition(
    f"""UPDATE jobs_job AS job SET status = 'failed', {_ENDED}, error = said.error
    FROM {_SAID_FAILURES}
    WHERE {_THIS_RUN}""",
    "failed",
    reason="said.code",
    attempt="job.attempt",
)

_FAIL_WAITING = _transition(
    f"""UPDATE jobs_job AS job SET status = 'failed', {_ENDED}, error = said.error
    FROM unnest(%(jobs)s::uuid[], %(errors)s::jsonb[], %(codes)s::text[])
        AS said (id, error, code)
    WHERE {_SAID_JOB} AND job.status = 'queued' AND job.waiting_fetches > 0""",
    "failed",
    reason="said.code",
    attempt="job.attempt",
)

_KEEP = """
INSERT INTO jobs_keptreport (job_id, report, reason)
SELECT id, %(report)s::text, %(reason)s::text
FROM jobs_job WHERE id = %(job)s::uuid"""

_VOID = """
UPDATE jobs_job SET lease_until = clock_timestamp() WHERE id = ANY(%(jobs)s::uuid[])"""

_LEASE_OVER = """job.id = ANY(%(jobs)s::uuid[]) AND job.status = 'running'
        AND job.lease_until <= clock_timestamp()"""


def _failed_with(code: str, message: str, *, retryable: bool) -> str:
    error = {"code": code, "message": message, "retryable": retryable}
    return f"status = 'failed', {_ENDED}, error = '{json.dumps(error)}'::jsonb"


_LIMIT_EXCEEDED = _failed_with(
    "limit_exceeded", "The job ran longer than it may.", retryable=False
)
_LOST = _failed_with(
    "worker_lost", "The workers that ran this job were lost.", retryable=True
)
_EXPIRED = _failed_with(
    "expired", "The job could not be run within its time.", retryable=True
)

# A worker that called after the run's end lives, so it is the job that takes too long.
_OVERRAN = _transition(
    f"""UPDATE jobs_job AS job SET {_LIMIT_EXCEEDED}
    WHERE {_LEASE_OVER}
        AND EXISTS (
            SELECT FROM jobs_worker AS worker
            WHERE worker.name = job.worker AND worker.incarnation = job.incarnation
                AND worker.seen_at > job.started_at
                    + make_interval(secs => job.run_limit_s + %(grace_s)s::float8)
        )""",
    "failed",
    reason="'limit_exceeded'",
    attempt="job.attempt",
)

_REQUEUE_LOST = _transition(
    f"""UPDATE jobs_job AS job
    SET {_REQUEUED}, failures = job.failures + 1, losses = job.losses + 1, alone = true
    WHERE {_LEASE_OVER}
        AND NOT (job.alone AND job.failures + 1 >= %(max_failures)s::int)""",
    "requeued",
    reason="'worker_lost'",
    attempt="job.attempt",
)

_WORKER_LOST = _transition(
    f"""UPDATE jobs_job AS job
    SET {_LOST}, failures = job.failures + 1, losses = job.losses + 1
    WHERE {_LEASE_OVER}""",
    "failed",
    reason="'worker_lost'",
    attempt="job.attempt",
)

_EXPIRE = _transition(
    f"""UPDATE jobs_job AS job SET {_EXPIRED}
    WHERE job.id = ANY(%(jobs)s::uuid[])
        AND (
            job.status = 'queued' AND job.start_by <= clock_timestamp()
            OR job.status IN ('queued', 'running')
                AND job.give_up_at <= clock_timestamp()
        )""",
    "failed",
    reason="'expired'",
    attempt="job.attempt",
)

_CANCEL = _transition(
    f"""UPDATE jobs_job AS job SET status = 'cancelled', {_ENDED}
    WHERE job.id = ANY(%(jobs)s::uuid[]) AND job.user_id = %(user)s::bigint
        AND job.test = %(test)s::bool AND job.status IN ('queued', 'running')""",
    "cancelled",
    reason="''",
    attempt="job.attempt",
)
