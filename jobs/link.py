"""The platform's side of the link: what it does with a worker's call.

- A call is handled in transactions, and answered after the last commit. The first
  holds what the worker says about its runs: claims, beats, checkpoints, hand-backs.
  The reports come after it, so that no lease waits for a wallet: all together without
  waiting, then those whose wallet was locked, user by user, each waiting a little
  (`jobs.database.turns`). What could not be stored stays unacknowledged and comes
  again.
- A call that is not above its worker's last (incarnation, number) is stale and does
  nothing: a delayed claim would start a job that nobody runs. The worker's row is
  locked through the first transaction, so calls of one worker are in one order.
- Locks: the worker's row, then all jobs of the transaction in id order, then wallets.
- A worker that starts gets a new incarnation, which ends the leases of earlier ones.
- Nothing that a worker says is believed beyond its own runs (`jobs.workers.vetting`).
- A report that the database refuses fails its job (`engine_failed`) and is kept for a
  person; it never blocks its neighbours.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from gpu_worker.contract import Answer, Call, Grant, Output, Report, Run
from jobs import engines, lifecycle, news
from jobs.database import sql, turns
from jobs.database.locks import lock, lock_free
from jobs.database.sql import Statement
from jobs.database.turns import WalletsLocked
from jobs.lifecycle import Granted, Heard, Said
from jobs.storage import store
from jobs.workers import engine_states, paces, vetting

# What our own books raise where they are wrong.
BOOKS_ARE_WRONG = (ObjectDoesNotExist, ValueError)
NOTHING_SAID = Heard(granted={}, alive=(), changed=set(), returned=set())

logger = logging.getLogger(__name__)

ReportsByJob = dict[str, list[Report]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The runs whose reports need not come again, and the jobs that they moved."""

    acknowledged: Set[Run]
    changed: Set[str]


