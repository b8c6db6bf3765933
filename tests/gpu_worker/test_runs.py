"""A message's way through a real worker process, when all goes well."""

import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpu_worker.contract import InputFile
from tests.gpu_worker.platform import message, wait_until


def test_job_with_an_input_stores_the_file_that_it_reports(
    worker: Any, platform: Any
) -> None:
    job = platform.job(
        "echo", parameters={"text": "hello "}, inputs=(platform.input("world"),)
    )
    worker.send(job)
    [ended] = platform.ended(job)
    [result] = ended.report.results
    assert platform.result(job) == "hello world"
    assert result.sha256 == hashlib.sha256(b"hello world").hexdigest()
    assert (result.size_bytes, result.content_type) == (11, "text/plain")


def test_job_that_has_ended_leaves_no_unfinished_file(
    worker: Any, platform: Any
) -> None:
    job = platform.job("echo")
    worker.send(job)
    [ended] = platform.ended(job)
    folder = (platform.folder / ended.report.results[0].key).parent
    assert [file.name for file in folder.iterdir()] == ["0"]


def test_job_with_a_missing_input_fails_as_retryable(
    worker: Any, platform: Any
) -> None:
    there = platform.input("x")
    Path(there.location.removeprefix("file://")).unlink()
    job = platform.job("echo", inputs=(there,))
    worker.send(job)
    [ended] = platform.ended(job)
    assert ended.report.failure.code == "storage_unavailable"
    assert ended.report.failure.retryable


def test_job_of_an_unknown_engine_fails_as_retryable(
    worker: Any, platform: Any
) -> None:
    job = platform.job("nothing")
    worker.send(job)
    [ended] = platform.ended(job)
    assert ended.report.failure.code == "engine_unavailable"


def test_message_that_cannot_be_read_is_dropped(worker: Any, platform: Any) -> None:
    worker.publish({"version": 99, "id": "x", "assignments": []})
    worker.publish({"version": 1, "assignments": "nonsense"})
    job = platform.job("echo")
    worker.send(job)
    assert platform.ended(job)[0].status == "succeeded"


