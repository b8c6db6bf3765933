"""Test jobs get what live jobs leave, and no live job ever waits for one."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from accounts.models import User
from gpu_worker.contract import SPARE_RUNS
from jobs import lifecycle
from jobs.dispatch import Dispatcher
from jobs.models import Job
from tests.jobs.queueing import Broker, person, queued, start, worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def many(settings: Settings) -> None:
    settings.SANDBOX_UNFINISHED = 1000


@pytest.fixture
def owner() -> User:
    return person("owner")


def trials(user: User, count: int = 1, **changes: Any) -> list[Job]:
    return queued(user, count, test=True, engine="sandbox", **changes)


def end(*jobs: Job) -> None:
    for job in jobs:
        lifecycle.cancel(job.pk, user_id=job.user_id, test=job.test)


def test_lone_test_job_is_published_at_once(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker()
    [job] = trials(owner)
    assert dispatcher.turn() == 1
    assert broker.job_ids() == [job.pk]


def test_without_a_live_worker_a_test_job_waits(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker(silent_s=60)
    trials(owner)
    assert dispatcher.turn() == 0


def test_live_jobs_go_first_however_long_test_jobs_have_waited(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    waiting = trials(owner, 3)
    live = queued(owner, 1)
    worker(slots=2)
    dispatcher.turn()
    assert broker.job_ids() == [job.pk for job in (*live, *waiting)]


def test_test_jobs_wait_while_live_ones_fill_the_slots(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker(slots=2)
    live = queued(owner, 2)
    dispatcher.turn()
    for job in live:
        start(job)
    [waiting] = trials(owner)
    assert dispatcher.turn() == 0
    end(live[0])
    assert dispatcher.turn() == 1
    assert broker.job_ids()[-1] == waiting.pk


def test_test_jobs_leave_the_whole_window_to_live_jobs(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker(slots=1)
    running = trials(owner, SPARE_RUNS)
    dispatcher.turn()
    for job in running[: SPARE_RUNS // 2]:  # and the others lie in the broker
        start(job)
    live = queued(owner, 9)
    dispatcher.turn()
    assert broker.job_ids()[SPARE_RUNS:] == [job.pk for job in live[: 2 * 1 + 1]]


def test_few_test_jobs_are_out_at_once(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker(slots=4)
    worker("cpu-2", slots=4)
    jobs = trials(owner, SPARE_RUNS + 5)
    dispatcher.turn()
    assert dispatcher.turn() == 0
    assert len(broker.messages()) == SPARE_RUNS
    end(jobs[0])
    assert dispatcher.turn() == 1


def test_users_test_jobs_take_turns(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker()
    mine = trials(owner, SPARE_RUNS)
    theirs = trials(person("other"), 1)
    dispatcher.turn()
    assert broker.job_ids()[:3] == [mine[0].pk, theirs[0].pk, mine[1].pk]


def test_users_test_jobs_do_not_count_against_their_live_ones(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker(slots=4)
    trials(owner, 5)
    dispatcher.turn()
    mine, theirs = queued(owner, 1), queued(person("other"), 1)
    dispatcher.turn()
    assert broker.job_ids()[5:] == [mine[0].pk, theirs[0].pk]


def test_of_the_metadata_only_what_the_sandbox_is_to_do_travels(
    dispatcher: Dispatcher, broker: Broker, owner: User
) -> None:
    worker(slots=2)
    told = {"sandbox": "delay:3 fail:expired", "order": "secret"}
    [trial] = trials(owner, metadata=told)
    [live] = queued(owner, metadata=told)
    dispatcher.turn()
    first, second = (one for m in broker.messages() for one in m.assignments)
    assert (first.job_id, second.job_id) == (str(live.pk), str(trial.pk))
    assert first.parameters == {"format": "png"}
    asked = {"delay_s": 3, "fail": "expired"}
    assert second.parameters == {"format": "png", "sandbox": asked}
    assert "secret" not in repr(broker.messages())
