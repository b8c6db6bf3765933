"""NOTIFY and LISTEN on a real PostgreSQL."""

import threading
import time
from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction

from jobs import news

pytestmark = pytest.mark.django_db(transaction=True)


def within(seconds: float, condition: Callable[[], object]) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Heard:
    """What a listener was told."""

    def __init__(self) -> None:
        self.calls: list[list[UUID]] = []
        self.states: list[bool] = []
        self.listener = news.Listener(
            {news.CHANGES: lambda words: self.calls.append(news.ids(words))},
            self.states.append,
        )

    @property
    def ids(self) -> set[UUID]:
        return {one for call in self.calls for one in call}


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    heard.listener.start()
    assert within(10, lambda: heard.listener.is_up)
    yield heard
    heard.listener.stop()


def end_listening_session() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'nijika news' AND datname = current_database()"
        )


def test_announce_outside_a_transaction_is_heard_at_once(heard: Heard) -> None:
    job = uuid4()
    news.announce([job])
    assert within(10, lambda: heard.ids == {job})


def test_announce_inside_a_transaction_waits_for_the_commit(heard: Heard) -> None:
    job = uuid4()
    with transaction.atomic():
        news.announce([job])
        assert not within(0.1, lambda: heard.ids)
    assert within(10, lambda: heard.ids == {job})


def test_announce_in_a_transaction_undone_is_never_heard(heard: Heard) -> None:
    with transaction.atomic():
        news.announce([uuid4()])
        transaction.set_rollback(True)
    assert not within(0.1, lambda: heard.ids)


def test_announce_of_many_ids_is_split_and_heard_whole(heard: Heard) -> None:
    jobs = {uuid4() for _ in range(1001)}
    news.announce(jobs)
    assert within(10, lambda: heard.ids == jobs)


def test_announce_of_nothing_says_nothing(heard: Heard) -> None:
    news.announce([])
    assert not within(0.1, lambda: heard.calls)


def test_announce_soon_is_heard_without_being_waited_for(heard: Heard) -> None:
    jobs = {uuid4() for _ in range(3)}
    for job in jobs:
        news.announce_soon([job])
    assert within(10, lambda: heard.ids == jobs)


def test_announce_soon_that_stumbled_goes_on(
    heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, notify, stumbles = uuid4(), news._notify, ["over anything"]

    def stumble(found: list[news.News]) -> None:
        if stumbles:
            raise RuntimeError(stumbles.pop())
        notify(found)

    monkeypatch.setattr(news, "_notify", stumble)
    news.announce_soon([uuid4()])
    assert within(10, lambda: not stumbles)
    news.announce_soon([job])
    assert within(10, lambda: heard.ids == {job})


def test_announce_soon_inside_a_transaction_waits_for_the_commit(heard: Heard) -> None:
    job = uuid4()
    with transaction.atomic():
        news.announce_soon([job])
        assert not within(0.1, lambda: heard.ids)
    assert within(10, lambda: heard.ids == {job})


def test_news_for_control_alone_wake_nobody_who_waits_for_a_job(heard: Heard) -> None:
    news.announce([uuid4()], to=[news.WORK])
    assert not within(0.1, lambda: heard.calls)


def test_announce_without_a_database_does_not_raise() -> None:
    connection.close()
    known, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], "1"
    try:
        news.announce([uuid4()])
    finally:
        connection.settings_dict["PORT"] = known
        connection.close()


def test_listener_cut_off_says_so_and_listens_again(heard: Heard) -> None:
    end_listening_session()
    assert within(10, lambda: heard.states == [True, False, True])
    job = uuid4()
    news.announce([job])
    assert within(10, lambda: heard.ids == {job})


def test_listener_ignores_payloads_that_are_no_ids(heard: Heard) -> None:
    job = uuid4()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [news.CHANGES, f"rubbish,{job}"])
    assert within(10, lambda: heard.ids == {job})


def test_listener_whose_subscriber_raises_goes_on() -> None:
    ids: list[str] = []

    def stumble(found: list[str]) -> None:
        ids.extend(found)
        if len(ids) == 1:
            raise RuntimeError("a subscriber's bug")

    listener = news.Listener({news.CHANGES: stumble})
    listener.start()
    assert within(10, lambda: listener.is_up)
    news.announce([uuid4()])
    assert within(10, lambda: len(ids) == 1)
    assert within(10, lambda: listener.is_up)
    news.announce([uuid4()])
    assert within(10, lambda: len(ids) == 2)
    listener.stop()


def test_listener_stops_within_seconds(heard: Heard) -> None:
    began = time.monotonic()
    heard.listener.stop()
    assert time.monotonic() - began < 3
    assert "news" not in {thread.name for thread in threading.enumerate()}
