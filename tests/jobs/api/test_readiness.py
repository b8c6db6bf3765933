"""What a client learns of engines: ready or not, why a job waits, how long it takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from gpu_worker.contract import EngineSpec, EngineState, Measure, Unavailable
from jobs import engines
from jobs.models import Worker
from jobs.workers import engine_states, paces
from tests.jobs.api.conftest import DATA_URL, PARAMETERS, Person, person, problem
from tests.jobs.working import TestWorker, failure, success, user_with

BIREFNET = EngineSpec(
    operation="removebg", engine="birefnet", queue="t4", parameters=PARAMETERS
)
REASONS = get_args(Unavailable)[1:]


@pytest.fixture(autouse=True)
def birefnet(world: None, settings: Settings) -> None:
    settings.CHOOSABLE_ENGINES = ["removebg/birefnet"]
    engines.announce([BIREFNET])


@pytest.fixture
def t4() -> TestWorker:
    worker = TestWorker(name="t4-1").hello()
    engine_states.forget()
    return worker


def tell(worker: TestWorker, state: str, message: str = "", slots: int = 1) -> Any:
    """The worker's next call, in which birefnet is in this state."""
    said: Any = EngineState(
        operation="removebg", engine="birefnet", state=state, message=message
    )
    answer = worker.say(states=(said,), queue="t4", slots=slots, free_slots=0)
    engine_states.forget()
    return answer


def shown(owner: Person, engine: str = "birefnet") -> tuple[Any, Any, Any]:
    items = owner.get("operations").json()["items"]
    [found] = [e for item in items for e in item["engines"] if e["name"] == engine]
    return found["available"], found["reason"], found["state"]


def order(owner: Person, **changes: Any) -> Any:
    body = {"operation": "removebg", "engine": "birefnet", "image": DATA_URL}
    return owner.post("jobs", body | changes)


# Whether an engine is ready


def test_engine_without_a_worker_is_listed_with_the_reason(owner: Person) -> None:
    assert shown(owner) == (False, "no_worker", None)


def test_configured_engine_that_nobody_announced_is_listed(owner: Person) -> None:
    assert shown(owner, "nobody") == (False, "no_worker", None)


@pytest.mark.parametrize(
    ("state", "available", "reason"),
    [
        ("loading", False, "loading"),
        ("failed", False, "load_failed"),
        ("cold", True, None),
        ("warm", True, None),
        ("hot", True, None),
    ],
)
def test_engine_is_as_ready_as_its_worker_says(
    owner: Person, t4: TestWorker, state: str, available: bool, reason: str | None
) -> None:
    tell(t4, state)
    assert shown(owner) == (available, reason, state)


def test_engine_is_as_ready_as_where_it_is_readiest(owner: Person) -> None:
    for name, state in (("t4-1", "loading"), ("t4-2", "hot"), ("t4-3", "cold")):
        tell(TestWorker(name=name).hello(), state)
    assert shown(owner) == (True, None, "hot")


def test_engine_of_a_worker_that_still_loads_is_loading(
    owner: Person, t4: TestWorker
) -> None:
    tell(t4, "warm", slots=0)
    assert shown(owner)[1] == "loading"


def test_states_that_no_database_stores_are_cleaned(
    owner: Person, t4: TestWorker
) -> None:
    tell(t4, "loading", "half\x00 way \ud800")
    assert Worker.objects.get(name="t4-1").states[0]["message"] == "half way ?"


def test_a_restarted_worker_has_said_nothing(owner: Person, t4: TestWorker) -> None:
    tell(t4, "warm")
    TestWorker(name="t4-1").hello()
    assert Worker.objects.get(name="t4-1").states == []


# What waiting cannot change


@pytest.mark.parametrize("reason", REASONS)
def test_engine_in_name_only_is_refused_at_once_with_those_that_would_serve(
    owner: Person, worker: TestWorker, t4: TestWorker, reason: Any
) -> None:
    tell(t4, "cold")
    engines.announce([replace(BIREFNET, unavailable=reason)])
    assert shown(owner)[:2] == (False, reason)
    refused = order(owner)
    said = problem(refused, 503, "engine_unavailable")
    assert (said["engine"], said["reason"]) == ("birefnet", reason)
    assert said["alternatives"] == ["classical"]
    assert "classical" in said["detail"] and "Retry-After" not in refused
    assert owner.get("jobs").json()["items"] == []


