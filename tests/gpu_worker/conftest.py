"""Real worker processes on a real Redis, against a platform that fails on order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from gpu_worker.contract import RUN_TASK, Assignment
from tests.gpu_worker.platform import TOKEN, Platform, message, wait_until

ENGINES = ",".join(
    f"{operation}/test=tests.gpu_worker.engines_of_tests:{name}"
    for operation, name in [
        ("echo", "Echo"),
        ("sleep", "Sleep"),
        ("unready", "Unready"),
        ("progress", "Progress"),
        ("steps", "Steps"),
        ("batched", "Batched"),
        ("misbehave", "Misbehaving"),
        ("device", "Device"),
        ("distant", "Distant"),
        ("removebg", "DeviceCutout"),
        ("paint", "Paint"),
        ("model", "Model"),
        ("large", "Large"),
        ("broken", "Broken"),
        ("misset", "Misset"),
        ("loading", "Loading"),
        ("missing", "Missing"),
        ("foreign", "Foreign"),
    ]
)


class WorkerProcess:
    """`python -m gpu_worker`, as the supervisor starts it."""

    def __init__(self, platform: Platform, folder: Path, **options: Any) -> None:
        self.queue = options.pop("queue", "test")
        self.prefix = f"test-{uuid.uuid4()}:"
        self.log = folder / "worker.log"
        self.platform = platform
        self.slots = options.pop("slots", 1)
        self.environment = _environment(platform, self.prefix, folder) | options
        self.producer = _producer(self.environment["REDIS_URL"], self.prefix)

    def start(self) -> WorkerProcess:
        known = self.platform.incarnation
        command = [sys.executable, "-m", "gpu_worker", "--queue", self.queue]
        command += ["--name", "test-1", "--slots", str(self.slots)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log
            )
        try:
            wait_until(lambda: self._is_up(known), 30)
        except AssertionError:
            raise AssertionError(self.log.read_text()) from None
        return self

    def _is_up(self, known: int) -> bool:
        assert self.process.poll() is None
        return self.platform.incarnation > known

    def send(self, *assignments: Assignment) -> None:
        """Publish one message."""
        self.publish(message(*assignments))

    def publish(self, value: dict[str, Any]) -> None:
        self.producer.send_task(RUN_TASK, args=[value], queue=self.queue)

    def waiting_messages(self) -> int:
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as client:
            return int(client.llen(f"{self.prefix}{self.queue}"))

    def forget_messages(self) -> None:
        with redis.Redis.from_url(self.environment["REDIS_URL"]) as client:
            client.delete(f"{self.prefix}{self.queue}")

    def children(self) -> list[int]:
        return children_of(self.process.pid)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, timeout_s: float = 15) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        self.producer.close()
        if self.process.poll() is None:
            self.kill()


class Standing:
    """A worker of one slot that serves many tests, as long as none ends it."""

    def __init__(self, folder: Path) -> None:
        self.platform = Platform(folder)
        self.worker = WorkerProcess(self.platform, folder)
        self.runs = False

    def take(self) -> WorkerProcess:
        if not self.runs or self.worker.process.poll() is not None:
            self.worker.start()
            self.runs = True
        return self.worker

    def clean(self) -> None:
        """Ready for the next test: nothing of this one is running or waiting."""
        self.platform.forget()
        if self.runs and self.worker.process.poll() is None:
            self.worker.forget_messages()
            wait_until(self.platform.is_quiet)

    def close(self) -> None:
        if self.runs:
            self.worker.close()
        self.platform.close()


@pytest.fixture(scope="package")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    standing = Standing(tmp_path_factory.mktemp("standing"))
    yield standing
    standing.close()


@pytest.fixture
def platform(request: pytest.FixtureRequest) -> Iterator[Platform]:
    """The platform of the test's worker: the standing one's, or a new one."""
    if "start_worker" not in request.fixturenames:
        standing = request.getfixturevalue("standing")
        yield standing.platform
        standing.clean()
        return
    platform = Platform(request.getfixturevalue("tmp_path"))
    yield platform
    platform.close()


@pytest.fixture
def start_worker(platform: Platform, tmp_path: Path) -> Iterator[Any]:
    """Starts a worker; options but `queue` and `slots` are environment variables."""
    started: list[WorkerProcess] = []

    def start(**options: Any) -> WorkerProcess:
        worker = WorkerProcess(platform, tmp_path, **options)
        started.append(worker)
        return worker.start()

    yield start
    for worker in started:
        worker.close()


@pytest.fixture
def worker(standing: Standing) -> WorkerProcess:
    """A worker of one slot."""
    return standing.take()


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in text for child in file.read_text().split()]


def _producer(broker_url: str, prefix: str) -> Celery:
    app = Celery("tests", broker=broker_url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": prefix}
    app.conf.task_ignore_result = True
    return app


def _environment(platform: Platform, prefix: str, folder: Path) -> dict[str, str]:
    return os.environ | {
        "NIJIKA_BROKER_PREFIX": prefix,
        "NIJIKA_LINK_URL": platform.url,
        "NIJIKA_LINK_TOKEN": TOKEN,
        "NIJIKA_LINK_EVERY": "200ms",
        "NIJIKA_BEAT": "100ms",
        "NIJIKA_LINK_TIMEOUT": "1s",
        "NIJIKA_WORKER_GRACE": "1s",
        "NIJIKA_CHILD_MEMORY": "300MB",
        "NIJIKA_WORKER_ENGINES": ENGINES,
        "PYTHONPATH": os.getcwd(),
    }
