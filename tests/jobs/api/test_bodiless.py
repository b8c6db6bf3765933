"""POSTs that take nothing: what is sent to them all the same is refused by name."""

from typing import Any

import pytest
from django.conf import settings

from tests.jobs.api.conftest import Person, fields_of, problem

NONE = "00000000-0000-7000-8000-000000000000"
PATHS = [
    f"jobs/{NONE}/cancel",
    f"batches/{NONE}/cancel",
    f"keys/{NONE}/rotate",
    f"webhook-endpoints/{NONE}/rotate",
    f"webhook-endpoints/{NONE}/ping",
    f"webhook-deliveries/{NONE}/replay",
    "webhook-secret/rotate",
]


@pytest.mark.parametrize("path", PATHS)
def test_member_that_nothing_heeds_is_refused_by_name(owner: Person, path: str) -> None:
    answer = owner.post(path, {"expires_at": "2030-01-01T00:00:00Z", "name": "new"})
    assert fields_of(answer) == {("expires_at", "unknown"), ("name", "unknown")}


def test_refused_cancel_cancels_nothing(owner: Person, nobody: Person) -> None:
    job = owner.submit()
    path = f"jobs/{job['id']}/cancel"
    problem(nobody.post(path, {"if_queued": True}), 401, "unauthenticated")
    assert fields_of(owner.post(path, {"if_queued": True})) == {
        ("if_queued", "unknown")
    }
    assert owner.get(f"jobs/{job['id']}").json()["status"] == "queued"


@pytest.mark.parametrize("body", [b"", b"{}", b" { } ", b"null"])
def test_nothing_can_be_said_in_many_ways(owner: Person, body: bytes) -> None:
    path = f"jobs/{owner.submit()['id']}/cancel"
    assert owner.send(path, body, "application/json").status_code == 200


def test_what_is_not_json_is_not_looked_at(owner: Person) -> None:
    path = f"jobs/{owner.submit()['id']}/cancel"
    form = owner.send(path, b"a=1", "application/x-www-form-urlencoded")
    assert form.status_code == 200


@pytest.mark.parametrize("body", [b"[]", b'"now"', b"{", b'{"a": 1, "a": 2}'])
def test_json_that_is_no_object_is_malformed(owner: Person, body: bytes) -> None:
    answer: Any = owner.send(PATHS[0], body, "application/json")
    problem(answer, 400, "malformed_body")


def test_body_beyond_the_limit_is_refused(owner: Person) -> None:
    body = b" " * (settings.JSON_LIMIT_BYTES + 1)
    problem(owner.send(PATHS[0], body, "application/json"), 413, "payload_too_large")