def test_engine_without_a_worker_is_no_alternative_unless_one_comes_for_jobs(
    owner: Person, worker: TestWorker, settings: Settings
) -> None:
    engines.announce([replace(BIREFNET, unavailable="weights_missing")])
    Worker.objects.update(seen_at=Now() - timedelta(minutes=1))
    said = problem(order(owner), 503, "engine_unavailable")
    assert said["alternatives"] == [] and "Instead" not in said["detail"]
    settings.SCALE_TO_ZERO_QUEUES = ["cpu"]
    said = problem(order(owner), 503, "engine_unavailable")
    assert said["alternatives"] == ["classical"]


def test_default_engine_in_name_only_is_not_replaced_in_silence(
    owner: Person, worker: TestWorker, settings: Settings
) -> None:
    settings.DEFAULT_ENGINES = {"removebg": "birefnet"}
    settings.CHOOSABLE_ENGINES = ["removebg/classical"]
    engines.announce([replace(BIREFNET, unavailable="weights_missing")])
    said = problem(order(owner, engine="birefnet"), 503, "engine_unavailable")
    assert said["alternatives"] == ["classical"]


def test_test_keys_need_no_engine_but_the_sandbox(settings: Settings) -> None:
    sandbox = replace(BIREFNET, engine="sandbox", queue="cpu")
    engines.announce([sandbox, replace(BIREFNET, unavailable="weights_missing")])
    assert order(person(user_with("0"), test=True)).status_code == 202


# Why a job waits


def waiting(owner: Person, job: Any) -> Any:
    return owner.get(f"jobs/{job['id']}").json()["waiting"]


def test_job_without_a_worker_waits_and_says_so(owner: Person) -> None:
    job = order(owner).json()
    assert job["status"] == "queued"
    assert job["waiting"] == {"reason": "no_worker", "message": "", "eta_s": None}


def test_job_of_an_engine_that_loads_says_what_that_is_at(
    owner: Person, t4: TestWorker
) -> None:
    job = order(owner).json()
    tell(t4, "loading", "text encoder, 2 of 4")
    assert waiting(owner, job) == {
        "reason": "loading",
        "message": "text encoder, 2 of 4",
        "eta_s": None,
    }
    tell(t4, "warm")
    assert waiting(owner, job)["reason"] == "turn"


def test_running_and_ended_jobs_wait_for_nothing(
    owner: Person, worker: TestWorker
) -> None:
    job = owner.submit()
    worker.start(job["id"])
    assert waiting(owner, job) is None


# How long it takes


def measured(worker: TestWorker, size_mp: int, run_ms: int, share_ms: int) -> None:
    measure = Measure(
        operation="removebg",
        engine="birefnet",
        size_mp=size_mp,
        run_ms=run_ms,
        share_ms=share_ms,
    )
    worker.say(measures=(measure,), queue="t4")


def test_estimate_says_how_long_such_a_job_takes(owner: Person, t4: TestWorker) -> None:
    body = {"operation": "removebg", "engine": "birefnet", "image": DATA_URL}
    assert owner.post("estimate", body).json()["run_s"] is None
    tell(t4, "warm")
    measured(t4, 1, 800, 200)
    measured(t4, 16, 4000, 4000)
    answer = owner.post("estimate", body).json()
    assert (answer["run_s"], answer["eta_s"]) == (0.8, 0.8)


def test_estimate_counts_those_before_it(owner: Person, t4: TestWorker) -> None:
    tell(t4, "warm")
    measured(t4, 1, 800, 200)
    for _ in range(3):
        order(owner)
    body = {"operation": "removebg", "engine": "birefnet", "image": DATA_URL}
    answer = owner.post("estimate", body).json()
    assert (answer["run_s"], answer["eta_s"]) == (0.8, 1.4)


