"""A message's way through the worker: claim, read, run, store, report.

- All assignments of a message are claimed in one call; reading the inputs begins
  meanwhile; an engine starts only after the grant.
- Jobs of a message whose engine takes one at a time do not wait for each other: each
  runs as soon as it is read and a lane is free.
- The end of a run is given to the link and not waited for.
- A run that was claimed ahead and does not get its turn within a third of its limit is
  handed back: its clock has been running since the grant.
- Whatever goes wrong for one job is that job's outcome; its neighbours in the message
  and in the batch go on.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from gpu_worker import registry, sealing
from gpu_worker.batching import Batcher, Errand, Muster
from gpu_worker.contract import (
    SANDBOX,
    Assignment,
    ContractError,
    EngineSpec,
    Grant,
    Message,
    Progress,
    Report,
    ResultFile,
    Run,
    from_json,
    to_json,
)
from gpu_worker.errors import (
    DeviceLost,
    EngineFailed,
    EngineUnavailable,
    LimitExceeded,
    Stopped,
    WorkerError,
)
from gpu_worker.files import Files
from gpu_worker.gate import Gate, Passage
from gpu_worker.lanes import error_of, make_item
from gpu_worker.link import Claim, Link, LinkClosed
from gpu_worker.pace import Pace
from gpu_worker.spare import Spare
from gpu_worker.stages import Stages, size_mp
from gpu_worker.standing import Standing

logger = logging.getLogger("gpu_worker.runner")

LEAST_PATIENCE_S = 0.25
MOST_THREADS = 10_000
"""More than there are ever jobs at once: a thread is made when none is idle."""
LAST_STEP_S = 3.0
"""What a run on a device gets beyond its limit to notice by itself that it is over."""


@dataclass(slots=True, eq=False, kw_only=True)
class Work:
    """One assignment that this worker has claimed."""

    assignment: Assignment
    run: Run
    deadline: float = float("inf")
    turn_by: float = float("inf")
    stopped: bool = False
    errand: Errand | None = None
    batcher: Batcher | None = None
    checkpoint: str | None = None
    sealed_key: str | None = None
    passage: Passage
    muster: Muster
    has_mustered: bool = False
    stages: Stages = field(default_factory=Stages)
    _has_left: bool = False

    def leave(self) -> None:
        """Make room for another: the engine is done with this one. Once."""
        if not self._has_left:
            self._has_left = True
            self.passage.job_done()

    @property
    def key(self) -> registry.Key:
        return self.assignment.operation, self.assignment.engine


class HandedBack(Exception):
    """The run goes back to the platform: its turn did not come in time."""


class Runner:
    """Runs messages; one `take` per thread at a time."""

    def __init__(
        self,
        *,
        link: Link,
        gate: Gate,
        pace: Pace,
        files: Files,
        child_batcher: Batcher,
        device_batchers: dict[registry.Key, Batcher],
        standing: Standing,
        spare: Spare | None = None,
    ) -> None:
        self._spare, self._standing = spare, standing
        self._link, self._gate, self._pace, self._files = link, gate, pace, files
        self._child_batcher, self._device_batchers = child_batcher, device_batchers
        self._changed = threading.Condition()
        self._works: dict[Run, Work] = {}
        # One random part per process and a count: a claim is unique, and the
        # operating system is not asked for random bytes for each.
        self._helpers = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="job")
        self._token, self._claims = secrets.token_hex(8), count(1)

    def take(self, message: Message) -> None:
        """Run a message's jobs to their ends. Raises Draining: it was not taken up.

        The sandbox's are only begun: they run beside the slots.
        """
        assignments = message.assignments
        if self._spare and all(one.engine == SANDBOX for one in assignments):
            self._spare.do(partial(self._take, message, self._spare.gate))
        else:
            self._take(message, self._gate)

    def _take(self, message: Message, gate: Gate) -> None:
        alone = any(assignment.alone for assignment in message.assignments)
        ahead = all(self._pace.is_short(key_of(one)) for one in message.assignments)
        gate.enter(alone=alone, ahead=ahead)
        count = len(message.assignments)
        passage, muster = Passage(gate, count), Muster(count)
        works = [
            Work(assignment=one, run=self._run_of(one), passage=passage, muster=muster)
            for one in message.assignments
        ]
        with self._changed:
            self._works |= {work.run: work for work in works}
        self._take_up(works)

    def wait_idle(self, timeout_s: float) -> bool:
        """Whether nothing is claimed or running any more, within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._works, timeout_s)

    def stop(self, runs: Sequence[Run]) -> None:
        """End the work on these runs: nobody waits for it, nothing is reported."""
        for run in runs:
            if work := self._works.get(run):
                self._stop(work)

    def hand_back_all(self) -> None:
        """Give everything back that has not ended; what runs is stopped."""
        with self._changed:
            works = list(self._works.values())
        self._link.hand_back(work.run for work in works if not work.stopped)
        for work in works:
            self._stop(work, handed_back=True)

    def fail_overdue(self) -> bool:
        """Report device runs past their limit as failed; whether there were any."""
        now = time.monotonic()
        with self._changed:
            late = [w for w in self._works.values() if self._is_overdue(w, now)]
        for work in late:
            work.stopped = True
            self._link.report(
                _failed(work.run, LimitExceeded("The run took longer than a job may."))
            )
        return bool(late)

    def fail_lost(self, job_ids: Sequence[str]) -> None:
        """Report the runs of these jobs as lost with the device, for another worker."""
        with self._changed:
            works = [w for w in self._works.values() if w.run.job_id in job_ids]
        for work in works:
            work.stopped = True
            self._link.report(_failed(work.run, DeviceLost()))

    def _is_overdue(self, work: Work, now: float) -> bool:
        # What waits for others has lanes that leave it behind by themselves.
        placement = registry.engine_class(work.key).placement
        return work.deadline + LAST_STEP_S < now and placement == "device"

    def _take_up(self, works: Sequence[Work]) -> None:
        try:
            claims = self._link.claim(work.run for work in works)
        except LinkClosed:
            for work in works:
                self._forget(work)
            return
        if len(works) == 1:
            self._finish(works[0], claims[0])
        else:
            # A thread for each, since those of one batch wait for each other.
            list(self._helpers.map(self._finish, works, claims))

    def _run_of(self, assignment: Assignment) -> Run:
        claim = f"{self._token}-{next(self._claims)}"
        return Run(job_id=assignment.job_id, attempt=assignment.attempt, claim=claim)

    def _finish(self, work: Work, claim: Claim) -> None:
        """Bring one claimed job to its end, whatever that is."""
        try:
            report = self._report(work, claim)
        except (LinkClosed, Stopped, CancelledError):
            self._link.forget(work.run)
            return
        except HandedBack:
            self._link.hand_back([work.run])
            return
        finally:
            self._files.clear(work.run)
            self._forget(work)
        if report is not None and not work.stopped:
            self._link.report(report)

    def _report(self, work: Work, claim: Claim) -> Report | None:
        """How the run ended; None if it was never ours."""
        inputs, unread = self._read(work)
        grant = claim.granted.result()
        if not grant.granted:
            return None
        try:
            if unread:
                raise unread
            return self._run(work, claim, grant, inputs)
        except Stopped:
            raise
        except WorkerError as error:
            return _failed(work.run, error)
        except HandedBack:
            raise
        except Exception:  # the edge of one job
            logger.exception("job %s failed in the worker", work.run.job_id)
            return _failed(work.run, EngineFailed())

    def _read(self, work: Work) -> tuple[list[dict[str, Any]], WorkerError | None]:
        """The inputs as files, or why not: only a granted run may report that."""
        try:
            with work.stages.timed("read_ms"):
                return self._files.read(work.run, work.assignment.inputs), None
        except WorkerError as error:
            return [], error

    def _run(
        self, work: Work, claim: Claim, grant: Grant, inputs: list[dict[str, Any]]
    ) -> Report:
        limit_s = work.assignment.run_limit_s
        began = claim.sent_at or time.monotonic()
        work.deadline, work.turn_by = began + limit_s, began + limit_s / 3
        work.checkpoint, work.sealed_key = grant.checkpoint, grant.sealed_key
        targets = self._files.targets(work.run, grant.outputs)
        item = _item(work, inputs) | {"targets": targets}
        outcome, engine_ms = self._outcome(work, item)
        if "failure" in outcome:
            raise error_of(outcome["failure"])
        results = _results(outcome["files"], grant)
        if not work.assignment.alone:
            work.leave()
        with work.stages.timed("store_ms"):
            self._files.store(targets, grant.outputs, results)
        return Report(
            run=work.run,
            results=results,
            engine_ms=engine_ms,
            stages=work.stages.taken(),
        )

    def _outcome(
        self, work: Work, item: dict[str, Any]
    ) -> tuple[dict[str, Any], int | None]:
        """What the engine made of the item, as a child tells it, and its time."""
        engine = registry.engine_class(work.key)
        if engine.placement == "child":
            company = _company(work, item, {})
            answer = self._send(work, self._lanes_of(work), "run", item, company)
            self._took(work, answer, has_failed="failure" in answer["outcome"])
            return answer["outcome"], answer["engine_ms"]
        return self._device_outcome(work, item)

    def _took(self, work: Work, answer: dict[str, Any], *, has_failed: bool) -> None:
        """Remember how long such a run takes here. One that failed was shorter than
        those that somebody waits for."""
        engine_ms = answer["engine_ms"]
        key = key_of(work.assignment)
        self._pace.took(key, engine_ms)
        if engine_ms is not None and work.assignment.engine != SANDBOX:
            work.stages.set("run_ms", engine_ms)
            if has_failed:
                return
            named = work.assignment.operation, work.assignment.engine
            self._standing.took(
                registry.measured_as(named),
                size_mp=size_mp(work.assignment),
                run_ms=engine_ms,
                together=answer.get("together", 1),
            )

    def _lanes_of(self, work: Work) -> Batcher:
        """Never a slot's for the sandbox: no live job waits for its runs."""
        if self._spare and work.assignment.engine == SANDBOX:
            return self._spare.batcher
        return self._child_batcher

    def _device_outcome(
        self, work: Work, item: dict[str, Any]
    ) -> tuple[dict[str, Any], int | None]:
        """Decode in a child, run on the device, encode in a child."""
        home = registry.home(work.key)
        if home not in self._device_batchers:
            raise EngineUnavailable
        children, device = self._child_batcher, self._device_batchers[home]
        folder = self._files.folder(work.run)
        wanted = {"folder": str(folder)}
        decoded = self._send(work, children, "decode", item, ALONE, wanted)
        arrays = self._files.load_arrays(decoded["arrays"], folder)
        company = _company(work, item, arrays)
        extra: dict[str, Any] = {"arrays": arrays, "own_key": _own_key(work)}
        answer = self._send(work, device, "run", item, company, extra)
        self._took(work, answer, has_failed="error" in answer)
        if "error" in answer:
            raise answer["error"]
        made = answer["made"]
        extra = {
            "arrays": self._files.save_arrays(made.arrays, folder),
            "details": made.details,
        }
        encoded = self._send(work, children, "encode", item, ALONE, extra)
        return encoded["outcome"], answer["engine_ms"]

    def _send(
        self,
        work: Work,
        batcher: Batcher,
        do: str,
        item: dict[str, Any],
        company: Company,
        extra: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Have an errand done, and wait for it. Raises WorkerError or HandedBack."""
        errand = Errand(
            do=do,
            key=work.key,
            item=item,
            deadline=work.deadline,
            heard=lambda said: self._heard(work, said),
            together=company.together,
            of_one=company.of_one,
            share=company.share,
            owner=work.assignment.owner,
            extra=extra or {},
        )
        work.errand, work.batcher = errand, batcher
        if do != "run":
            batcher.offer(errand)
        elif company.together > 1:
            work.has_mustered = True
            work.muster.offer(batcher, errand)
        else:
            self._drop_out(work)
            batcher.offer(errand)
        if work.stopped:  # `_stop` may have come before there was an errand
            batcher.stop(errand)
        try:
            patience_s = max(LEAST_PATIENCE_S, work.turn_by - time.monotonic())
            return errand.future.result(patience_s)
        except FutureTimeoutError:
            if batcher.withdraw(errand):
                raise HandedBack from None
            return errand.future.result()
        finally:
            work.stages.errand(do, errand)

    def _heard(self, work: Work, said: dict[str, Any]) -> Future[None] | None:
        """Progress and checkpoints of a run, as far as they make sense; the latter
        give a future."""
        try:
            if "progress" in said:
                _, step, total, text = said["progress"]
                values = {"step": step, "total": total, "message": str(text)[:200]}
                self._link.progress(work.run, from_json(Progress, values))
            elif "checkpoint" in said:
                return self._link.checkpoint(work.run, str(said["checkpoint"][1]))
        except (ContractError, ValueError, IndexError):
            logger.warning("job %s said something odd", work.run.job_id)
        return None

    def _stop(self, work: Work, *, handed_back: bool = False) -> None:
        work.stopped = True
        if work.errand is not None and work.batcher is not None:
            work.errand.handed_back = handed_back
            work.batcher.stop(work.errand)

    def _drop_out(self, work: Work) -> None:
        """Its run goes into no batch of its message's, or has."""
        if not work.has_mustered:
            work.has_mustered = True
            work.muster.drop_out()

    def _forget(self, work: Work) -> None:
        self._drop_out(work)
        work.leave()
        with self._changed:
            self._works.pop(work.run, None)
            self._changed.notify_all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """With how many, of one owner and of which kind, an errand may share its call."""

    together: int = 1
    of_one: int = 1
    share: Hashable = ()


ALONE = Company()


def _company(work: Work, item: dict[str, Any], arrays: dict[str, Any]) -> Company:
    engine: Any = registry.engine_class(work.key)
    spec: EngineSpec = engine.spec
    if work.sealed_key is not None:
        # Who pays a provider shares with nobody: no two keys ever meet in a call.
        return Company(share=("own key", work.run))
    if work.assignment.alone or spec.batch_size == 1:
        return ALONE
    of_one = spec.batch_per_user or -(-spec.batch_size // 2)
    if not hasattr(engine, "batch_key"):
        return Company(together=spec.batch_size, of_one=of_one)
    share = engine.batch_key(make_item(work.assignment.operation, item, arrays))
    if share is None:
        return ALONE
    return Company(together=spec.batch_size, of_one=of_one, share=(share,))


def _own_key(work: Work) -> str | None:
    """The key that the job's owner pays the provider with, for the engine alone."""
    if work.sealed_key is None:
        return None
    provider = registry.engine_class(work.key).spec.provider
    return sealing.open_for(work.sealed_key, job_id=work.run.job_id, provider=provider)


def key_of(assignment: Assignment) -> registry.Key:
    """Of the engine, for a member of a family that of the family."""
    return registry.home((assignment.operation, assignment.engine))


def _item(work: Work, inputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "job_id": work.run.job_id,
        "parameters": work.assignment.parameters,
        "steps": [to_json(step) for step in work.assignment.then],
        "inputs": inputs,
        "checkpoint": work.checkpoint,
    }


def _results(files: Sequence[dict[str, Any]], grant: Grant) -> tuple[ResultFile, ...]:
    """The results as the contract has them; a child is not believed to keep to it."""
    try:
        return tuple(
            from_json(ResultFile, file | {"index": index, "key": output.key})
            for index, (file, output) in enumerate(zip(files, grant.outputs))  # noqa: B905
        )
    except (ContractError, TypeError) as error:
        raise EngineFailed from error


def _failed(run: Run, error: WorkerError) -> Report:
    return Report(run=run, failure=error.failure())
