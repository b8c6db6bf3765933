"""Three people: the owner, a stranger and nobody; and a worker that ends jobs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from PIL import Image
from pytest_django.fixtures import Settings

from accounts import issuing
from accounts.models import User
from billing import prices
from billing.models import Price
from gpu_worker.contract import EngineSpec
from jobs import engines
from jobs.storage import store
from jobs.workers import engine_states, paces
from tests.jobs.working import TestWorker, success, user_with

PARAMETERS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "format": {"enum": ["png", "webp"], "default": "png", "x-output": True},
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "crop": {"type": "boolean"},
        "note": {"type": "string", "maxLength": 20},
        "points": {"type": "array", "items": {"type": "integer"}},
    },
}
SPECS = [
    EngineSpec(
        operation="removebg", engine="classical", queue="cpu", parameters=PARAMETERS
    ),
    EngineSpec(
        operation="edit",
        engine="tester",
        queue="cpu",
        parameters=PARAMETERS,
        images=(0, 3),
        roles=("mask",),
    ),
]


def make_image(form: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, form)
    return out.getvalue()


PNG = make_image()
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody with a key, or without: `get` and `post` send what a client would."""

    client: Client
    user: User | None = None
    headers: dict[str, str]

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(self._url(path), headers=self.headers | headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.client.post(
            self._url(path),
            content,
            content_type="application/json",
            headers=self.headers | {"Content-Type": "application/json"} | headers,
        )

    def form(self, path: str = "jobs", **fields: Any) -> Any:
        """A multipart form as Django's own client writes it."""
        return self.client.post(self._url(path), fields, headers=self.headers)

    def send(self, path: str, content: bytes, content_type: str) -> Any:
        # Django's client leaves the type out where there is no content.
        headers = self.headers | {"Content-Type": content_type}
        return self.client.post(
            self._url(path), content, content_type=content_type, headers=headers
        )

    def delete(self, path: str) -> Any:
        return self.client.delete(self._url(path), headers=self.headers)

    def submit(self, **changes: Any) -> dict[str, Any]:
        body = {"operation": "removebg", "image": DATA_URL} | changes
        answer = self.post("jobs", body)
        assert answer.status_code == 202, answer.content
        made: dict[str, Any] = answer.json()
        return made

    @staticmethod
    def _url(path: str) -> str:
        return path if path.startswith("/") else f"/api/v1/{path}"


def person(user: User | None, **options: Any) -> Person:
    headers = {}
    if user is not None:
        headers = {"X-API-Key": issuing.issue(user, **options).secret}
    return Person(client=Client(), user=user, headers=headers)


@pytest.fixture
def database(transactional_db: None) -> None:
    """Requests are committed by threads of their own, so tests commit too. A module
    whose requests are all refused takes the quicker `db` instead."""


@pytest.fixture(autouse=True)
def world(database: None, settings: Settings, tmp_path: Path) -> Iterator[None]:
    """Engines that workers have announced, prices, and a store of the test's own."""
    settings.STORAGE_URL = f"file://{tmp_path}/store"
    settings.PUBLIC_URL = "https://nijika.example"
    settings.DEFAULT_ENGINES = {
        "removebg": "classical",
        "edit": "tester",
        "upscale": "nobody",
    }
    Price.objects.bulk_create(
        [
            Price(operation=operation, credits="0.0100")
            for operation in ("removebg", "edit", "upscale", "resize")
        ],
        update_conflicts=True,
        unique_fields=["operation", "engine", "own_key"],
        update_fields=["credits"],
    )
    prices.forget()
    engines.announce(SPECS)
    engine_states.forget()
    paces.forget()
    yield
    engines.forget()
    prices.forget()


@pytest.fixture
def owner() -> Person:
    return person(user_with("5"))


@pytest.fixture
def stranger() -> Person:
    return person(user_with("5"))


@pytest.fixture
def nobody() -> Person:
    return person(None)


@pytest.fixture
def worker() -> TestWorker:
    return TestWorker().hello()


def succeed(worker: TestWorker, job_id: str, content: bytes = PNG) -> None:
    """Run a job to its success, with this file as its result."""
    run = worker.start(UUID(job_id))
    report = success(run, size_bytes=len(content))
    store().write(report.results[0].key, content)
    assert worker.report(report) == {run}


def count_of(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """Check that the answer is this problem, in full; gives its members."""
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == answer["X-Request-Id"]
    assert body["type"] and body["title"] and body["detail"]
    return body


def fields_of(answer: Any, code: str = "validation_error") -> set[tuple[str, str]]:
    return {(e["field"], e["code"]) for e in problem(answer, 422, code)["errors"]}
