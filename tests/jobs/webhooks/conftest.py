from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from accounts.models import User
from jobs.models import WebhookEndpoint
from jobs.webhooks import endpoints, events
from jobs.webhooks.delivering import Deliverer
from jobs.webhooks.endpoints import Owner
from tests.jobs.webhooks.receiving import Receiver, receiver
from tests.jobs.working import TestWorker, user_with

Turns = Callable[..., None]


@pytest.fixture(autouse=True)
def short_times(transactional_db: None, settings: Settings, tmp_path: Path) -> None:
    settings.STORAGE_URL = f"file://{tmp_path}/store"
    settings.PUBLIC_URL = "https://nijika.example"
    settings.WEBHOOK_ALLOWED_HOSTS = ["127.0.0.1"]
    settings.WEBHOOK_SCHEDULE_S = [0.0] + [0.05] * 9
    settings.WEBHOOK_CIRCUIT_PAUSE_S = 0.1
    settings.WEBHOOK_TIMEOUT_S = 0.5
    settings.POLL_S = 0.05


@pytest.fixture
def deliverer() -> Iterator[Deliverer]:
    deliverer = Deliverer()
    yield deliverer
    end = time.monotonic() + 5
    while deliverer.on_their_way and time.monotonic() < end:
        time.sleep(0.01)
    deliverer.close()


@pytest.fixture
def turns(deliverer: Deliverer) -> Turns:
    """Turn until this is so."""

    def until(so: Callable[[], object], *, within_s: float = 15) -> None:
        end = time.monotonic() + within_s
        while not so():
            assert time.monotonic() < end, "it never came"
            deliverer.turn()

    return until


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as receiving:
        yield receiving


@pytest.fixture
def owner() -> User:
    return user_with("50")


@pytest.fixture
def worker() -> TestWorker:
    return TestWorker().hello()


def endpoint_of(
    user: User,
    url: str,
    *types: str,
    test: bool = False,
) -> WebhookEndpoint:
    return endpoints.create(
        Owner(user_id=user.pk, test=test),
        url=url,
        events=types or events.JOB_ENDS,
    )
