"""Webhooks on a running stack: real processes, killed while they deliver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests import misbehaving
from tests.flows.house import House, eventually, house
from tests.jobs.webhooks import receiving
from tests.jobs.webhooks.receiving import Receiver, first, receiver, status

SETTINGS = {
    "NIJIKA_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
    "NIJIKA_WEBHOOK_SCHEDULE": "0s,300ms,300ms,300ms,300ms,300ms,300ms,300ms,300ms,1s",
    "NIJIKA_WEBHOOK_CIRCUIT_PAUSE": "300ms",
    "NIJIKA_WEBHOOK_TIMEOUT": "1s",
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder: Path = tmp_path_factory.mktemp("webhooks")
    with house(folder, settings=misbehaving.SETTINGS | SETTINGS) as built:
        built.sql(misbehaving.PRICES)
        yield built


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as receiving_one:
        yield receiving_one


def add(home: House, url: str) -> Any:
    body = {"url": url, "events": ["job.started", "job.succeeded", "job.cancelled"]}
    answer = home.call(
        "POST",
        "/api/v1/webhook-endpoints",
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 201, answer.body
    return answer.body


def told(here: Receiver, job_id: str) -> set[str]:
    return {h.said["type"] for h in here.hooks if h.said["data"]["id"] == job_id}


def test_job_is_told_at_once_and_the_link_in_the_hook_works(
    home: House, here: Receiver
) -> None:
    endpoint = add(home, here.url)
    job_id = home.accepted("sleep")
    both = {"job.started", "job.succeeded"}
    eventually(lambda: told(here, job_id) == both or None, within_s=20)
    [ended] = [hook for hook in here.hooks if hook.said["type"] == "job.succeeded"]
    Webhook(endpoint["secret"]).verify(ended.body, ended.headers)
    [result] = ended.said["data"]["results"]
    assert home.call("GET", result["url"]).status == 200
    job = home.job(job_id)
    assert ended.said["data"]["ended_at"] == job["ended_at"]
    home.call("DELETE", f"/api/v1/webhook-endpoints/{endpoint['id']}")


def test_deliverer_that_is_killed_on_the_way_loses_no_event(
    home: House, here: Receiver
) -> None:
    here.behave = first(status(500), receiving.close, receiving.hang(0.5), status(200))
    endpoint = add(home, here.url)
    jobs = [home.accepted("sleep") for _ in range(15)]
    eventually(lambda: len(here.hooks) >= 3 or None, within_s=20)
    home.kill("fetcher")
    for job_id in jobs:
        home.end_of(job_id)
    wanted = {"job.started", "job.succeeded"}

    def look() -> bool | None:
        home.supervise()
        return all(told(here, job_id) == wanted for job_id in jobs) or None

    # What was on its way is tried again when its lease has ended.
    _end_leases(home)
    eventually(look, within_s=40)
    ids = {hook.id for hook in here.hooks}
    assert len(ids) == 2 * len(jobs)
    home.call("DELETE", f"/api/v1/webhook-endpoints/{endpoint['id']}")


def _end_leases(home: House) -> None:
    """What time does to the leases of a process that is no more."""
    time.sleep(1.5)
    home.sql(
        "UPDATE jobs_webhookdelivery SET lease_until = now()"
        " WHERE lease_until IS NOT NULL AND claimed_at < now() - interval '1.5 s'"
    )