NOTHING_STORED = _Stored(acknowledged=frozenset(), changed=frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Called:
    """What a worker's row has for its answer: the specs that are known of it, and the
    engines that it is to unload."""

    known_specs: str = ""
    unload: tuple[str, ...] = ()


STALE = _Called()


def handle(call: Call) -> Answer:
    """Do what the call asks, as far as the rules allow, and answer.

    What the call says again under a higher number does no harm. Raises ContractError
    for a call that no worker makes, and Django's database errors: then it is repeated.
    """
    vetting.check_caller(call)
    if call.incarnation == 0:
        return _welcome(call)
    called, heard, stored = _taken_in(call)
    if heard is None:
        return Answer(status="stale", incarnation=_incarnation(call.name))
    if call.specs:
        _announce(call)
    if call.measures:
        _keep_measures(call)
    # A worker's jobs are those of its queue.
    queues = [call.queue]
    news.announce_soon(stored.changed, queues=queues)
    news.announce_soon(heard.changed - stored.changed, to=[news.STEPS])
    returned = heard.returned - stored.changed
    news.announce_soon(returned, to=[news.WORK], queues=queues)
    return _answer(call, heard, stored, called)


def _taken_in(call: Call) -> tuple[_Called, Heard | None, _Stored]:
    """The worker's row, and what came of its words; no Heard: it is stale."""
    if _only_reports(call):
        with suppress(_InTheWay, WalletsLocked, DatabaseError, *BOOKS_ARE_WRONG):
            return _taken_in_at_once(call)
    called, heard = _hear(call)
    if heard is None:
        return called, None, NOTHING_STORED
    return called, heard, _stored_if_possible(call.reports)


def _only_reports(call: Call) -> bool:
    said = call.claims or call.beats or call.checkpoints or call.hand_backs
    return bool(call.reports) and not said


def _taken_in_at_once(call: Call) -> tuple[_Called, Heard, _Stored]:
    """What most calls are when little is to do: ends of runs, in one transaction.

    Whatever it raises, it did nothing, and the call is taken in the long way.
    """
    reports = [vetting.cleaned_report(one) for one in call.reports]
    if not all(vetting.is_run(one.run) and not vetting.refusal(one) for one in reports):
        raise _InTheWay
    with transaction.atomic():
        called, changed = lifecycle.finish_after((_CALLED, _head(call)), reports)
        if not called:
            raise _InTheWay
    stored = _Stored(acknowledged={one.run for one in reports}, changed=changed)
    return _row(called), NOTHING_SAID, stored


class _InTheWay(Exception):
    """A call that is not as simple as it looked."""


def _answer(call: Call, heard: Heard, stored: _Stored, called: _Called) -> Answer:
    return Answer(
        status="ok",
        incarnation=call.incarnation,
        grants=tuple(_grant(run, heard.granted.get(run)) for run in call.claims),
        acknowledged=tuple(stored.acknowledged),
        stop=tuple(one.run for one in call.beats if one.run not in heard.alive),
        send_specs=called.known_specs != call.specs_digest and not call.specs,
        unload=called.unload,
    )


def _grant(run: Run, granted: Granted | None) -> Grant:
    if granted is None:
        return Grant(run=run, granted=False)
    keys = [f"{lifecycle.prefix(run)}{index}" for index in range(granted.results)]
    outputs = [Output(key=key, location=store().write_location(key)) for key in keys]
    return Grant(
        run=run,
        granted=True,
        outputs=tuple(outputs),
        checkpoint=granted.checkpoint,
        sealed_key=granted.sealed_key,
    )


# A worker starts


def _welcome(call: Call) -> Answer:
    """Give a new incarnation and take back what the earlier ones were running."""
    with transaction.atomic():
        rows = sql.run([(_WELCOME, _head(call))])[0]
        if not rows:  # a later incarnation was given meanwhile
            return Answer(status="stale", incarnation=_incarnation(call.name))
        [(incarnation, known_specs)] = rows
        left_behind = lifecycle.void(call.name)
    if left_behind:
        # Whatever is held up is the reaper's: the leases are over.
        news.announce(turns.take(left_behind, lifecycle.lose_many).changed)
    return Answer(
        status="ok",
        incarnation=incarnation,
        send_specs=known_specs != call.specs_digest,
    )


def _incarnation(name: str) -> int:
    """The incarnation that may speak for this name now, or 0."""
    with transaction.atomic():
        [rows] = sql.run([(_INCARNATION, {"name": name})])
    return int(rows[0][0]) if rows else 0


def _announce(call: Call) -> None:
    try:
        with transaction.atomic():
            engines.announce(call.specs)
    except DataError:
        # Asking again would only bring the same.
        logger.exception("the specs of %s cannot be kept", call.name)
    except (OperationalError, InterfaceError):
        logger.exception("the specs of %s are not kept yet", call.name)
        return
    with connection.cursor() as cursor:
        cursor.execute(_KNOWS_SPECS, _head(call))


def _keep_measures(call: Call) -> None:
    """Nobody waits for these: what is not kept is measured again."""
    try:
        with transaction.atomic():
            paces.keep(vetting.cleaned_measures(call.measures))
    except DatabaseError:
        logger.exception("the measures of %s are not kept", call.name)


# What it says about its runs


def _hear(call: Call) -> tuple[_Called, Heard | None]:
    """The worker's row, and what came of its words; None for a stale call."""
    said = _said(call)
    try:
        if not said.job_ids():
            return _hear_head(call)
        if said.is_lone_claim():
            called, heard = lifecycle.start_after((_CALLED, _head(call)), said)
            return (_row([called]), heard) if called else (STALE, None)
        with transaction.atomic():
            return _hear_all(call, said)
    except OperationalError as error:
        if not sql.lock_refused(error):
            raise
    with transaction.atomic():
        return _hear_free(call, said)


def _hear_head(call: Call) -> tuple[_Called, Heard | None]:
    """The next commit that matters takes this one's along to the disk."""
    with transaction.atomic():
        _, called = sql.run([(_UNHURRIED, ()), (_CALLED, _head(call))])
    return (_row(called), NOTHING_SAID) if called else (STALE, None)


def _hear_all(call: Call, said: Said) -> tuple[_Called, Heard | None]:
    called, *_ = sql.run([(_CALLED, _head(call)), *_locks(said)])
    if not called:
        return STALE, None
    return _row(called), lifecycle.hear(said)


def _locks(said: Said) -> list[Statement]:
    """A lone job has no order to keep; its statements lock it themselves."""
    jobs = said.job_ids()
    return [lock(jobs)] if len(jobs) > 1 else []


def _hear_free(call: Call, said: Said) -> tuple[_Called, Heard | None]:
    """Another transaction keeps one of the jobs: its neighbours' leases go on."""
    [called] = sql.run([(_CALLED, _head(call))])
    if not called:
        return STALE, None
    free = set(lock_free(said.job_ids()))
    heard = lifecycle.hear(said.about(free))
    passed_over = {one.run for one in said.beats if one.run.job_id not in free}
    return _row(called), replace(heard, alive={*heard.alive, *passed_over})


def _said(call: Call) -> Said:
    return Said(
        worker=call.name,
        incarnation=call.incarnation,
        claims=[run for run in call.claims if vetting.is_run(run)],
        beats=[
            vetting.cleaned_beat(one) for one in call.beats if vetting.is_run(one.run)
        ],
        checkpoints=[
            one
            for one in call.checkpoints
            if vetting.is_run(one.run) and vetting.keeps(one)
        ],
        hand_backs=[run for run in call.hand_backs if vetting.is_run(run)],
    )


def _row(called: Sequence[sql.Row]) -> _Called:
    [(known_specs, unload)] = called
    return _Called(known_specs=known_specs, unload=tuple(unload or ()))


def _head(call: Call) -> dict[str, Any]:
    said = engine_states.values_of(vetting.cleaned_states(call.states))
    return said | {
        "name": call.name,
        "incarnation": call.incarnation,
        "number": call.number,
        "queue": call.queue,
        "slots": call.slots,
        "free_slots": call.free_slots,
        "specs_digest": call.specs_digest,
    }


# What it reports


def _stored_if_possible(reports: Sequence[Report]) -> _Stored:
    """What came of the reports; without the database nothing, and they come again.

    The claims of this call are granted by now: an error would hide that.
    """
    try:
        return _store(reports)
    except (OperationalError, InterfaceError):
        logger.exception("%s reports could not be stored", len(reports))
        return NOTHING_STORED


def _store(reports: Sequence[Report]) -> _Stored:
    """Store what can be stored; all but what was held up is acknowledged."""
    sound = [vetting.cleaned_report(one) for one in reports if vetting.is_run(one.run)]
    refused = {one.run: why for one in sound if (why := vetting.refusal(one))}
    by_job: ReportsByJob = defaultdict(list)
    for report in sound:
        if report.run not in refused:
            by_job[report.run.job_id].append(report)
    changed, waiting = _finish(by_job)
    for report in sound:
        if why := refused.get(report.run):
            turn = _refuse(report, why)
            changed |= turn.changed
            waiting |= turn.held_up
    # A run that can be none of ours is acknowledged too: it would come for ever.
    done = {one.run for one in reports if one.run.job_id not in waiting}
    return _Stored(acknowledged=done, changed=changed)


def _finish(by_job: ReportsByJob) -> tuple[set[str], set[str]]:
    """The jobs that moved, and those that have to wait."""
    try:
        turn = turns.take(by_job, _end_of(by_job))
    except (DataError, IntegrityError, *BOOKS_ARE_WRONG):
        return _finish_alone(by_job)
    return turn.changed, turn.held_up


def _end_of(by_job: ReportsByJob) -> turns.End:
    def end(job_ids: Collection[str], *, wait: bool) -> set[str]:
        chosen = [report for job_id in job_ids for report in by_job[job_id]]
        return lifecycle.finish_many(chosen, wait=wait)

    return end


def _finish_alone(by_job: ReportsByJob) -> tuple[set[str], set[str]]:
    """One of them cannot be stored: each by itself, so that the guilty stands out."""
    changed: set[str] = set()
    waiting: set[str] = set()
    for job_id, reports in by_job.items():
        try:
            turn = turns.take([job_id], _end_of({job_id: reports}))
        except (DataError, IntegrityError) as error:
            turn = _refuse_all(reports, str(error))
        except BOOKS_ARE_WRONG:
            # Our own books are wrong, which is not the worker's fault: let it repeat.
            logger.exception("job %s cannot be settled", job_id)
            waiting.add(job_id)
            continue
        changed |= turn.changed
        waiting |= turn.held_up
    return changed, waiting


def _refuse_all(reports: Iterable[Report], reason: str) -> turns.Turn:
    taken = [_refuse(report, reason) for report in reports]
    return turns.Turn(
        changed=set().union(*(turn.changed for turn in taken)),
        held_up=set().union(*(turn.held_up for turn in taken)),
    )


def _refuse(report: Report, reason: str) -> turns.Turn:
    def end(job_ids: Collection[str], *, wait: bool) -> set[str]:
        return lifecycle.refuse(report, reason, wait=wait)

    logger.error("report of job %s refused: %s", report.run.job_id, reason)
    return turns.take([report.run.job_id], end)


# The statements

_WELCOME = """
INSERT INTO jobs_worker AS worker (
    name, incarnation, call, queue, slots, free_slots, specs_digest,
    started_at, seen_at
)
VALUES (
    %(name)s::text, nextval('jobs_incarnation'), 0, %(queue)s::text,
    %(slots)s::smallint, %(free_slots)s::smallint, '',
    clock_timestamp(), clock_timestamp()
)
ON CONFLICT (name) DO UPDATE
SET incarnation = excluded.incarnation, call = 0, queue = excluded.queue,
    slots = excluded.slots, free_slots = excluded.free_slots,
    states = '[]', unload = '[]',
    started_at = excluded.started_at, seen_at = excluded.seen_at
WHERE worker.incarnation < excluded.incarnation
RETURNING incarnation, specs_digest"""

_INCARNATION = "SELECT incarnation FROM jobs_worker WHERE name = %(name)s::text"

# The worker's row is written with every call: it is the guard against late ones.
_CALLED = """
UPDATE jobs_worker
SET call = %(number)s::bigint, queue = %(queue)s::text, slots = %(slots)s::smallint,
    free_slots = %(free_slots)s::smallint, seen_at = clock_timestamp(),
    states = coalesce(%(states)s::jsonb, states),
    unload = unload - %(unloaded)s::text[]
WHERE name = %(name)s::text AND incarnation = %(incarnation)s::bigint
    AND call < %(number)s::bigint
RETURNING specs_digest, (
    SELECT array_agg(wish) FROM jsonb_array_elements_text(unload) AS wish
)"""

_UNHURRIED = "SET LOCAL synchronous_commit = off"

_KNOWS_SPECS = """
UPDATE jobs_worker SET specs_digest = %(specs_digest)s
WHERE name = %(name)s AND incarnation = %(incarnation)s"""
