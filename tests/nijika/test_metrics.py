"""What scrapers read, over HTTP on a server of its own and in the database."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from billing.models import LedgerCheck
from tests.jobs.working import TestWorker, submit, user_with

pytestmark = pytest.mark.django_db(transaction=True)


def read(**headers: str) -> dict[str, float]:
    answer = Client().get("/metrics", **headers)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.content
    lines = [one for one in answer.content.decode().splitlines() if one[0] != "#"]
    return {name: float(value) for name, value in (one.rsplit(" ", 1) for one in lines)}


@pytest.fixture
def user() -> User:
    return user_with("5")


def test_queues_workers_and_books_are_told(user: User, settings: Settings) -> None:
    settings.QUEUES = ["cpu", "a100"]
    worker = TestWorker().hello()
    jobs = submit(user, 3)
    worker.start(jobs[0])
    LedgerCheck.objects.create(differences=2, entries=10, seconds=0.1)

    found = read()

    assert found["nijika_database_up"] == 1
    assert found['nijika_jobs_waiting{queue="cpu"}'] == 2
    assert found['nijika_jobs_running{queue="cpu"}'] == 1
    assert 0 <= found['nijika_oldest_waiting_seconds{queue="cpu"}'] < 60
    assert found['nijika_workers{queue="cpu"}'] == 1
    assert found['nijika_worker_slots{queue="cpu"}'] == 2
    assert found['nijika_jobs_waiting{queue="a100"}'] == 0
    assert found["nijika_ledger_differences"] == 2
    assert found["nijika_webhooks_pending"] == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"REMOTE_ADDR": "192.0.2.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "192.0.2.1"},
        {"REMOTE_ADDR": "127.0.0.1", "HTTP_FORWARDED": "for=192.0.2.1"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": "Bearer wrong"},
        {"REMOTE_ADDR": "192.0.2.1", "HTTP_AUTHORIZATION": "Bearer "},
    ],
)
def test_strangers_find_nothing(headers: dict[str, Any], settings: Settings) -> None:
    settings.METRICS_TOKEN = "scraper"
    assert Client().get("/metrics", **headers).status_code == 404
    settings.METRICS_TOKEN = ""
    assert Client().get("/metrics", **headers).status_code == 404


def test_token_opens_from_anywhere(settings: Settings) -> None:
    settings.METRICS_TOKEN = "scraper"
    read(REMOTE_ADDR="192.0.2.1", HTTP_AUTHORIZATION="Bearer scraper")


def test_labels_are_never_a_users_words() -> None:
    Client().get("/api/v1/jobs/0192aaaa-0000-7000-8000-000000000000")
    answer = Client().get("/metrics").content.decode()
    assert not re.search("[0-9a-f]{8}-[0-9a-f]{4}", answer)
