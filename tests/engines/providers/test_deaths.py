"""A worker that goes between asking and getting: nothing is paid twice."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from tests.engines.house import EngineHouse
from tests.engines.providers.server import Providers, picture, until

ROOM = picture("white", (120, 80))
FAL = "fal:fal-ai/nano-banana/edit"


def ticket_of(home: EngineHouse, job_id: str) -> Any:
    [(checkpoint,)] = home.sql("SELECT checkpoint FROM jobs_job WHERE id = %s", job_id)
    return checkpoint if checkpoint and '"ticket": null' not in checkpoint else None


def begun(home: EngineHouse, providers: Providers) -> str:
    """A job that waits in fal's queue, and whose ticket the platform has."""
    providers.will("fal GET", *["wait"] * 1000)
    job_id = home.began("edit", ROOM, engine=FAL, prompt="It.")
    until(lambda: ticket_of(home, job_id))
    return job_id


def test_killed_worker_leaves_a_ticket_and_the_next_pays_nothing(
    home: EngineHouse, providers: Providers
) -> None:
    job_id = begun(home, providers)
    home.kill("remote")
    providers.will("fal GET")
    job = home.end_of(job_id, within_s=40)
    assert (job["status"], job["charged"]) == ("succeeded", "0.0500")
    assert job["attempt"] == 2
    assert len(providers.asked("fal")) == 1
    assert home.entries(job_id) == [("hold", "-0.0500"), ("settle", "0.0000")]


def test_worker_that_is_told_to_go_leaves_the_request_in_its_queue(
    home: EngineHouse, providers: Providers
) -> None:
    job_id = begun(home, providers)
    process = home.stack.supervisor.programs["remote"].process
    assert process is not None
    process.send_signal(signal.SIGTERM)
    process.wait(15)
    providers.will("fal GET")
    job = home.end_of(job_id, within_s=40)
    assert job["status"] == "succeeded"
    assert len(providers.asked("fal")) == 1
    assert not any(one.cancelled for one in providers.queue.values())


def test_job_that_its_owner_cancels_is_cancelled_at_the_provider(
    home: EngineHouse, providers: Providers
) -> None:
    job_id = begun(home, providers)
    answer = home.call("POST", f"/api/v1/jobs/{job_id}/cancel")
    assert answer.body["status"] == "cancelled"
    until(lambda: all(one.cancelled for one in providers.queue.values()))
    assert home.entries(job_id)[-1] == ("settle", "0.0500")


@pytest.mark.parametrize("engine", ["google", "openai"])
def test_request_without_a_ticket_is_sent_twice_at_most_whoever_dies(
    home: EngineHouse, providers: Providers, engine: str
) -> None:
    providers.will(engine, *["hang"] * 10)
    job_id = home.began("edit", ROOM, engine=engine, prompt="It.")
    for number in (1, 2):
        until(lambda number=number: len(providers.asked(engine)) == number, 40)
        home.kill("remote")
        home.supervise()
    job = home.end_of(job_id, within_s=40)
    assert (job["status"], job["error"]["code"]) == ("failed", "provider_unavailable")
    assert len(providers.asked(engine)) == 2
    assert home.entries(job_id)[-1] == ("settle", "0.0500")


def test_many_jobs_wait_at_providers_at_once(
    home: EngineHouse, providers: Providers
) -> None:
    """More than there are cores: waiting takes none."""
    providers.will("openai", *["hang"] * 6)
    jobs = [home.began("edit", ROOM, engine="openai", prompt="It.") for _ in range(6)]
    until(lambda: len(providers.asked("openai")) == 6)
    asked = {one.headers["Idempotency-Key"] for one in providers.asked("openai")}
    assert asked == {*jobs}
    for job_id in jobs:
        home.call("POST", f"/api/v1/jobs/{job_id}/cancel")
    job = home.done("edit", ROOM, engine="google", prompt="It.")
    assert job["status"] == "succeeded"
