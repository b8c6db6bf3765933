"""Which calls count: a worker's incarnation, the order of its calls, its specs."""

from __future__ import annotations

import dataclasses

import pytest

from accounts.models import User
from gpu_worker.contract import EngineSpec, specs_digest
from jobs import lifecycle, link
from jobs.models import Engine, Job, Worker
from tests.jobs.working import (
    TestWorker,
    check_books,
    run_of,
    status,
    submit,
    success,
    user_with,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return user_with("1")


@pytest.fixture
def worker() -> TestWorker:
    return TestWorker().hello()


def test_hello_gives_a_greater_incarnation_each_time() -> None:
    first = TestWorker().hello().incarnation
    assert 0 < first < TestWorker().hello().incarnation
    assert Worker.objects.count() == 1


def test_call_describes_the_worker(worker: TestWorker) -> None:
    worker.say(slots=3, free_slots=2, queue="t4")
    row = Worker.objects.get()
    assert (row.name, row.queue, row.slots, row.free_slots) == ("cpu-1", "t4", 3, 2)


def test_call_not_above_the_last_is_stale(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    call = worker.call(claims=(run_of(job),), number=5)
    worker.say(number=5)
    for number in (5, 4, 0):
        answer = link.handle(dataclasses.replace(call, number=number))
        assert (answer.status, answer.grants) == ("stale", ())
        assert answer.incarnation == worker.incarnation
    assert status(job) == "queued"


def test_late_call_that_only_reports_ends_nothing(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    late = worker.call(reports=(success(run),))
    worker.say()
    answer = link.handle(late)
    assert (answer.status, answer.acknowledged) == ("stale", ())
    assert status(job) == "running"


def test_delayed_claim_after_its_hand_back_is_granted_to_nobody(
    user: User, worker: TestWorker
) -> None:
    """The claim's call was given up, the worker left, then the network delivers it."""
    [job] = submit(user)
    run = run_of(job)
    delayed = worker.call(claims=(run,))
    worker.say(hand_backs=(run,))
    assert link.handle(delayed).status == "stale"
    assert status(job) == "queued"


def test_call_of_an_unknown_worker_is_stale() -> None:
    answer = TestWorker("nobody", incarnation=7).say()
    assert (answer.status, answer.incarnation) == ("stale", 0)


def test_late_call_of_a_dead_incarnation_changes_nothing(user: User) -> None:
    job, other = submit(user, 2)
    dead = TestWorker().hello()
    run = dead.start(job)
    late = [
        dead.call(number=99, hand_backs=(run,), reports=(success(run),)),
        dead.call(number=100, claims=(run_of(other),)),
    ]
    living = TestWorker().hello()
    newer = living.start(job, 2)
    for call in late:
        answer = link.handle(call)
        assert (answer.status, answer.incarnation) == ("stale", living.incarnation)
    assert living.beat(newer) == {newer}
    assert status(other) == "queued"


def test_hello_takes_back_what_the_earlier_incarnation_ran(user: User) -> None:
    mine, foreign = submit(user, 2)
    dead, stranger = TestWorker().hello(), TestWorker("cpu-2").hello()
    dead.start(mine)
    run = stranger.start(foreign)
    TestWorker().hello()
    row = Job.objects.get(pk=mine)
    assert (row.status, row.failures, row.losses) == ("queued", 1, 1)
    assert row.alone
    assert stranger.beat(run) == {run}


def test_hello_ends_what_is_lost_for_the_last_time(user: User) -> None:
    [job] = submit(user)
    for attempt in (1, 2, 3):
        TestWorker().hello().start(job, attempt)
    TestWorker().hello()
    assert Job.objects.get(pk=job).error["code"] == "worker_lost"
    check_books()


def test_hello_that_was_overtaken_is_stale(worker: TestWorker) -> None:
    later = worker.incarnation + 100
    Worker.objects.update(incarnation=later)
    answer = link.handle(worker.call(incarnation=0))
    assert (answer.status, answer.incarnation) == ("stale", later)


def test_words_beside_a_hello_do_nothing(user: User) -> None:
    [job] = submit(user)
    worker = TestWorker()
    answer = link.handle(worker.call(incarnation=0, claims=(run_of(job),)))
    assert (answer.status, answer.grants) == ("ok", ())
    assert status(job) == "queued"


# Specs

SPEC = EngineSpec(
    operation="resize",
    engine="imaging",
    queue="cpu",
    parameters={"type": "object"},
    results=3,
)


def test_specs_are_asked_for_once_and_kept(worker: TestWorker) -> None:
    digest = specs_digest((SPEC,))
    assert worker.say(specs_digest=digest).send_specs
    assert not worker.say(specs_digest=digest, specs=(SPEC,)).send_specs
    assert not worker.say(specs_digest=digest).send_specs
    assert Engine.objects.get(operation="resize", name="imaging").spec["results"] == 3
    again = worker.hello()
    assert not again.say(specs_digest=digest).send_specs


def test_specs_that_cannot_be_kept_do_not_hold_up_reports(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    bad = dataclasses.replace(SPEC, title="\x00")
    answer = worker.say(specs=(bad,), specs_digest="bad", reports=(success(run),))
    assert answer.acknowledged == (run,)
    assert not worker.say(specs_digest="bad").send_specs


def test_grant_has_as_many_outputs_as_the_engine_results(
    user: User, worker: TestWorker
) -> None:
    worker.say(specs_digest="x", specs=(SPEC,))
    [job] = submit(user)
    run = run_of(job)
    [grant] = worker.say(claims=(run,)).grants
    keys = [output.key for output in grant.outputs]
    assert keys == [f"{lifecycle.prefix(run)}{index}" for index in range(3)]
