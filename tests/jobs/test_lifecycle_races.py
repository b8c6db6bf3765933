"""Callers that want the same job at once: threads against a real PostgreSQL."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction

from accounts.models import User
from billing.errors import WalletBusy
from gpu_worker.contract import Beat, Call, Run
from jobs import lifecycle, link, reaping
from jobs.errors import JobNotCancellable
from jobs.models import Job, JobEvent
from tests.jobs.submitting import locked, together, wallet_locked
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

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user() -> User:
    return user_with("50")


def cancelled(user: User, job: UUID) -> bool:
    try:
        lifecycle.cancel(job, user_id=user.pk, test=False)
    except JobNotCancellable:
        return False
    return True


def test_cancel_against_finish_a_thousand_times_has_one_end_each(user: User) -> None:
    """Two threads walk the same jobs in the same order, one cancels, one reports."""
    worker = TestWorker().hello()
    jobs = submit(user, 1000)
    runs = [run_of(job) for job in jobs]
    for start in range(0, 1000, 250):
        worker.claim(*runs[start : start + 250])
    pace = threading.Barrier(2)

    def in_step(act: Callable[[int], object], late: random.Random) -> None:
        for number in range(1000):
            pace.wait(30)
            time.sleep(late.random() / 2000)
            act(number)

    together(
        lambda: in_step(lambda n: worker.report(success(runs[n])), random.Random(1)),
        lambda: in_step(lambda n: cancelled(user, jobs[n]), random.Random(2)),
        timeout_s=120,
    )
    ends = list(Job.objects.values_list("status", flat=True))
    assert set(ends) == {"succeeded", "cancelled"}, "the race was none"
    check_books()


def test_claims_of_one_attempt_at_once_are_granted_once(user: User) -> None:
    workers = [TestWorker(f"cpu-{number}").hello() for number in range(6)]
    for job in submit(user, 10):
        granted = together(*(partial(one.claim, run_of(job)) for one in workers))
        assert sum(map(len, granted)) == 1
    assert JobEvent.objects.filter(type="started").count() == 10


def test_reapers_at_once_lose_a_run_once(user: User) -> None:
    worker = TestWorker().hello()
    jobs = submit(user, 20)
    worker.claim(*map(run_of, jobs))
    lease_ends(*jobs)
    found = together(reaping.reap, reaping.reap, reaping.reap)
    assert sum(map(len, found)) == 20
    assert set(Job.objects.values_list("failures", flat=True)) == {1}


def test_hand_back_behind_a_running_claim_takes_the_run_back(user: User) -> None:
    """The claim's answer is lost while it is still being handled: calls keep order."""
    worker = TestWorker().hello()
    [job] = submit(user)
    run = run_of(job)
    claim, hand_back = worker.call(claims=(run,)), worker.call(hand_backs=(run,))
    with transaction.atomic():
        link.handle(claim)
        waiting = threading.Thread(target=_handle_apart, args=[hand_back])
        waiting.start()
        time.sleep(0.2)
    waiting.join(10)
    row = Job.objects.get(pk=job)
    assert (row.status, row.attempt, row.hand_backs) == ("queued", 1, 1)


def _handle_apart(call: Call) -> None:
    try:
        link.handle(call)
    finally:
        connection.close()


# Locked wallets and jobs


def test_locked_wallet_holds_up_its_owner_only(user: User) -> None:
    """Neighbours' leases are renewed and their reports stored; its own comes again."""
    poor = user_with("1")
    worker = TestWorker().hello()
    [stuck] = submit(poor)
    going, ending = submit(user, 2)
    runs = [worker.start(job) for job in (stuck, going, ending)]
    with wallet_locked(poor):
        started = time.monotonic()
        answer = worker.say(
            beats=(Beat(run=runs[1]),), reports=(success(runs[0]), success(runs[2]))
        )
        assert time.monotonic() - started < 1.8
    assert set(answer.acknowledged) == {runs[2]}
    assert (status(stuck), status(ending)) == ("running", "succeeded")
    assert worker.report(success(runs[0])) == {runs[0]}
    check_books()


def test_locked_wallet_does_not_keep_leases_waiting(user: User) -> None:
    """The leases are committed before any report waits."""
    worker = TestWorker().hello()
    stuck, going = submit(user, 2)
    runs = [worker.start(job) for job in (stuck, going)]
    before = Job.objects.get(pk=going).lease_until
    call = worker.call(beats=(Beat(run=runs[1]),), reports=(success(runs[0]),))
    with wallet_locked(user):
        calling = threading.Thread(target=_handle_apart, args=[call])
        calling.start()
        time.sleep(0.5)
        renewed = Job.objects.get(pk=going).lease_until
        assert calling.is_alive(), "nothing waited"
        assert renewed and before and renewed > before
    calling.join(10)


def test_wallet_locked_for_a_moment_only_delays(user: User) -> None:
    worker = TestWorker().hello()
    [job] = submit(user)
    run = worker.start(job)
    with wallet_locked(user) as release:
        timer = threading.Timer(0.3, release)
        timer.start()
        assert worker.report(success(run)) == {run}
        timer.join()
    assert status(job) == "succeeded"


def test_cancel_of_a_locked_wallet_lets_the_job_go(user: User) -> None:
    """Refused as busy within its patience, and nothing has changed."""
    [job] = submit(user)
    with wallet_locked(user), pytest.raises(WalletBusy):
        lifecycle.cancel(job, user_id=user.pk, test=False)
    assert status(job) == "queued"
    check_books()


