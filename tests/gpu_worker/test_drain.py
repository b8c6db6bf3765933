"""SIGTERM: the worker goes in time, and nothing that it had is lost."""

import time
from typing import Any

from tests.gpu_worker.platform import wait_until
from tests.gpu_worker.test_faults import is_alive


def test_idle_worker_goes_at_once(worker: Any, platform: Any) -> None:
    children = worker.children()
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 3
    wait_until(lambda: not any(is_alive(child) for child in children), 2)


def test_worker_that_is_still_loading_goes_at_once(
    start_worker: Any, platform: Any
) -> None:
    worker = start_worker(queue="loading")
    wait_until(lambda: "loading" in platform.states("loading/test"))
    children = worker.children()
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 3
    wait_until(lambda: not any(is_alive(child) for child in children))


def test_run_that_ends_within_the_grace_is_finished(worker: Any, platform: Any) -> None:
    job = platform.job("sleep", parameters={"seconds": 0.6})
    worker.send(job)
    wait_until(lambda: platform.jobs[job.job_id].status == "running")
    assert worker.stop() == 0
    assert platform.jobs[job.job_id].status == "succeeded"


def test_run_that_takes_longer_is_handed_back(worker: Any, platform: Any) -> None:
    job = platform.job("misbehave", parameters={"do": "hang"})
    worker.send(job)
    wait_until(lambda: platform.jobs[job.job_id].status == "running")
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 6
    assert platform.jobs[job.job_id].status == "queued"
    assert platform.jobs[job.job_id].report is None


def test_jobs_of_a_message_that_have_not_ended_are_handed_back(
    worker: Any, platform: Any
) -> None:
    jobs = [platform.job("sleep", parameters={"seconds": 0.6}) for _ in range(6)]
    worker.send(*jobs)
    wait_until(lambda: "succeeded" in [platform.jobs[j.job_id].status for j in jobs])
    assert worker.stop() == 0
    statuses = [platform.jobs[job.job_id].status for job in jobs]
    ended, returned = statuses.count("succeeded"), statuses.count("queued")
    assert ended + returned == 6
    assert min(ended, returned) > 0
    assert platform.happened["handed back"] == returned


def test_message_that_was_not_claimed_returns_to_the_broker(
    start_worker: Any, platform: Any
) -> None:
    worker = start_worker(NIJIKA_WORKER_GRACE="2s")
    running = platform.job("sleep", parameters={"seconds": 1})
    waiting = platform.job("echo")
    worker.send(running)
    wait_until(lambda: platform.jobs[running.job_id].status == "running")
    worker.send(waiting)
    time.sleep(0.2)
    assert worker.stop() == 0
    assert platform.jobs[waiting.job_id].status == "queued"
    assert worker.waiting_messages() == 1
    worker.start()
    platform.ended(waiting)


def test_worker_goes_in_time_while_the_platform_is_away(
    worker: Any, platform: Any
) -> None:
    job = platform.job("misbehave", parameters={"do": "hang"})
    worker.send(job)
    wait_until(lambda: platform.jobs[job.job_id].status == "running")
    platform.away = True
    began = time.monotonic()
    assert worker.stop() == 1
    assert time.monotonic() - began < 9
