"""The worker's side of the link, against a platform that fails on order."""

import time
from pathlib import Path
from typing import Any

from tests.gpu_worker.platform import wait_until


def test_worker_calls_in_time_with_nothing_to_say(worker: Any, platform: Any) -> None:
    before = len(platform.calls)
    time.sleep(1)
    # NIJIKA_LINK_EVERY is 200 ms here.
    assert 3 <= len(platform.calls) - before <= 7


def test_worker_sends_its_specs_when_asked(start_worker: Any, platform: Any) -> None:
    start_worker()
    wait_until(lambda: any(call.specs for call in platform.calls))
    [sent] = [call.specs for call in platform.calls if call.specs]
    assert {spec.queue for spec in sent} == {"test"}


def test_calls_of_a_worker_have_rising_numbers(worker: Any, platform: Any) -> None:
    wait_until(lambda: len(platform.calls) > 5)
    numbers = [call.number for call in platform.calls]
    assert numbers == sorted(set(numbers))


def test_claim_whose_answer_was_lost_runs_once(
    worker: Any, platform: Any, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    job = platform.job("echo", parameters={"notes": str(notes)})
    platform.lose_first_with = "claims"
    worker.send(job)
    [ended] = platform.ended(job)
    assert notes.read_text().split() == [job.job_id]
    assert (ended.status, ended.attempt) == ("succeeded", 1)


def test_report_whose_answer_was_lost_is_sent_again(worker: Any, platform: Any) -> None:
    job = platform.job("echo")
    platform.lose_first_with = "reports"
    worker.send(job)
    wait_until(lambda: platform.happened["reports"] == 2)
    wait_until(platform.is_quiet)
    assert platform.jobs[job.job_id].status == "succeeded"
    assert platform.happened["reports"] == 2


def test_report_is_repeated_until_it_is_acknowledged(
    worker: Any, platform: Any
) -> None:
    platform.keep_reports = True
    job = platform.job("echo")
    worker.send(job)
    wait_until(lambda: platform.happened["reports"] >= 4)
    platform.keep_reports = False
    platform.ended(job)


def test_unacknowledged_report_holds_nobody_up(worker: Any, platform: Any) -> None:
    platform.keep_reports = True
    jobs = [platform.job("echo") for _ in range(5)]
    for job in jobs:
        worker.send(job)
    wait_until(lambda: platform.happened["granted"] == 5)
    wait_until(lambda: len(platform.calls[-1].reports) == 5)
    platform.keep_reports = False
    platform.ended(*jobs)


def test_run_beats_until_its_report_is_acknowledged(worker: Any, platform: Any) -> None:
    platform.keep_reports = True
    job = platform.job("echo")
    worker.send(job)
    wait_until(lambda: platform.happened["reports"] >= 1)
    beats = platform.jobs[job.job_id].beats
    wait_until(lambda: platform.jobs[job.job_id].beats > beats + 2)


def test_report_outlives_a_platform_that_is_away(worker: Any, platform: Any) -> None:
    job = platform.job("sleep", parameters={"seconds": 0.3})
    worker.send(job)
    wait_until(lambda: platform.jobs[job.job_id].status == "running")
    platform.away = True
    time.sleep(3)
    platform.away = False
    [ended] = platform.ended(job, timeout_s=5)
    assert (ended.status, ended.attempt) == ("succeeded", 1)


def test_job_taken_while_the_platform_is_away_runs_later(
    worker: Any, platform: Any
) -> None:
    platform.away = True
    job = platform.job("echo", run_limit_s=2)
    worker.send(job)
    time.sleep(3)
    platform.away = False
    assert platform.ended(job)[0].status == "succeeded"


def test_slow_platform_gets_one_call_at_a_time(worker: Any, platform: Any) -> None:
    platform.delay_s = 0.3
    jobs = [platform.job("echo") for _ in range(6)]
    calls = len(platform.calls)
    for job in jobs:
        worker.send(job)
    began = time.monotonic()
    platform.ended(*jobs)
    spent = time.monotonic() - began
    assert len(platform.calls) - calls <= spent / 0.3 + 2


def test_stopped_run_ends_at_once_and_reports_nothing(
    worker: Any, platform: Any
) -> None:
    job = platform.job("misbehave", parameters={"do": "hang"})
    worker.send(job)
    wait_until(lambda: platform.jobs[job.job_id].beats)
    platform.to_stop.add(job.job_id)
    after = platform.job("echo")
    worker.send(after)
    platform.ended(after, timeout_s=4)
    assert platform.jobs[job.job_id].report is None


def test_stop_of_one_run_leaves_its_neighbour(start_worker: Any, platform: Any) -> None:
    worker = start_worker(slots=2)
    stopped = platform.job("misbehave", parameters={"do": "hang"})
    neighbour = platform.job("sleep", parameters={"seconds": 1})
    worker.send(stopped)
    worker.send(neighbour)
    wait_until(lambda: platform.jobs[stopped.job_id].beats)
    platform.to_stop.add(stopped.job_id)
    assert platform.ended(neighbour)[0].status == "succeeded"


def test_worker_whose_name_was_taken_leaves(worker: Any, platform: Any) -> None:
    platform.incarnation += 1
    assert worker.process.wait(5) == 1


def test_worker_with_a_wrong_token_keeps_trying(
    start_worker: Any, platform: Any
) -> None:
    platform.away = True
    time.sleep(0.1)
    platform.away = False
    worker = start_worker()
    assert worker.process.poll() is None