def test_database_lost_while_a_report_waits_keeps_the_grants(user: User) -> None:
    """The claim is committed by then, so its worker has to hear of it."""
    worker = TestWorker().hello()
    ending, new = submit(user, 2)
    run, claim = worker.start(ending), run_of(new)
    with wallet_locked(user):
        cutting = threading.Timer(0.4, cut_who_waits)
        cutting.start()
        answer = worker.say(claims=(claim,), reports=(success(run),))
        cutting.join()
    connection.close()
    assert [grant.granted for grant in answer.grants] == [True]
    assert answer.acknowledged == ()
    assert worker.report(success(run)) == {run}
    check_books()


def cut_who_waits() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    connection.close()


def job_locked(job: UUID) -> AbstractContextManager[Callable[[], None]]:
    return locked("SELECT FROM jobs_job WHERE id = %s FOR UPDATE", [job])


def test_locked_job_keeps_no_neighbour_from_anything(user: User) -> None:
    worker = TestWorker().hello()
    stuck, new, going, ending = submit(user, 4)
    runs = [worker.start(job) for job in (stuck, going, ending)]
    before = Job.objects.get(pk=going).lease_until
    with job_locked(stuck):
        answer = worker.say(
            claims=(run_of(new),),
            beats=tuple(Beat(run=run) for run in runs[:2]),
            reports=(success(runs[0]), success(runs[2])),
        )
    assert [grant.granted for grant in answer.grants] == [True]
    assert answer.stop == ()
    assert answer.acknowledged == (runs[2],)
    renewed = Job.objects.get(pk=going).lease_until
    assert renewed and before and renewed > before
    assert status(ending) == "succeeded"


def test_reaper_passes_over_locked_jobs_and_wallets(user: User) -> None:
    poor = user_with("1")
    worker = TestWorker().hello()
    [stuck, lost] = submit(user, 2)
    [last] = submit(poor)
    for attempt in (1, 2):
        worker.start(last, attempt)
        lease_ends(last)
        reaping.reap()
    worker.claim(run_of(stuck), run_of(lost), run_of(last, 3))
    lease_ends(stuck, lost, last)
    with job_locked(stuck), wallet_locked(poor):
        assert reaping.reap() == {str(lost)}
    assert reaping.reap() == {str(stuck), str(last)}
    check_books()


# The order of locks


def test_words_about_jobs_lock_them_in_order(user: User) -> None:
    """Claims come before beats, but the lowest job comes first."""
    worker = TestWorker().hello()
    lowest, *others = submit(user, 7)
    run = worker.start(lowest)
    call = worker.call(claims=tuple(map(run_of, others)), beats=(Beat(run=run),))
    check_waits_for_the_lowest(lowest, call)
    assert {status(job) for job in others} == {"running"}


def test_reports_about_jobs_lock_them_in_order(user: User) -> None:
    """Successes come before failures, but the lowest job comes first."""
    worker = TestWorker().hello()
    lowest, *others = submit(user, 7)
    runs = [worker.start(job) for job in others]
    lost = worker.start(lowest)
    call = worker.call(reports=(*map(success, runs), failure(lost)))
    check_waits_for_the_lowest(lowest, call)
    assert {status(job) for job in others} == {"succeeded"}


def check_waits_for_the_lowest(lowest: UUID, call: Call) -> None:
    """The call holds no other job while it waits for the first, so we can have them."""
    with transaction.atomic():
        Job.objects.select_for_update(no_key=True).get(pk=lowest)
        calling = threading.Thread(target=_handle_apart, args=[call])
        calling.start()
        time.sleep(0.4)
        rest = Job.objects.select_for_update(no_key=True, nowait=True).order_by("id")
        assert len(rest) == 7
    calling.join(10)


# Under load


def test_link_cancel_and_reaper_under_load_do_not_deadlock(user: User) -> None:
    """Shared jobs and wallets, in every order; every call is answered."""
    others = [user_with("1") for _ in range(3)]
    jobs = [job for one in (user, *others) for job in submit(one, 60)]
    owners = dict(Job.objects.values_list("id", "user_id"))
    deadlocks: list[BaseException] = []
    until = time.monotonic() + 3

    def repeatedly(act: Callable[[random.Random], object], seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until:
            try:
                act(chance)
            except JobNotCancellable:
                pass
            except OperationalError as error:
                deadlocks.append(error)

    def work(worker: TestWorker, runs: list[Run]) -> Callable[[random.Random], object]:
        def act(chance: random.Random) -> None:
            claims = [
                run_of(UUID(str(job)), chance.choice([1, 2, 3]))
                for job in chance.sample(jobs, 12)
            ]
            runs.extend(worker.claim(*claims))
            mine = chance.sample(runs, min(12, len(runs)))
            worker.say(
                beats=tuple(Beat(run=run) for run in mine),
                hand_backs=tuple(mine[:2]),
                reports=(
                    *(success(run) for run in mine[2:4]),
                    *(failure(run, retryable=True) for run in mine[4:6]),
                ),
            )

        return act

    def reap(chance: random.Random) -> None:
        lease_ends(*chance.sample(jobs, 12))
        reaping.reap()

    def cancel(chance: random.Random) -> None:
        job = chance.choice(jobs)
        lifecycle.cancel(job, user_id=owners[job], test=False)

    acts = [work(TestWorker(f"cpu-{number}").hello(), []) for number in range(3)]
    acts += [reap, reap, cancel]
    together(
        *(partial(repeatedly, act, seed) for seed, act in enumerate(acts)), timeout_s=60
    )
    assert deadlocks == []
    check_books()
