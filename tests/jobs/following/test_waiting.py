"""Waiting for jobs, with a real PostgreSQL and its NOTIFY."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from accounts.models import User
from jobs import lifecycle, news, submission
from jobs.errors import JobNotFound
from jobs.following import waiting
from jobs.following.waiting import Seen
from jobs.ids import new_id
from jobs.models import Job
from nijika.errors import Unavailable
from tests.jobs.test_news import end_listening_session, within
from tests.jobs.working import submit, user_with

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user() -> User:
    return user_with("50")


@pytest.fixture(autouse=True)
def room() -> Iterator[None]:
    yield
    waiting.close_room()


def anybody() -> None:
    """Lets in."""


def wait(job_id: UUID, user: User, timeout_s: float = 20) -> Future[Seen]:
    return waiting.wait(job_id, timeout_s, user_id=user.pk, test=False, admit=anybody)


def cancel(job_id: UUID, user: User) -> None:
    lifecycle.cancel(job_id, user_id=user.pk, test=False)


def quiet() -> None:
    """Once the room listens and has looked at whoever came in."""
    room = waiting.the_room()
    assert within(10, lambda: room._listener.is_up)
    time.sleep(0.1)


def test_end_of_a_job_ends_the_waiting_at_once(user: User) -> None:
    [job_id] = submit(user)
    seen = wait(job_id, user)
    quiet()
    assert not seen.done()
    began = time.monotonic()
    cancel(job_id, user)

    job = seen.result(10).job

    assert (job.pk, job.status) == (job_id, "cancelled")
    assert time.monotonic() - began < 1
    assert seen.result().available == 50


def test_what_is_seen_is_the_whole_row(user: User) -> None:
    [job_id] = submit(user, parameters={"width": 8}, metadata={"ours": [1, None]})
    cancel(job_id, user)

    job = wait(job_id, user).result(10).job

    kept = Job.objects.get(pk=job_id)
    for field in Job._meta.concrete_fields:
        assert getattr(job, field.attname) == getattr(kept, field.attname), field.name


def test_job_that_had_ended_before_ends_the_waiting_at_once(user: User) -> None:
    ended, other = submit(user, 2)
    cancel(ended, user)
    wait(other, user)
    quiet()
    began = time.monotonic()

    assert wait(ended, user).result(10).job.status == "cancelled"
    assert time.monotonic() - began < 1


def test_time_that_is_up_gives_the_job_as_it_is(user: User) -> None:
    [job_id] = submit(user)
    began = time.monotonic()

    seen = wait(job_id, user, timeout_s=0.3).result(10)

    assert (seen.job.status, str(seen.available)) == ("queued", "49.9900")
    assert 0.25 < time.monotonic() - began < 2


def test_times_that_are_up_do_not_end_longer_ones(user: User) -> None:
    [job_id] = submit(user)
    long, short = wait(job_id, user), wait(job_id, user, timeout_s=0.1)

    short.result(10)

    assert not long.done() and waiting.waiting_now() == 1


def test_job_of_somebody_else_is_not_found(user: User) -> None:
    [job_id] = submit(user)
    for seen in (
        wait(job_id, user_with("1")),
        wait(new_id(), user),
        waiting.wait(job_id, 20, user_id=user.pk, test=True, admit=anybody),
    ):
        with pytest.raises(JobNotFound):
            seen.result(10)


def test_who_leaves_leaves_nothing(user: User) -> None:
    [job_id] = submit(user)
    seen = [wait(job_id, user) for _ in range(20)]
    for one in seen:
        one.cancel()

    assert waiting.waiting_now() == 0
    assert not waiting.the_room()._waiters
    with pytest.raises(CancelledError):
        seen[0].result(1)


def test_five_hundred_waiters_cost_no_thread_and_a_handful_of_queries(
    user: User,
) -> None:
    jobs = submit(user, 20)
    [first] = [wait(jobs[0], user)]
    quiet()
    threads, sessions = threading.active_count(), sessions_now()
    with CountedQueries() as looks:
        seen = [first] + [wait(job_id, user) for job_id in jobs * 25]
        for job_id in jobs:
            cancel(job_id, user)
        ended = {one.result(20).job.status for one in seen}

    assert ended == {"cancelled"}
    assert threading.active_count() == threads
    assert sessions_now() == sessions
    assert looks.count < 60


class CountedQueries:
    """How often the room has asked the database."""

    def __enter__(self) -> "CountedQueries":
        self.count = 0
        self._look = waiting._look

        def counted(ids: Any) -> Any:
            self.count += 1
            return self._look(ids)

        waiting._look = counted
        return self

    def __exit__(self, *exception: object) -> None:
        waiting._look = self._look


def sessions_now() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        )
        return int(cursor.fetchone()[0])


def test_who_waits_for_an_end_is_not_looked_after_for_a_step(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, other = submit(user, 2)
    seen, follower = wait(job_id, user), Follower(other)
    waiting.the_room().enter(follower)
    quiet()
    glances: list[UUID] = []
    glance = waiting._glance

    def noted(ids: list[UUID]) -> dict[UUID, waiting.Glance]:
        glances.extend(ids)
        return glance(ids)

    monkeypatch.setattr(waiting, "_glance", noted)
    news.announce([job_id, other], to=[news.STEPS])

    assert within(5, lambda: glances)
    cancel(job_id, user)
    assert seen.result(5).job.status == "cancelled"
    assert set(glances) == {other}


def test_lost_news_are_made_up(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "LOOK_AFTER_ALL_S", 0.5)
    [job_id] = submit(user)
    seen = wait(job_id, user)
    quiet()
    monkeypatch.setattr(news, "_notify", lambda payloads: None)
    cancel(job_id, user)

    assert seen.result(10).job.status == "cancelled"


def test_news_lost_with_the_listener_are_made_up(user: User) -> None:
    [job_id] = submit(user)
    seen = wait(job_id, user)
    quiet()
    end_listening_session()
    cancel(job_id, user)
    began = time.monotonic()

    assert seen.result(10).job.status == "cancelled"
    assert time.monotonic() - began < 3


def test_deaf_room_looks_every_second(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news.Listener, "_listen", lambda self: time.sleep(0.1))
    [job_id] = submit(user)
    seen = wait(job_id, user)
    time.sleep(0.3)
    cancel(job_id, user)
    began = time.monotonic()

    assert seen.result(10).job.status == "cancelled"
    assert time.monotonic() - began < 2.5


def test_database_away_when_the_time_is_up_is_unavailable(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job_id] = submit(user)
    seen, longer = wait(job_id, user, timeout_s=0.3), wait(job_id, user)
    quiet()
    look = waiting._look

    def refused(ids: Any) -> Any:
        raise waiting.Error("the database is away")

    monkeypatch.setattr(waiting, "_look", refused)
    with pytest.raises(Unavailable):
        seen.result(10)
    monkeypatch.setattr(waiting, "_look", look)
    cancel(job_id, user)
    assert longer.result(10).job.status == "cancelled"


def test_submission_and_its_end_are_one_future(user: User) -> None:
    accepting: Future[submission.Accepted] = Future()
    waited = waiting.wait_after(accepting, 20, admit=anybody)
    [job_id] = submit(user)
    job = Job.objects.get(pk=job_id)
    accepting.set_result(submission.Accepted(job=job, available=user.wallet.available))
    cancel(job_id, user)

    assert waited.result(10).seen.job.status == "cancelled"
    assert waited.result().accepted.job is job


def test_refused_submission_is_raised() -> None:
    accepting: Future[submission.Accepted] = Future()
    waited = waiting.wait_after(accepting, 20, admit=anybody)
    accepting.set_exception(JobNotFound())
    with pytest.raises(JobNotFound):
        waited.result(10)


def test_who_leaves_before_the_submission_is_accepted_leaves_nothing(
    user: User,
) -> None:
    accepting: Future[submission.Accepted] = Future()
    waited = waiting.wait_after(accepting, 20, admit=anybody)
    waited.cancel()
    [job_id] = submit(user)
    job = Job.objects.get(pk=job_id)
    accepting.set_result(submission.Accepted(job=job, available=user.wallet.available))
    assert waiting.waiting_now() == 0


def test_closing_tells_who_waits(user: User) -> None:
    [job_id] = submit(user)
    seen = wait(job_id, user)
    waiting.close_room()
    with pytest.raises(Unavailable):
        seen.result(1)


class Follower:
    """Who follows a job and notes how often it is told."""

    follows = True

    def __init__(self, job_id: UUID) -> None:
        self.job_id = job_id
        self.until = time.monotonic() + 60
        self.told_of: list[str] = []

    def told(self, seen: Seen | None, now: float) -> None:
        assert seen is not None
        self.told_of.append(seen.job.status)

    def give_up(self) -> None:
        pass


def test_followers_are_told_only_of_what_changed_and_each_of_the_beginning(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOK_AFTER_ALL_S", 0.05)
    [job_id] = submit(user)
    first, second = Follower(job_id), Follower(job_id)
    waiting.the_room().enter(first)
    assert within(5, lambda: first.told_of == ["queued"])
    quiet()
    time.sleep(0.5)
    before = len(first.told_of)
    waiting.the_room().enter(second)
    assert within(5, lambda: second.told_of == ["queued"])
    assert before < 4  # and not once for each look

    cancel(job_id, user)

    assert within(5, lambda: "cancelled" in first.told_of)
    assert within(5, lambda: "cancelled" in second.told_of)
