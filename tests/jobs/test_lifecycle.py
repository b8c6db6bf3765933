"""What each transition leaves and what it does not, and what a move brings with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from accounts.models import User
from billing import ledger
from gpu_worker.contract import Run
from jobs import lifecycle, reaping
from jobs.errors import JobNotCancellable, JobNotFound
from jobs.lifecycle import Fault
from jobs.models import Job, JobEvent, Worker
from tests.jobs.working import (
    TestWorker,
    check_books,
    failure,
    lease_ends,
    run_of,
    status,
    submit,
    success,
    user_with,
)

pytestmark = pytest.mark.django_db

STATUSES = ["queued", "running", "succeeded", "failed", "cancelled"]


@pytest.fixture
def user() -> User:
    return user_with("1")


@pytest.fixture
def worker() -> TestWorker:
    return TestWorker().hello()


def job_that_is(wanted: str, user: User, worker: TestWorker) -> tuple[UUID, Run]:
    """A job in this status, and its run (the one it would get, if it has none yet)."""
    [job] = submit(user)
    if wanted == "queued":
        return job, run_of(job)
    run = worker.start(job)
    if wanted == "succeeded":
        worker.report(success(run))
    if wanted == "failed":
        worker.report(failure(run))
    if wanted == "cancelled":
        lifecycle.cancel(job, user_id=user.pk, test=False)
    return job, run


def _overdue(job: UUID) -> None:
    Job.objects.filter(pk=job).update(give_up_at=now())


Act = Callable[[TestWorker, UUID, Run], object]
ACTS: dict[str, tuple[Act, dict[str, str]]] = {
    "claim": (lambda w, job, run: w.claim(run_of(job)), {"queued": "running"}),
    "succeed": (lambda w, job, run: w.report(success(run)), {"running": "succeeded"}),
    "fail": (lambda w, job, run: w.report(failure(run)), {"running": "failed"}),
    "retry": (
        lambda w, job, run: w.report(failure(run, retryable=True)),
        {"running": "queued"},
    ),
    "hand back": (lambda w, job, run: w.say(hand_backs=(run,)), {"running": "queued"}),
    "lose": (
        lambda w, job, run: (lease_ends(job), reaping.reap()),
        {"running": "queued"},
    ),
    "expire": (
        lambda w, job, run: (_overdue(job), reaping.expire()),
        {"queued": "failed", "running": "failed"},
    ),
    "refuse": (
        lambda w, job, run: w.report(success(run, key="inputs/x/0")),
        {"running": "failed"},
    ),
}


@pytest.mark.parametrize("before", STATUSES)
@pytest.mark.parametrize("name", ACTS)
def test_transition_leaves_only_its_statuses(
    name: str, before: str, user: User, worker: TestWorker
) -> None:
    act, leaves = ACTS[name]
    job, run = job_that_is(before, user, worker)
    events = JobEvent.objects.count()
    act(worker, job, run)
    assert status(job) == leaves.get(before, before)
    assert JobEvent.objects.count() == events + (before in leaves)
    check_books()


@pytest.mark.parametrize("before", STATUSES)
def test_cancel_leaves_only_unfinished(
    before: str, user: User, worker: TestWorker
) -> None:
    job, _ = job_that_is(before, user, worker)
    if before in {"succeeded", "failed"}:
        with pytest.raises(JobNotCancellable) as raised:
            lifecycle.cancel(job, user_id=user.pk, test=False)
        assert raised.value.status_now == before == status(job)
    else:
        lifecycle.cancel(job, user_id=user.pk, test=False)
        assert status(job) == "cancelled"
    check_books()


@pytest.mark.parametrize("before", STATUSES)
def test_unfetched_input_fails_only_waiting_job(
    before: str, user: User, worker: TestWorker
) -> None:
    job, _ = job_that_is(before, user, worker)
    Job.objects.filter(pk=job).update(waiting_fetches=1)
    fault = Fault(job_id=job, code="fetch_failed", message="No answer.")
    lifecycle.fail_waiting_many([fault], wait=True)
    assert status(job) == ("failed" if before == "queued" else before)
    check_books()


def test_unfetched_input_spares_job_that_waits_for_none(user: User) -> None:
    [job] = submit(user)
    fault = Fault(job_id=job, code="fetch_failed", message="No answer.")
    assert lifecycle.fail_waiting_many([fault], wait=True) == set()
    assert status(job) == "queued"


def test_cancel_by_a_stranger_finds_nothing(user: User) -> None:
    [job] = submit(user)
    with pytest.raises(JobNotFound):
        lifecycle.cancel(job, user_id=user_with("1").pk, test=False)
    with pytest.raises(JobNotFound):
        lifecycle.cancel(job, user_id=user.pk, test=True)
    assert status(job) == "queued"


def test_cancel_repeated_changes_nothing_more(user: User) -> None:
    [job] = submit(user)
    lifecycle.cancel(job, user_id=user.pk, test=False)
    ended_at = Job.objects.get(pk=job).ended_at
    lifecycle.cancel(job, user_id=user.pk, test=False)
    assert Job.objects.get(pk=job).ended_at == ended_at
    assert ledger.balance(user.pk) == (Decimal(1), Decimal(0))


def test_success_is_charged_the_rows_price(user: User, worker: TestWorker) -> None:
    [job] = submit(user, price=Decimal("0.25"))
    worker.report(success(worker.start(job), details={"price": "0"}))
    assert Job.objects.get(pk=job).charged == Decimal("0.25")
    assert ledger.balance(user.pk) == (Decimal("0.75"), Decimal(0))
    check_books()


def test_success_in_test_mode_is_not_charged(user: User, worker: TestWorker) -> None:
    [job] = submit(user, test=True)
    worker.report(success(worker.start(job)))
    assert (status(job), Job.objects.get(pk=job).charged) == ("succeeded", 0)
    assert ledger.balance(user.pk) == (Decimal(1), Decimal(0))


def test_end_sets_when_files_expire(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    worker.report(success(worker.start(job)))
    row = Job.objects.get(pk=job)
    assert row.ended_at and row.expires_at
    assert (row.expires_at - row.ended_at).total_seconds() == pytest.approx(
        86400, abs=1
    )


def test_requeue_makes_the_job_dispatchable_and_renews_its_time(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    Job.objects.filter(pk=job).update(
        start_by=now(), dispatched_at=now(), dispatches=3, message=job
    )
    worker.say(hand_backs=(run,))
    row = Job.objects.get(pk=job)
    assert (row.status, row.attempt, row.dispatches) == ("queued", 1, 0)
    assert row.dispatched_at is row.message is row.lease_until is row.started_at is None
    assert row.start_by > now()


# Too late: what was true when a loop looked is not when it acts


def test_reaper_that_comes_after_a_beat_spares_the_run(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    worker.start(job)
    assert lifecycle.lose_many([str(job)], wait=True) == set()
    assert status(job) == "running"


def test_expiry_that_comes_after_the_start_spares_the_run(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    worker.start(job)
    Job.objects.filter(pk=job).update(start_by=now())
    assert lifecycle.expire_many([str(job)], wait=True) == set()
    assert status(job) == "running"


def test_expiry_that_comes_after_the_end_changes_nothing(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    worker.report(success(worker.start(job)))
    _overdue(job)
    assert lifecycle.expire_many([str(job)], wait=True) == set()
    assert status(job) == "succeeded"


def test_second_end_is_refused_by_the_database(user: User, worker: TestWorker) -> None:
    """The wall behind the guards."""
    [job] = submit(user)
    worker.report(success(worker.start(job)))
    with pytest.raises(IntegrityError, match="job_ends_once"), transaction.atomic():
        JobEvent.objects.create(job_id=job, type="cancelled")


# Counting failures


def test_retry_waits_longer_each_time_then_fails(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    waits = []
    for attempt in (1, 2):
        run = worker.start(job, attempt)
        worker.report(failure(run, "storage_unavailable", retryable=True))
        row = Job.objects.get(pk=job)
        assert (row.status, row.failures, row.losses) == ("queued", attempt, 0)
        assert row.not_before
        waits.append((row.not_before - now()).total_seconds())
    assert waits == [pytest.approx(2, abs=0.5), pytest.approx(4, abs=0.5)]
    worker.report(failure(worker.start(job, 3), "storage_unavailable", retryable=True))
    row = Job.objects.get(pk=job)
    assert (row.status, row.error["code"]) == ("failed", "storage_unavailable")
    assert row.error["retryable"] is True
    check_books()


@pytest.mark.parametrize(
    ("asked_s", "waits_s"), [(90.0, 90), (10**9, 3600), (-5.0, 2), (float("nan"), 2)]
)
def test_retry_comes_not_before_the_provider_wants_it(
    user: User, worker: TestWorker, asked_s: float, waits_s: float
) -> None:
    [job] = submit(user)
    run = worker.start(job, 1)
    said = failure(run, "provider_rate_limited", retryable=True)
    assert said.failure
    worker.report(replace(said, failure=replace(said.failure, retry_after_s=asked_s)))
    row = Job.objects.get(pk=job)
    assert row.not_before
    left_s = (row.not_before - now()).total_seconds()
    assert left_s == pytest.approx(waits_s, abs=0.5)


def test_job_that_is_put_off_has_lost_no_try(user: User, worker: TestWorker) -> None:
    """It ends by its age; what it tries in between counts as ever."""
    [job] = submit(user)

    def fails(attempt: int, *, put_off: bool) -> Job:
        run = worker.start(job, attempt)
        said = failure(run, "provider_unavailable", retryable=True)
        assert said.failure
        worker.report(replace(said, failure=replace(said.failure, put_off=put_off)))
        return Job.objects.get(pk=job)

    for attempt in range(1, 6):
        row = fails(attempt, put_off=True)
        assert (row.status, row.failures) == ("queued", 0)
    for attempt in (6, 7):
        row = fails(attempt, put_off=False)
    assert (row.status, row.failures) == ("queued", 2)
    row = fails(8, put_off=True)
    assert (row.status, row.failures) == ("queued", 2)
    assert fails(9, put_off=False).status == "failed"
    check_books()


def lose(job: UUID) -> None:
    lease_ends(job)
    assert reaping.reap() == {str(job)}


def test_lost_three_times_fails_as_worker_lost(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    for attempt in (1, 2, 3):
        assert Job.objects.get(pk=job).alone is (attempt > 1)
        worker.start(job, attempt)
        lose(job)
    row = Job.objects.get(pk=job)
    assert (row.status, row.failures, row.losses) == ("failed", 3, 3)
    assert row.error["code"] == "worker_lost"
    check_books()


def test_third_failure_in_company_gets_one_run_alone(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    for attempt in (1, 2):
        worker.report(failure(worker.start(job, attempt), retryable=True))
    worker.start(job, 3)
    assert not Job.objects.get(pk=job).alone
    lose(job)
    assert (status(job), Job.objects.get(pk=job).alone) == ("queued", True)
    worker.start(job, 4)
    lose(job)
    assert Job.objects.get(pk=job).error["code"] == "worker_lost"


def test_neighbours_of_a_job_that_kills_its_worker_succeed(worker: TestWorker) -> None:
    """Eight share a batch and lose their worker; alone, the poison is lost again."""
    user = user_with("1")
    poison, *neighbours = submit(user, 8)
    worker.claim(*(run_of(job) for job in [poison, *neighbours]))
    lease_ends(poison, *neighbours)
    reaping.reap()
    assert set(Job.objects.values_list("alone", flat=True)) == {True}
    for job in neighbours:
        worker.report(success(worker.start(job, 2)))
    for attempt in (2, 3):
        worker.start(poison, attempt)
        lose(poison)
    assert {status(job) for job in neighbours} == {"succeeded"}
    assert Job.objects.get(pk=poison).error["code"] == "worker_lost"
    check_books()


def test_hand_back_is_free_ten_times(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    for attempt in range(1, 11):
        worker.say(hand_backs=(worker.start(job, attempt),))
        assert status(job) == "queued"
    row = Job.objects.get(pk=job)
    assert (row.hand_backs, row.failures, row.alone) == (10, 0, False)
    worker.say(hand_backs=(worker.start(job, 11),))
    assert Job.objects.get(pk=job).failures == 1


def test_hand_back_without_end_ends_after_a_run_alone(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    attempt = 0
    while status(job) == "queued":
        attempt += 1
        worker.say(hand_backs=(worker.start(job, attempt),))
        reaping.reap()
    assert Job.objects.get(pk=job).error["code"] == "worker_lost"
    assert attempt == 14  # 10 free, 2 failures, a third, and one run alone
    check_books()


# Limits


def run_is_over_its_limit(job: UUID) -> None:
    row = Job.objects.get(pk=job)
    assert row.started_at
    Job.objects.filter(pk=job).update(
        started_at=row.started_at - timedelta(seconds=row.run_limit_s + 5.1)
    )


def test_beat_past_the_run_limit_renews_nothing_and_stops(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    run_is_over_its_limit(job)
    before = Job.objects.get(pk=job).lease_until
    assert worker.beat(run) == set()
    assert Job.objects.get(pk=job).lease_until == before


def test_run_past_its_limit_with_a_living_worker_is_limit_exceeded(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    run_is_over_its_limit(job)
    worker.beat(run)
    lose(job)
    row = Job.objects.get(pk=job)
    assert (row.status, row.error["code"]) == ("failed", "limit_exceeded")
    assert row.failures == 0
    check_books()


def test_run_past_its_limit_whose_worker_began_anew_is_lost(user: User) -> None:
    """Its new incarnation calls, but that says nothing about the old one's run."""
    [job] = submit(user)
    TestWorker().hello().start(job)
    run_is_over_its_limit(job)
    TestWorker().hello().say()
    assert status(job) == "queued"


def test_short_run_whose_worker_died_is_not_limit_exceeded(user: User) -> None:
    """Its lease outlasts its limit, but nobody called after the limit."""
    [job] = submit(user, run_limit_s=1.0)
    TestWorker("cpu-1").hello().start(job)
    run_is_over_its_limit(job)
    Worker.objects.update(seen_at=now() - timedelta(seconds=7))
    lose(job)
    assert status(job) == "queued"


def test_job_that_never_started_expires(user: User) -> None:
    [job] = submit(user)
    Job.objects.filter(pk=job).update(start_by=now())
    assert reaping.expire() == {str(job)}
    row = Job.objects.get(pk=job)
    assert (row.status, row.error["code"]) == ("failed", "expired")
    assert ledger.balance(user.pk) == (Decimal(1), Decimal(0))


def test_start_by_does_not_end_a_running_job(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    worker.start(job)
    Job.objects.filter(pk=job).update(start_by=now())
    assert reaping.expire() == set()
    assert status(job) == "running"
