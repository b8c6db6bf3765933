"""The sandbox's runs in a real worker: beside its slots, never in them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.contract import SPARE_RUNS, Assignment, InputFile
from tests.gpu_worker.conftest import WorkerProcess
from tests.gpu_worker.platform import Job, Platform, wait_until

PHOTO = Path(__file__).parents[1] / "data" / "photos" / "interior_bedroom.jpg"


@pytest.fixture(scope="module")
def cpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker of one slot with the built-in engines."""
    folder = tmp_path_factory.mktemp("spare")
    platform = Platform(folder)
    worker = WorkerProcess(platform, folder, queue="cpu").start()
    yield worker
    worker.close()
    platform.close()


@pytest.fixture
def worker(cpu: WorkerProcess) -> Iterator[WorkerProcess]:
    if cpu.process.poll() is not None:
        cpu.start()
    yield cpu
    cpu.platform.forget()
    cpu.forget_messages()
    if cpu.process.poll() is None:
        wait_until(cpu.platform.is_quiet)


def accept(worker: WorkerProcess, **values: Any) -> Assignment:
    """A job that the platform knows, published."""
    job_id = str(uuid.uuid4())
    given: dict[str, Any] = {"inputs": (), "run_limit_s": 60.0} | values
    assignment = Assignment(job_id=job_id, attempt=1, **given)
    worker.platform.jobs[assignment.job_id] = Job(assignment)
    worker.send(assignment)
    return assignment


def trial(worker: WorkerProcess, *, run_limit_s: float = 60, **asked: Any) -> Job:
    parameters = {"prompt": "a cat", "width": 256, "height": 256, "format": "png"}
    made = accept(
        worker,
        operation="generate",
        engine="sandbox",
        parameters=parameters | {"sandbox": asked},
        run_limit_s=run_limit_s,
    )
    return worker.platform.jobs[made.job_id]


def live(worker: WorkerProcess) -> Job:
    photo = InputFile(
        role="image", location=f"file://{PHOTO}", content_type="image/jpeg"
    )
    made = accept(
        worker,
        operation="resize",
        engine="imaging",
        parameters={"width": 40},
        inputs=(photo,),
    )
    return worker.platform.jobs[made.job_id]


def running(jobs: list[Job]) -> int:
    return sum(job.status == "running" for job in jobs)


def test_live_job_runs_at_once_however_many_test_runs_wait(
    worker: WorkerProcess,
) -> None:
    trials = [trial(worker, delay_s=30) for _ in range(SPARE_RUNS + 12)]
    wait_until(lambda: running(trials) == SPARE_RUNS)
    wait_until(lambda: worker.waiting_messages() == 0)
    assert worker.platform.calls[-1].free_slots == 1
    job = live(worker)
    wait_until(lambda: job.report, 5)
    assert job.status == "succeeded"
    assert running(trials) == SPARE_RUNS


def test_delay_passes_and_is_told_in_the_engines_own_steps(
    worker: WorkerProcess,
) -> None:
    began = time.monotonic()
    job = trial(worker, delay_s=1.2)
    wait_until(lambda: job.report)
    assert job.status == "succeeded" and time.monotonic() - began >= 1.2
    assert {one.message for one in job.progress} >= {"waiting as asked"}
    assert job.report is not None and (job.report.engine_ms or 0) >= 1200


def test_delayed_run_that_is_stopped_leaves_its_lane_to_another(
    worker: WorkerProcess,
) -> None:
    trials = [trial(worker, delay_s=30) for _ in range(SPARE_RUNS)]
    wait_until(lambda: running(trials) == SPARE_RUNS)
    worker.platform.to_stop.add(trials[0].assignment.job_id)
    job = trial(worker)
    wait_until(lambda: job.report, 5)
    assert (job.status, trials[0].report) == ("succeeded", None)


def test_delay_beyond_the_run_limit_ends_with_it(worker: WorkerProcess) -> None:
    job = trial(worker, delay_s=30, run_limit_s=1)
    wait_until(lambda: job.report, 5)
    assert job.report and job.report.failure
    assert job.report.failure.code == "limit_exceeded"


def test_failure_that_is_asked_for_is_reported_as_final(worker: WorkerProcess) -> None:
    job = trial(worker, fail="out_of_memory")
    wait_until(lambda: job.report)
    assert job.report and job.report.failure
    assert job.report.failure.code == "out_of_memory"
    assert not job.report.failure.retryable


def test_run_is_lost_as_often_as_asked(worker: WorkerProcess) -> None:
    job = trial(worker, retries=1)
    wait_until(lambda: job.report)
    assert job.report and job.report.failure and job.report.failure.retryable
    assert job.checkpoint == "1"
    job.status, job.report = "queued", None
    worker.send(worker.platform.again(job.assignment))
    wait_until(lambda: job.report)
    assert job.status == "succeeded"


def test_child_of_the_sandbox_works_at_the_lowest_priority(
    worker: WorkerProcess,
) -> None:
    job = trial(worker)
    wait_until(lambda: job.report)
    assert sorted(priority(child) for child in worker.children()) == [
        priority(worker.process.pid),
        19,
    ]


def priority(pid: int) -> int:
    """The nice value (proc(5), stat)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16])


def test_worker_that_goes_hands_delayed_runs_back_in_time(
    worker: WorkerProcess,
) -> None:
    trials = [trial(worker, delay_s=30) for _ in range(SPARE_RUNS + 2)]
    wait_until(lambda: running(trials) == SPARE_RUNS)
    began = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - began < 6
    assert {job.status for job in trials} == {"queued"}
