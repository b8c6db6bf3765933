"""The world of the API's tests, and people who come by browser instead of by key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from accounts.models import User
from jobs.models import Job
from jobs.pages import spending
from tests.jobs.api.conftest import DATA_URL, PNG, database, succeed, worker, world
from tests.jobs.working import TestWorker, user_with

__all__ = ["DATA_URL", "PNG", "database", "succeed", "worker", "world"]
BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Somebody's browser. Its posts carry the token, as our pages' do."""

    client: Client
    user: User | None = None

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(path, headers=headers)

    def status(self, path: str) -> int:
        """Of an answer that nobody reads; its file is closed."""
        answer = self.get(path)
        answer.close()
        return int(answer.status_code)

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.content)
        return str(answer.content.decode())

    def press(self, path: str, **fields: str) -> Any:
        """A form of a page."""
        return self.client.post(path, fields)

    def ask(self, path: str, body: Any, **headers: str) -> Any:
        """A request of a page's script."""
        return self.client.post(
            path,
            json.dumps(body),
            content_type="application/json",
            headers={"Accept": "application/json"} | headers,
        )

    def submit(self, mode: str = "live", **changes: Any) -> Job:
        body = {"operation": "removebg", "image": DATA_URL} | changes
        answer = self.ask(f"/playground/jobs?mode={mode}", body)
        assert answer.status_code == 202, answer.content
        return Job.objects.get(pk=UUID(answer.json()["id"]))


def visitor(user: User | None) -> Visitor:
    client = Client()
    if user is not None:
        client.force_login(user, backend=BACKEND)
    return Visitor(client=client, user=user)


@pytest.fixture(autouse=True)
def fresh_sums(settings: Settings) -> Iterator[None]:
    settings.WEBHOOK_ALLOWED_HOSTS = ["127.0.0.1"]
    spending.forget()
    yield
    spending.forget()


@pytest.fixture
def owner() -> Visitor:
    return visitor(user_with("5"))


@pytest.fixture
def stranger() -> Visitor:
    return visitor(user_with("5"))


@pytest.fixture
def nobody() -> Visitor:
    return visitor(None)


@pytest.fixture
def done(owner: Visitor, worker: TestWorker) -> Job:
    """A job of the owner's that has succeeded."""
    job = owner.submit()
    succeed(worker, str(job.pk))
    job.refresh_from_db()
    return job
