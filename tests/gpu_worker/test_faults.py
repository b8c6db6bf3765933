"""Jobs that hang, crash or eat memory, and processes that are killed."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.gpu_worker.platform import wait_until


@pytest.mark.parametrize(
    ("do", "code", "retryable"),
    [
        ("segfault", "engine_failed", False),
        ("raise", "engine_failed", False),
        ("exit", "engine_failed", False),
        ("eat memory", "limit_exceeded", False),
        ("eat memory in C", "limit_exceeded", False),
        ("hang", "limit_exceeded", False),
        ("regex bomb", "limit_exceeded", False),
        ("die", "engine_failed", True),
        ("later", "storage_unavailable", True),
    ],
)
def test_misbehaving_job_fails_and_the_slot_is_back(
    worker: Any, platform: Any, do: str, code: str, retryable: bool
) -> None:
    bad = platform.job("misbehave", parameters={"do": do}, run_limit_s=4)
    good = platform.job("echo", parameters={"text": "alive"})
    worker.send(bad)
    [ended] = platform.ended(bad)
    worker.send(good)
    platform.ended(good)
    failure = ended.report.failure
    assert (failure.code, failure.retryable) == (code, retryable)
    assert failure.retry_after_s == (7.5 if do == "later" else 0)
    assert "secret" not in failure.message
    assert platform.result(good) == "alive"


@pytest.mark.parametrize(
    "said",
    [
        "no JSON",
        "[]",
        '"outcomes"',
        '{"outcomes": []}',
        '{"n": 1, "outcomes": [{"files": [{"key": "another"}]}]}',
        '{"progress": 1, "checkpoint": {}}',
        '{"progress": ["x", "y", "z", {}]}',
        "x" * 2_000_000,
    ],
)
def test_child_that_lies_costs_no_other_job(
    worker: Any, platform: Any, said: str
) -> None:
    liar = platform.job("misbehave", parameters={"do": "lie", "say": said})
    good = platform.job("echo", parameters={"text": "true"})
    worker.send(liar)
    platform.ended(liar)
    worker.send(good)
    platform.ended(good)
    assert platform.result(good) == "true"


def test_child_that_lies_about_the_next_job_is_not_believed(
    worker: Any, platform: Any
) -> None:
    lie = '{"outcomes": [{"failure": {"code": "a_lie", "message": ""}}]}'
    values = {"do": "lie", "say": lie, "later_s": 0.5}
    liar = platform.job("misbehave", parameters=values)
    next_one = platform.job("sleep", parameters={"seconds": 2})
    worker.send(liar)
    platform.ended(liar)
    worker.send(next_one)
    [ended] = platform.ended(next_one)
    failure = ended.report.failure
    assert (failure.code, failure.retryable) == ("engine_failed", True)


def test_hanging_job_is_ended_at_its_limit(worker: Any, platform: Any) -> None:
    # A child that is still starting costs a third of this limit, and the run its turn.
    first = platform.job("echo")
    worker.send(first)
    platform.ended(first)
    job = platform.job("misbehave", parameters={"do": "hang"}, run_limit_s=3)
    worker.send(job)
    platform.ended(job, timeout_s=20)


def test_child_killed_while_idle_costs_no_job(worker: Any, platform: Any) -> None:
    wait_until(worker.children)
    [child] = worker.children()
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not is_alive(child))
    job = platform.job("echo")
    worker.send(job)
    assert platform.ended(job)[0].status == "succeeded"


def test_killed_worker_takes_its_children_along(
    worker: Any, platform: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job = platform.job("misbehave", parameters={"do": "hang", "notes": str(notes)})
    worker.send(job)
    wait_until(notes.exists)  # a child that waits for work would end by itself
    children = worker.children()
    worker.kill()
    wait_until(lambda: not any(is_alive(child) for child in children), 2)


def test_worker_killed_in_a_run_runs_it_again_when_it_is_back(
    worker: Any, platform: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    values = {"seconds": 0.5, "notes": str(notes)}
    job = platform.job("sleep", parameters=values)
    worker.send(job)
    wait_until(lambda: notes.exists() and notes.read_text())
    worker.kill()
    worker.start()
    again = platform.again(job)
    worker.send(again)
    [ended] = platform.ended(again)
    assert ended.report.run.attempt == 2
    assert len(notes.read_text().split()) == 2


def test_files_in_memory_of_a_killed_worker_are_removed(
    start_worker: Any, platform: Any, tmp_path: Path
) -> None:
    left = tmp_path / "nijika-worker-999999999" / "run"
    left.mkdir(parents=True)
    start_worker(NIJIKA_WORKER_SCRATCH=str(tmp_path))
    assert not left.parent.exists()


def test_child_knows_no_secret_of_the_worker(worker: Any, platform: Any) -> None:
    [child] = worker.children()
    environment = Path(f"/proc/{child}/environ").read_text()
    assert "NIJIKA_LINK_TOKEN" not in environment
    assert "REDIS_URL" not in environment
    assert "DATABASE_URL" not in environment


def is_alive(pid: int) -> bool:
    """Also while a thread of it is still going: until then its files are open."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return not ("State:\tZ" in status and "Threads:\t1\n" in status)
