"""How many are before a waiting job, roughly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from accounts.models import User
from jobs.dispatch import Dispatcher
from jobs.following import positions
from jobs.following.positions import Positions
from jobs.models import Job
from tests.jobs.queueing import Broker, person, queued, worker

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def counting() -> Iterator[Positions]:
    counting = Positions()
    yield counting
    counting.close()


def waited(seconds: int = 5) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job SET created_at = created_at - make_interval(secs => %s)",
            [seconds],
        )


def numbers(user: User) -> list[int | None]:
    jobs = Job.objects.filter(user=user).order_by("id")
    return list(jobs.values_list("position", flat=True))


def test_positions_follow_the_order_of_dispatch(counting: Positions) -> None:
    many, few = person("many"), person("few")
    queued(many, 4)
    queued(few, 1)
    waited()
    assert counting.turn() == 5
    assert (numbers(many), numbers(few)) == ([1, 3, 4, 5], [2])


def test_positions_beyond_the_first_thousand_are_unknown(
    counting: Positions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(positions, "MOST", 3)
    owner = person("owner")
    queued(owner, 5)
    waited()
    counting.turn()
    assert numbers(owner) == [1, 2, 3, None, None]


def test_positions_are_written_only_when_they_changed_enough(
    counting: Positions,
) -> None:
    owner = person("owner", "5")
    queued(owner, 100)
    waited()
    assert (counting.turn(), counting.turn()) == (100, 0)
    worker(slots=1)
    Broker().clear()
    dispatcher = Dispatcher("cpu")
    assert dispatcher.turn() == 3
    dispatcher.close()
    assert counting.turn() < 40  # those far behind keep their number for a while
    assert numbers(owner)[3:6] == [1, 2, 3]


def test_positions_of_jobs_that_hardly_waited_are_not_written(
    counting: Positions,
) -> None:
    queued(person("owner"), 3)
    assert counting.turn() == 0


def test_positions_are_the_work_of_one_copy(counting: Positions) -> None:
    other = Positions()
    queued(person("owner"), 3)
    waited()
    assert (counting.turn(), other.turn()) == (3, 0)
    other.close()