def test_member_of_a_family_has_its_own_pace_and_else_the_familys(
    owner: Person, settings: Settings
) -> None:
    settings.CHOOSABLE_ENGINES = ["removebg/fal:"]
    remote = replace(BIREFNET, queue="remote")
    names = ("fal:", "fal:a/known")
    engines.announce([replace(remote, engine=name) for name in names])
    worker = TestWorker(name="remote-1").hello()
    for name, run_ms in zip(names, (9000, 3000), strict=True):
        said = Measure(
            operation="removebg", engine=name, size_mp=1, run_ms=run_ms, share_ms=run_ms
        )
        worker.say(measures=(said,), queue="remote", slots=4)
    engine_states.forget()
    told = {
        name: owner.post(
            "estimate", {"operation": "removebg", "engine": name, "image": DATA_URL}
        ).json()
        for name in ("fal:a/known", "fal:b/other")
    }
    assert [one["run_s"] for one in told.values()] == [3.0, 9.0]
    assert [one["eta_s"] for one in told.values()] == [3.0, 9.0]


def test_member_of_a_family_stands_as_the_family(
    owner: Person, settings: Settings
) -> None:
    settings.CHOOSABLE_ENGINES = ["removebg/fal:"]
    remote = replace(BIREFNET, queue="remote")
    engines.announce([replace(remote, engine=name) for name in ("fal:", "fal:a/known")])
    failed = EngineState(operation="removebg", engine="fal:", state="failed")
    TestWorker(name="remote-1").hello().say(states=(failed,), queue="remote", slots=4)
    engine_states.forget()
    assert shown(owner, "fal:a/known") == (False, "load_failed", "failed")
    job = order(owner, engine="fal:b/other").json()
    assert waiting(owner, job)["reason"] == "load_failed"


def test_pause_before_a_retry_counts(owner: Person, t4: TestWorker) -> None:
    tell(t4, "warm")
    measured(t4, 1, 800, 200)
    job = order(owner).json()
    run = t4.start(job["id"])
    said = failure(run, "provider_rate_limited", retryable=True)
    assert said.failure
    t4.report(replace(said, failure=replace(said.failure, retry_after_s=50.0)))
    told = waiting(owner, job)
    assert told["reason"] == "retry"
    assert 49 < told["eta_s"] <= 50.8


def test_measures_of_several_workers_are_one_mean(t4: TestWorker) -> None:
    measured(t4, 4, 1000, 1000)
    measured(TestWorker(name="t4-2").hello(), 4, 2000, 1000)
    pace = paces.of("removebg", "birefnet", pixels=3_000_000)
    assert pace == paces.Pace(run_s=1.5, share_s=1.0)
    assert paces.of("removebg", "classical") is None


def test_measures_that_cannot_be_are_passed_over(t4: TestWorker) -> None:
    measured(t4, 5, 1000, 1000)
    measured(t4, 4, -1, 1000)
    measured(t4, 4, 2**40, 1000)
    assert paces.of("removebg", "birefnet") is None


# Where the time went


def test_stages_of_a_run_are_in_the_job(owner: Person, worker: TestWorker) -> None:
    job = owner.submit()
    report = success(worker.start(job["id"]))
    stages: Any = {"read_ms": 2, "run_ms": 40, "store_ms": 1, "x y": 1, "odd_ms": "no"}
    worker.report(replace(report, stages=stages))
    assert owner.get(f"jobs/{job['id']}").json()["stages"] == {
        "read_ms": 2,
        "run_ms": 40,
        "store_ms": 1,
    }


# Giving a device back


def test_unload_is_told_until_the_engine_is_cold(t4: TestWorker) -> None:
    tell(t4, "hot")
    call_command("unload_engine", "removebg/birefnet")
    assert t4.say(queue="t4").unload == ("removebg/birefnet",)
    assert t4.say(queue="t4").unload == ("removebg/birefnet",)
    tell(t4, "cold")
    assert t4.say(queue="t4").unload == ()


def test_unload_of_what_nobody_has_loaded_says_so(t4: TestWorker) -> None:
    tell(t4, "cold")
    with pytest.raises(CommandError, match="no worker"):
        call_command("unload_engine", "removebg/birefnet")
    with pytest.raises(CommandError, match="OPERATION/ENGINE"):
        call_command("unload_engine", "birefnet")
