"""Random histories against the real lifecycle, link and reaper on PostgreSQL.

Jobs, two workers that crash, calls that get lost or come late, answers that get lost,
messages delivered again whenever, leases that run out, cancels, expiry. After each step
the books balance, what has ended stays as it ended, and no attempt was granted to two
runs; at the end of each history every job reaches an end once the faults stop.

NIJIKA_MODEL_EXAMPLES sets how many histories are tried (the default is a quick few).
"""

from __future__ import annotations

import os
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction
from django.utils.timezone import now
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gpu_worker.contract import Answer, Beat, Call, Checkpoint, Report, Run
from jobs import lifecycle, link, reaping
from jobs.errors import JobNotCancellable
from jobs.models import ENDS, Job
from tests.jobs.working import (
    TestWorker,
    check_books,
    failure,
    lease_ends,
    run_of,
    submit,
    success,
    user_with,
)

EXAMPLES = int(os.environ.get("NIJIKA_MODEL_EXAMPLES", "25"))
NAMES = ("cpu-1", "cpu-2")
ENDINGS = ("success", "failure", "retryable")
some = st.integers(min_value=0, max_value=10_000)


class Process:
    """A worker process as its side of the link works: it repeats what was not heard."""

    def __init__(self, name: str) -> None:
        self.voice = TestWorker(name)
        self.claims: list[Run] = []
        self.runs: list[Run] = []
        self.hand_backs: list[Run] = []
        self.reports: list[Report] = []

    def words(self) -> Call:
        if self.voice.incarnation == 0:
            return self.voice.call()
        return self.voice.call(
            claims=tuple(self.claims),
            beats=tuple(Beat(run=run) for run in self.runs),
            checkpoints=tuple(Checkpoint(run=run, text=run.claim) for run in self.runs),
            hand_backs=tuple(self.hand_backs),
            reports=tuple(self.reports),
        )

    def hear(self, call: Call, answer: Answer) -> None:
        if answer.status == "stale" or call.incarnation == 0:
            if answer.incarnation != self.voice.incarnation:
                self.runs, self.claims, self.hand_backs = [], [], []
                welcome = answer.status == "ok"
                self.voice.incarnation = answer.incarnation if welcome else 0
            return
        granted = [grant.run for grant in answer.grants if grant.granted]
        self.claims = [run for run in self.claims if run not in call.claims]
        self.runs = [run for run in self.runs if run not in answer.stop] + granted
        self.hand_backs = [run for run in self.hand_backs if run not in call.hand_backs]
        heard = answer.acknowledged
        self.reports = [one for one in self.reports if one.run not in heard]

    def end(self, run: Run, ending: str) -> None:
        self.runs.remove(run)
        report = success(run) if ending == "success" else failure(run)
        if ending == "retryable":
            report = failure(run, retryable=True)
        self.reports.append(report)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.start = transaction.savepoint()
        self.user = user_with("50")
        self.jobs: list[UUID] = []
        self.messages: list[tuple[UUID, int]] = []
        self.late: list[Call] = []
        self.processes = {name: Process(name) for name in NAMES}
        self.granted: dict[tuple[str, int], str] = {}
        self.ended: dict[UUID, Any] = {}
        self.attempts: dict[UUID, int] = {}

    def teardown(self) -> None:
        try:
            self.faults_stop()
        finally:
            transaction.savepoint_rollback(self.start)

    # What people and the platform do

    @rule(test=st.booleans())
    def submit(self, test: bool) -> None:
        if len(self.jobs) < 6:
            self.jobs += submit(self.user, test=test)

    @rule(which=some)
    def dispatch(self, which: int) -> None:
        waiting = Job.objects.filter(status="queued").order_by("id")
        if jobs := list(waiting.values_list("id", "attempt")):
            job, attempt = jobs[which % len(jobs)]
            self.messages.append((job, attempt + 1))

    @precondition(lambda self: self.jobs)
    @rule(which=some, test=st.booleans())
    def cancel(self, which: int, test: bool) -> None:
        job = Job.objects.get(pk=self.jobs[which % len(self.jobs)])
        try:
            lifecycle.cancel(job.pk, user_id=self.user.pk, test=job.test)
        except JobNotCancellable:
            assert job.status in {"succeeded", "failed"}

    @precondition(lambda self: self.jobs)
    @rule(which=some)
    def lease_ends(self, which: int) -> None:
        lease_ends(self.jobs[which % len(self.jobs)])

    @rule()
    def reap(self) -> None:
        reaping.reap()

    @precondition(lambda self: self.jobs)
    @rule(which=some)
    def grow_old(self, which: int) -> None:
        job = self.jobs[which % len(self.jobs)]
        if which % 5 == 0:
            Job.objects.filter(pk=job).update(give_up_at=now())
            reaping.expire()

    # What workers and the network do

    @precondition(lambda self: self.messages)
    @rule(name=st.sampled_from(NAMES), which=some)
    def deliver(self, name: str, which: int) -> None:
        """Any message, however old, any number of times."""
        job, attempt = self.messages[which % len(self.messages)]
        self.processes[name].claims.append(run_of(job, attempt))

    @rule(
        name=st.sampled_from(NAMES), fate=st.sampled_from(["ok", "ok", "answer lost"])
    )
    def talk(self, name: str, fate: str) -> None:
        call = self.processes[name].words()
        answer = self.handled(call)
        if fate == "ok":
            self.processes[name].hear(call, answer)

    @rule(name=st.sampled_from(NAMES))
    def call_is_late(self, name: str) -> None:
        self.late.append(self.processes[name].words())

    @precondition(lambda self: self.late)
    @rule(which=some)
    def late_call_arrives(self, which: int) -> None:
        self.handled(self.late.pop(which % len(self.late)))

    @rule(name=st.sampled_from(NAMES), which=some, ending=st.sampled_from(ENDINGS))
    def run_ends(self, name: str, which: int, ending: str) -> None:
        process = self.processes[name]
        if process.runs:
            process.end(process.runs[which % len(process.runs)], ending)

    @rule(name=st.sampled_from(NAMES), which=some)
    def hand_back(self, name: str, which: int) -> None:
        process = self.processes[name]
        if process.runs:
            run = process.runs.pop(which % len(process.runs))
            process.hand_backs.append(run)

    @rule(name=st.sampled_from(NAMES))
    def crash(self, name: str) -> None:
        self.processes[name] = Process(name)

    def handled(self, call: Call) -> Answer:
        answer = link.handle(call)
        for grant in answer.grants:
            if grant.granted:
                key = grant.run.job_id, grant.run.attempt
                first = self.granted.setdefault(key, grant.run.claim)
                assert first == grant.run.claim, "one attempt, two runs"
        return answer

    # What holds at all times

    @invariant()
    def books_balance(self) -> None:
        check_books()

    @invariant()
    def ends_stay(self) -> None:
        rows = Job.objects.filter(status__in=ENDS, pk__in=self.jobs)
        columns = ("status", "charged", "results", "error", "ended_at", "result_prefix")
        for job, *end in rows.values_list("id", *columns):
            assert self.ended.setdefault(job, end) == end
        assert len(rows) == len(self.ended)

    @invariant()
    def attempts_never_fall(self) -> None:
        rows = Job.objects.filter(pk__in=self.jobs).values_list("id", "attempt")
        for job, attempt in rows:
            assert attempt >= self.attempts.get(job, 0)
            self.attempts[job] = attempt

    @invariant()
    def running_jobs_belong_to_a_granted_run(self) -> None:
        running = Job.objects.filter(status="running", pk__in=self.jobs)
        for job, attempt, claim in running.values_list("id", "attempt", "claim"):
            # An answer that nobody saw is the only grant that we do not know.
            assert self.granted.get((str(job), attempt), claim) == claim

    def faults_stop(self) -> None:
        """From wherever we are, all jobs end when the world behaves."""
        for _ in range(6):
            self.processes = {name: Process(name) for name in NAMES}
            for process in self.processes.values():
                self.settle_down(process)
            waiting = Job.objects.filter(status="queued", pk__in=self.jobs)
            first = next(iter(self.processes.values()))
            first.claims += [run_of(job.pk, job.attempt + 1) for job in waiting]
            self.settle_down(first)
            for run in list(first.runs):
                first.end(run, "success")
            self.settle_down(first)
        unfinished = Job.objects.filter(pk__in=self.jobs).exclude(status__in=ENDS)
        assert not unfinished.exists()
        check_books()

    def settle_down(self, process: Process) -> None:
        for _ in range(2):
            call = process.words()
            process.hear(call, self.handled(call))


@pytest.mark.django_db
def test_random_histories_keep_every_promise() -> None:
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            derandomize=EXAMPLES == 25,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
