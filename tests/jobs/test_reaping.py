"""The reaper: when it may act, and that it finds what is due without a scan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from uuid import UUID
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from django.conf import settings as django_settings
from django.db import DatabaseError, connection
from pytest_django.fixtures import Settings

from jobs import reaping
from jobs.models import Job
from jobs.reaping import Reaper, Watch
from nijika.wsgi import application
from tests.jobs.working import TestWorker, lease_ends, status, submit, user_with

pytestmark = pytest.mark.django_db(transaction=True)


class Clock:
    """A process's own clock, which stands still between the ticks of a test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def tick(self, act: Callable[[], object], seconds: float) -> None:
        """Call `act` once a second for so long."""
        for _ in range(int(seconds)):
            self.now += 1
            act()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def link(settings: Settings) -> Iterator[None]:
    """The application behind a plain WSGI server."""
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        settings.LINK_URL = f"http://127.0.0.1:{server.server_port}/internal/link"
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield
        server.shutdown()
        serving.join()


class Quiet(WSGIRequestHandler):
    def handle(self) -> None:
        super().handle()
        connection.close()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def lost() -> UUID:
    [job] = submit(user_with("1"))
    TestWorker().hello().start(job)
    lease_ends(job)
    return job


def test_reaper_that_just_began_takes_no_run(
    link: None, lost: UUID, clock: Clock
) -> None:
    reaper = Reaper(Watch(clock))
    clock.tick(reaper.turn, django_settings.LEASE_S)
    assert status(lost) == "running"
    clock.tick(reaper.turn, 1)
    assert status(lost) == "queued"


def test_reaper_while_the_link_is_down_takes_no_run(
    lost: UUID, clock: Clock, settings: Settings
) -> None:
    settings.LINK_URL = "http://127.0.0.1:9/internal/link"
    clock.tick(Reaper(Watch(clock)).turn, 3 * settings.LEASE_S)
    assert status(lost) == "running"


def test_reaper_whose_token_is_refused_takes_no_run(
    link: None, lost: UUID, clock: Clock, settings: Settings
) -> None:
    """It asks as a worker would: if workers are refused, so is it."""
    settings.LINK_URL = settings.LINK_URL.replace("internal/link", "health/ready/no")
    clock.tick(Reaper(Watch(clock)).turn, 3 * settings.LEASE_S)
    assert status(lost) == "running"


def test_reaper_after_a_database_outage_waits_a_lease(
    link: None, lost: UUID, clock: Clock
) -> None:
    reaper = Reaper(Watch(clock))
    clock.tick(reaper.turn, django_settings.LEASE_S - 1)
    cut_connection()
    with pytest.raises(DatabaseError):
        clock.tick(reaper.turn, 1)
    connection.close()
    clock.tick(reaper.turn, django_settings.LEASE_S)
    assert status(lost) == "running"
    clock.tick(reaper.turn, 1)
    assert status(lost) == "queued"


def cut_connection() -> None:
    """What a restart of PostgreSQL does to a connection."""
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_reaper_expires_without_waiting(clock: Clock, settings: Settings) -> None:
    settings.LINK_URL = "http://127.0.0.1:9/internal/link"
    settings.START_BY_S = 0.0
    [job] = submit(user_with("1"))
    assert Reaper(Watch(clock)).turn() == {str(job)}
    assert Job.objects.get(pk=job).error["code"] == "expired"


def test_watch_that_was_stopped_begins_anew(clock: Clock) -> None:
    """A process that was frozen has not seen what happened meanwhile."""
    watch = Watch(clock)
    clock.tick(lambda: watch.look(answers=True), django_settings.LEASE_S + 1)
    assert watch.is_whole()
    clock.now += 60
    watch.look(answers=True)
    assert not watch.is_whole()


def test_reaper_takes_more_than_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reaping, "BATCH", 2)
    jobs = submit(user_with("1"), 5)
    worker = TestWorker().hello()
    for job in jobs:
        worker.start(job)
    lease_ends(*jobs)
    assert reaping.reap() == set(map(str, jobs))
