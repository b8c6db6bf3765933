"""Control as the real processes that it is: side by side, killed, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection

from accounts.models import User
from jobs import control, dispatch
from jobs.control import Control, Loop
from jobs.models import Job
from jobs.upkeep import control_signs
from tests.jobs.queueing import Broker, person, queued, within, worker

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).parents[2]
Starter = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def starting(tmp_path: Path) -> Iterator[Starter]:
    processes: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, **changes: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"{len(processes)}.log").open("wb")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "control", *arguments],
            cwd=ROOT,
            env=environment() | changes,
            stderr=log,
        )
        log.close()
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()
    for log in tmp_path.glob("*.log"):
        sys.stderr.write(log.read_text())


def environment() -> dict[str, str]:
    known = connection.settings_dict
    address = f"{known['HOST']}:{known['PORT']}/{known['NAME']}"
    url = f"postgres://{known['USER']}:{known['PASSWORD']}@{address}"
    return os.environ | {
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "nijika.settings",
        "NIJIKA_REPUBLISH_AFTER": "30s",
    }


def published(broker: Broker, job: Job) -> bool:
    return job.pk in broker.job_ids()


@pytest.fixture
def owner() -> User:
    worker(slots=20)
    return person("owner")


def sessions() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'nijika dispatch cpu'"
        )
        return int(cursor.fetchone()[0])


def keep_worker_alive() -> None:
    worker(slots=20)


def test_control_dispatches_at_once_and_ends_within_seconds(
    starting: Starter, broker: Broker, owner: User
) -> None:
    process = starting(NIJIKA_POLL="60s")  # so only news can wake it
    assert within(30, lambda: dispatch.active(["cpu"]))
    keep_worker_alive()
    [job] = queued(owner)
    assert within(10, lambda: published(broker, job))
    assert within(20, lambda: {"dispatch", "reaping"} <= control_signs.living())
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert time.monotonic() - began < 8


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_two_controls_one_killed_the_other_goes_on(
    starting: Starter, broker: Broker, owner: User, how: signal.Signals
) -> None:
    one = starting("--only", "dispatch")
    assert within(30, lambda: dispatch.active(["cpu"]))
    starting("--only", "dispatch")
    assert within(30, lambda: sessions() == 2)
    jobs = queued(owner, 5)
    one.send_signal(how)
    one.wait(20)
    jobs += queued(owner, 5)
    keep_worker_alive()
    assert within(30, lambda: (keep_worker_alive(), published(broker, jobs[-1]))[1])
    assert sorted(broker.job_ids()) == sorted(job.pk for job in jobs)


def test_control_with_an_unknown_loop_says_so(starting: Starter) -> None:
    process = starting("--only", "nonsense")
    assert process.wait(20) == 1


# Loops in this process


class Fickle:
    """Work that raises at first."""

    def __init__(self) -> None:
        self.turns = 0
        self.closed = False

    def turn(self) -> None:
        self.turns += 1
        if self.turns < 3:
            raise RuntimeError("a bug")

    def pause_s(self, longest: float) -> float:
        return longest

    def close(self) -> None:
        self.closed = True


def test_loop_that_raises_goes_on_and_closes_at_the_end() -> None:
    work = Fickle()
    running = Control([Loop(name="fickle", begin=lambda: work, every_s=0.01)])
    running.start()
    assert within(20, lambda: work.turns > 5)
    assert running.stop()
    assert work.closed


def test_turn_that_failed_is_made_up_for_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sweep that met an outage of the database does not wait for its next hour."""
    monkeypatch.setattr(control, "AGAIN_AFTER_S", 0.05)
    work = Fickle()
    running = Control([Loop(name="fickle", begin=lambda: work, every_s=3600)])
    running.start()
    assert within(10, lambda: work.turns == 3)  # the first that does not raise
    time.sleep(0.3)
    assert running.stop()
    assert work.turns == 3


def test_loop_that_hangs_does_not_keep_the_others_from_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(control, "END_WITHIN_S", 0.5)
    work, hanging = Fickle(), Fickle()
    hanging.turn = lambda: time.sleep(3)  # type: ignore[method-assign]
    running = Control(
        [
            Loop(name="hanging", begin=lambda: hanging, every_s=1),
            Loop(name="fickle", begin=lambda: work, every_s=1),
        ]
    )
    running.start()
    began = time.monotonic()
    assert not running.stop()
    assert time.monotonic() - began < 2
    assert work.closed
    time.sleep(3)  # the thread must not outlive the test's database


def test_loops_by_name_leave_the_outside_to_its_own_process() -> None:
    names = {loop.name for loop in control.loops()}
    assert names == {
        "dispatch", "reaping", "positions", "retention", "orphans", "batches",
        "cleaning", "leaving",
        "statistics",
    }  # fmt: skip
    outside = control.loops("fetch,webhooks")
    assert [loop.name for loop in outside] == ["fetch", "webhooks"]
    with pytest.raises(KeyError):
        control.loops("nonsense")
