"""Redis frozen, emptied or restarted under a real worker: it only carries."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from nijika.local import servers
from tests.gpu_worker.platform import wait_until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Any]:
    """A Redis of the test's own."""
    server = servers.start_redis(tmp_path / "redis")
    yield server
    server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture
def worker(broker: Any, start_worker: Any) -> Any:
    return start_worker(REDIS_URL=broker.url)


def test_redis_emptied_disturbs_no_run_and_later_messages_flow(
    broker: Any, worker: Any, platform: Any
) -> None:
    running = platform.job("sleep", parameters={"seconds": 0.5})
    worker.send(running)
    wait_until(lambda: platform.jobs[running.job_id].status == "running")
    with redis.Redis.from_url(broker.url) as client:
        client.flushall()
    later = platform.job("echo")
    worker.send(later)
    ended = platform.ended(running, later)
    assert [(job.status, job.attempt) for job in ended] == [("succeeded", 1)] * 2


def test_redis_frozen_disturbs_no_run_and_later_messages_flow(
    broker: Any, worker: Any, platform: Any
) -> None:
    running = platform.job("sleep", parameters={"seconds": 1})
    worker.send(running)
    wait_until(lambda: platform.jobs[running.job_id].status == "running")
    broker.process.send_signal(signal.SIGSTOP)
    [ended] = platform.ended(running, timeout_s=5)
    time.sleep(7)
    broker.process.send_signal(signal.SIGCONT)
    later = platform.job("echo")
    worker.send(later)
    platform.ended(later, timeout_s=20)
    assert (ended.status, ended.attempt) == ("succeeded", 1)


def test_redis_restarted_gets_its_worker_back(
    broker: Any, worker: Any, platform: Any
) -> None:
    broker.stop()
    time.sleep(1)
    broker.restart()
    job = platform.job("echo")
    worker.send(job)
    platform.ended(job, timeout_s=20)


def test_worker_goes_in_time_while_redis_is_frozen(
    broker: Any, worker: Any, platform: Any
) -> None:
    job = platform.job("misbehave", parameters={"do": "hang"})
    worker.send(job)
    wait_until(lambda: platform.jobs[job.job_id].status == "running")
    broker.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 8
    assert platform.jobs[job.job_id].status == "queued"