def test_message_delivered_three_times_runs_once(
    worker: Any, platform: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job = platform.job("echo", parameters={"notes": str(notes)})
    for _ in range(3):
        worker.publish(message(job))
    platform.ended(job)
    wait_until(lambda: platform.happened["refused"] == 2)
    assert notes.read_text().split() == [job.job_id]


def test_job_of_an_engine_that_this_worker_cannot_load_is_left_to_another(
    worker: Any, platform: Any
) -> None:
    job = platform.job("unready")
    worker.send(job)
    [ended] = platform.ended(job)
    failure = ended.report.failure
    assert (failure.code, failure.retryable) == ("engine_unavailable", True)


def test_progress_of_a_running_job_reaches_the_platform(
    worker: Any, platform: Any
) -> None:
    job = platform.job("progress", parameters={"seconds": 0.6})
    worker.send(job)
    [ended] = platform.ended(job)
    assert [(p.step, p.total, p.message) for p in ended.progress] == [(1, 2, "half")]


def test_at_least_every_second_of_short_steps_is_told(
    start_worker: Any, platform: Any
) -> None:
    worker = start_worker(NIJIKA_LINK_EVERY="2s", NIJIKA_BEAT="2s")
    job = platform.job("steps", parameters={"steps": 10, "seconds": 0.1})
    worker.send(job)
    [ended] = platform.ended(job)
    told = [0, *(said.step for said in ended.progress)]
    assert max(then - before for before, then in pairwise(told)) <= 2, told
    assert told[-1] >= 8


def test_checkpoint_comes_with_the_next_grant(worker: Any, platform: Any) -> None:
    first = platform.job("misbehave", parameters={"do": "checkpoint"})
    worker.send(first)
    wait_until(lambda: platform.jobs[first.job_id].checkpoint)
    assert platform.jobs[first.job_id].checkpoint == "half way"


def test_message_of_several_runs_as_one_batch(worker: Any, platform: Any) -> None:
    jobs = [platform.job("batched") for _ in range(4)]
    worker.send(*jobs)
    ended = platform.ended(*jobs)
    assert [job.report.results[0].details for job in ended] == [{"batch": 4}] * 4


def test_bad_item_of_a_batch_fails_alone(worker: Any, platform: Any) -> None:
    bad = platform.job("batched", parameters={"do": "invalid"})
    good = [platform.job("batched") for _ in range(3)]
    worker.send(bad, *good)
    ended = platform.ended(bad, *good)
    assert ended[0].report.failure.code == "invalid_image"
    assert all(job.report.failure is None for job in ended[1:])


def test_crashing_item_of_a_batch_fails_alone(worker: Any, platform: Any) -> None:
    bad = platform.job("batched", parameters={"do": "segfault"})
    good = [platform.job("batched") for _ in range(3)]
    worker.send(*good, bad)
    ended = platform.ended(bad, *good)
    assert ended[0].report.failure.code == "engine_failed"
    assert all(job.report.failure is None for job in ended[1:])


def test_hanging_item_of_a_batch_fails_alone(worker: Any, platform: Any) -> None:
    bad = platform.job("batched", parameters={"do": "hang"}, run_limit_s=7)
    good = [platform.job("batched", run_limit_s=6) for _ in range(3)]
    worker.send(*good, bad)
    ended = platform.ended(bad, *good)
    assert ended[0].report.failure.code == "limit_exceeded"
    assert [job.report.failure for job in ended[1:]] == [None] * 3


def test_message_of_several_single_jobs_is_claimed_at_once_and_run_one_by_one(
    worker: Any, platform: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    jobs = [platform.job("echo", parameters={"notes": str(notes)}) for _ in range(9)]
    for _ in range(3):  # also what is delivered again
        worker.send(*jobs)
    assert {job.status for job in platform.ended(*jobs)} == {"succeeded"}
    wait_until(lambda: platform.happened["refused"] == 18)
    assert sorted(notes.read_text().split()) == sorted(job.job_id for job in jobs)
    assert granted_in_order(platform)[0] == sorted(job.job_id for job in jobs)


def test_crashing_one_of_several_single_jobs_costs_no_other(
    worker: Any, platform: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    bad = platform.job("misbehave", parameters={"do": "segfault"})
    good = [platform.job("echo", parameters={"notes": str(notes)}) for _ in range(4)]
    worker.send(*good[:2], bad, *good[2:])
    ended = platform.ended(bad, *good)
    assert ended[0].report.failure.code == "engine_failed"
    assert [job.report.failure for job in ended[1:]] == [None] * 4
    assert len(notes.read_text().split()) == 4


def test_stopped_one_of_several_single_jobs_never_begins(
    worker: Any, platform: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    values = {"seconds": 0.8, "notes": str(notes)}
    jobs = [platform.job("sleep", parameters=values) for _ in range(4)]
    worker.send(*jobs)
    wait_until(lambda: notes.exists() and notes.read_text())
    [first] = notes.read_text().split()
    stopped, *others = sorted(jobs, key=lambda job: job.job_id == first)
    platform.to_stop.add(stopped.job_id)
    assert {job.status for job in platform.ended(*others)} == {"succeeded"}
    time.sleep(0.3)
    assert set(notes.read_text().split()) == {job.job_id for job in others}


def test_single_job_whose_input_is_late_delays_no_other_of_its_message(
    start_worker: Any, platform: Any, tmp_path: Path
) -> None:
    worker = start_worker(NIJIKA_WORKER_SCRATCH=str(tmp_path))
    with slow_input() as late:
        waits = platform.job("echo", inputs=(late,))
        quick = [platform.job("echo") for _ in range(3)]
        worker.send(waits, *quick)
        platform.ended(*quick, timeout_s=10)
        assert platform.jobs[waits.job_id].report is None


@contextmanager
def slow_input() -> Iterator[InputFile]:
    """An input that a server keeps for itself: it accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/input"
        yield InputFile(role="image", location=url)


def test_job_that_travels_alone_shares_the_worker_with_nothing(
    start_worker: Any, platform: Any
) -> None:
    worker = start_worker(slots=2)
    before = platform.job("sleep", parameters={"seconds": 0.5})
    alone = platform.job("batched", alone=True)
    after = [platform.job("batched") for _ in range(4)]
    worker.send(before)
    wait_until(lambda: platform.jobs[before.job_id].status == "running")
    worker.send(alone)
    time.sleep(0.1)
    worker.send(*after)
    ended = platform.ended(before, alone, *after)
    assert ended[1].report.results[0].details == {"batch": 1}
    assert granted_in_order(platform) == [
        [before.job_id],
        [alone.job_id],
        sorted(job.job_id for job in after),
    ]


def granted_in_order(platform: Any) -> list[list[str]]:
    claims = [[run.job_id for run in call.claims] for call in platform.calls]
    return [sorted(one) for one in claims if one]


def test_slots_stay_full_while_messages_wait(start_worker: Any, platform: Any) -> None:
    worker = start_worker(slots=2)
    warm = [platform.job("sleep", parameters={"seconds": 0.05}) for _ in range(4)]
    worker.send(*warm)
    platform.ended(*warm)
    # Well below the 0.95 that the benchmark asks of an idle machine, and the best of
    # three: others run here.
    assert any(share_of_full_slots(worker, platform) > 0.6 for _ in range(3))


def share_of_full_slots(worker: Any, platform: Any) -> float:
    """Of the time that 60 jobs take in two slots, what the engine itself needs."""
    jobs = [platform.job("sleep", parameters={"seconds": 0.05}) for _ in range(60)]
    began = time.monotonic()
    for job in jobs:
        worker.send(job)
    platform.ended(*jobs)
    return 60 * 0.05 / 2 / (time.monotonic() - began)


def test_long_runs_are_not_claimed_ahead(start_worker: Any, platform: Any) -> None:
    worker = start_worker(NIJIKA_CLAIM_AHEAD="100ms")
    jobs = [platform.job("sleep", parameters={"seconds": 0.5}) for _ in range(3)]
    for job in jobs:
        worker.send(job)
    wait_until(lambda: platform.jobs[jobs[0].job_id].status == "running")
    time.sleep(0.2)
    assert platform.happened["granted"] == 1
    platform.ended(*jobs)


def test_run_claimed_ahead_that_gets_no_turn_is_handed_back(
    worker: Any, platform: Any
) -> None:
    warm = platform.job("sleep", parameters={"seconds": 0})
    long = platform.job("sleep", parameters={"seconds": 2})
    ahead = platform.job("sleep", parameters={"seconds": 0}, run_limit_s=0.9)
    worker.send(warm)
    platform.ended(warm)
    worker.send(long)
    wait_until(lambda: platform.jobs[long.job_id].status == "running")
    worker.send(ahead)
    wait_until(lambda: platform.happened["handed back"] == 1)
    assert platform.jobs[ahead.job_id].status == "queued"
    assert platform.ended(long)[0].status == "succeeded"
