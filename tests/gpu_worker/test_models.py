"""Engines that load models: what is told of them, what shares a pass, what fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gpu_worker.contract import Assignment
from tests.gpu_worker.conftest import WorkerProcess
from tests.gpu_worker.platform import Platform, wait_until

NAME = "model/test"
WEIGHTS = "The weights are not what they should be."


@pytest.fixture(scope="module")
def standing_model(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Platform, WorkerProcess]]:
    """A worker that these tests share."""
    folder = tmp_path_factory.mktemp("model")
    platform = Platform(folder)
    worker = WorkerProcess(platform, folder, queue="model", slots=4)
    worker.start()
    wait_until(lambda: platform.calls[-1].slots)
    yield platform, worker
    worker.close()
    platform.close()


@pytest.fixture
def model(standing_model: tuple[Platform, WorkerProcess]) -> Platform:
    return standing_model[0]


@pytest.fixture
def send(standing_model: tuple[Platform, WorkerProcess]) -> Any:
    """Sends jobs in one message, and gives the details of their results."""
    platform, worker = standing_model

    def send(*jobs: Assignment) -> list[dict[str, Any]]:
        worker.send(*jobs)
        reports = [one.report for one in platform.ended(*jobs)]
        assert all(one and one.failure is None for one in reports), reports
        return [one.results[0].details for one in reports if one]

    return send


def jobs_of(platform: Platform, number: int, **parameters: Any) -> list[Assignment]:
    return [platform.job("model", parameters=parameters) for _ in range(number)]


# What is told of it


def test_loading_is_told_before_there_is_a_slot(model: Platform, send: Any) -> None:
    told = [call for call in model.calls if call.states]
    assert told[0].slots == told[0].free_slots == 0
    assert model.calls[-1].slots == 4
    assert model.states(NAME)[0] in ("cold", "loading")
    send(*jobs_of(model, 1))
    wait_until(lambda: model.states(NAME)[-1] == "hot")


def test_engine_in_name_only_is_announced_and_not_loaded(model: Platform) -> None:
    [specs] = [call.specs for call in model.calls if call.specs]
    why = {spec.operation: spec.unavailable for spec in specs}
    assert why["model"] == ""
    assert (why["missing"], why["foreign"]) == ("weights_missing", "extra_missing")
    assert model.states("missing/test") == []


def test_engine_that_cannot_be_loaded_leaves_the_others_alone(
    model: Platform, standing_model: Any, send: Any
) -> None:
    assert model.states("broken/test")[-1] == "failed"
    job = model.job("broken")
    standing_model[1].send(job)
    [ended] = model.ended(job)
    failure = ended.report.failure
    assert (failure.code, failure.retryable) == ("engine_unavailable", True)
    assert send(*jobs_of(model, 1))[0]["batch"] == 1


def test_setting_that_cannot_be_read_is_told_and_its_job_does_not_hang(
    model: Platform, standing_model: Any
) -> None:
    states = [one for call in model.calls for one in call.states]
    [told] = {one.message for one in states if one.state == "failed"} - {WEIGHTS}
    assert told == "NIJIKA_MODEL_SIZE is none of: large, small"
    job = model.job("misset")
    standing_model[1].send(job)
    [ended] = model.ended(job)
    assert ended.report.failure.code == "engine_unavailable"


def test_engine_that_would_end_the_program_ends_its_job_alone(
    model: Platform, standing_model: Any
) -> None:
    for _ in range(2):
        [job] = jobs_of(model, 1, do="quit")
        standing_model[1].send(job)
        [ended] = model.ended(job)
        assert ended.report.failure.code == "engine_failed"


def test_unloaded_engine_is_loaded_by_the_next_job(model: Platform, send: Any) -> None:
    [before] = send(*jobs_of(model, 1))
    model.unload = (NAME,)
    wait_until(lambda: model.states(NAME)[-1] == "cold")
    model.unload = ()
    job = jobs_of(model, 1)
    [after] = send(*job)
    assert after["loads"] == before["loads"] + 1
    said = [one.message for one in model.jobs[job[0].job_id].progress]
    assert "loading the model: weights, 1 of 2" in said
    wait_until(lambda: model.states(NAME)[-1] == "hot")


def test_engine_that_is_idle_makes_room_for_one_that_is_wanted(
    model: Platform, standing_model: Any, send: Any
) -> None:
    send(*jobs_of(model, 1))
    assert "cold" in model.states("large/test")
    job = model.job("large")
    send(job)
    wait_until(lambda: model.states("large/test")[-1] == "hot")
    assert model.states(NAME)[-1] == "cold"
    assert send(*jobs_of(model, 1))[0]["batch"] == 1


def test_times_and_stages_are_told(model: Platform, send: Any) -> None:
    job = jobs_of(model, 1)
    send(*job)
    report = model.jobs[job[0].job_id].report
    assert report is not None
    assert list(report.stages) == [
        "read_ms",
        "decode_ms",
        "wait_ms",
        "run_ms",
        "encode_ms",
        "store_ms",
    ]
    assert report.stages["run_ms"] == report.engine_ms and report.engine_ms >= 50
    wait_until(lambda: any(call.measures for call in model.calls))
    [measure] = next(call.measures for call in model.calls if call.measures)
    assert (measure.operation, measure.size_mp) == ("model", 1)
    assert measure.run_ms >= 50 and measure.share_ms <= measure.run_ms


# What shares a pass


def test_only_one_kind_shares_a_pass(model: Platform, send: Any) -> None:
    jobs = jobs_of(model, 4, kind="a") + jobs_of(model, 4, kind="b")
    made = send(*jobs[::2], *jobs[1::2])
    assert {tuple(one["kinds"]) for one in made} == {("a",), ("b",)}
    assert {one["batch"] for one in made} == {4}


def test_what_never_shares_runs_alone(model: Platform, send: Any) -> None:
    made = send(*jobs_of(model, 3, kind=None))
    assert [one["batch"] for one in made] == [1, 1, 1]


# What goes wrong


def test_batch_that_does_not_fit_runs_in_halves(model: Platform, send: Any) -> None:
    made = send(*jobs_of(model, 8, kind="large", fits=2))
    assert {one["batch"] for one in made} == {2}


def test_what_did_not_fit_is_not_tried_again_in_that_size(
    model: Platform, send: Any, tmp_path: Any
) -> None:
    notes = tmp_path / "notes"
    send(*jobs_of(model, 8, kind="larger", fits=4))
    send(*jobs_of(model, 8, kind="larger", fits=4, notes=str(notes)))
    assert len(notes.read_text().split()) == 8


def test_job_that_does_not_fit_alone_is_out_of_memory(
    model: Platform, standing_model: Any
) -> None:
    job = model.job("model", parameters={"kind": "huge", "fits": 0})
    standing_model[1].send(job)
    [ended] = model.ended(job)
    assert ended.report.failure.code == "out_of_memory"


def test_run_that_asks_ends_by_itself_when_its_time_is_over(
    model: Platform, standing_model: Any, send: Any
) -> None:
    job = model.job("model", parameters={"do": "step"}, run_limit_s=1)
    standing_model[1].send(job)
    [ended] = model.ended(job)
    assert ended.report.failure.code == "limit_exceeded"
    assert send(*jobs_of(model, 1))


def test_lost_device_ends_the_worker_and_leaves_its_jobs_to_others(
    start_worker: Any, platform: Platform
) -> None:
    worker = start_worker(queue="model", slots=2)
    wait_until(lambda: platform.calls[-1].slots)
    job = platform.job("model", parameters={"do": "lose"})
    worker.send(job)
    assert worker.process.wait(10) == 76
    report = platform.jobs[job.job_id].report
    assert report is not None and report.failure is not None
    assert (report.failure.code, report.failure.retryable) == ("engine_failed", True)
    assert platform.states(NAME)[-1] == "failed"
