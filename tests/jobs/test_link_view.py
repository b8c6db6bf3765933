"""`/internal/link` over HTTP: who may call, and what is no call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from gpu_worker.contract import Answer, from_json, to_json
from tests.jobs.working import TestWorker, run_of, status, submit, user_with

pytestmark = pytest.mark.django_db


def post(body: Any, token: str = "", **headers: str) -> Any:
    headers = {"Authorization": f"Bearer {token or settings.LINK_TOKEN}"} | headers
    text = body if isinstance(body, bytes | str) else json.dumps(body)
    return Client(enforce_csrf_checks=True).post(
        "/internal/link", text, content_type="application/json", headers=headers
    )


def test_call_over_http_is_answered_in_the_contract() -> None:
    [job] = submit(user_with("1"))
    worker = TestWorker()
    answer = from_json(Answer, post(to_json(worker.call())).json())
    worker.incarnation = answer.incarnation
    call = worker.call(claims=(run_of(job),))
    answer = from_json(Answer, post(to_json(call)).json())
    assert answer.grants[0].granted
    assert status(job) == "running"


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Basic x", "Bearer \u00e9"],
)
@pytest.mark.parametrize("method", ["get", "post", "put"])
def test_link_without_its_token_is_refused(method: str, authorization: str) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = getattr(Client(), method)("/internal/link", headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{}",
        "{",
        b"\xff",
        "[" * 100_000,
        {"name": 1},
    ],
)
def test_body_that_is_no_call_is_malformed(body: Any) -> None:
    answer = post(body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


def test_call_with_an_impossible_head_is_malformed() -> None:
    answer = post(to_json(TestWorker(name="x" * 81).call()))
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_body")


def test_call_in_another_version_of_the_contract_conflicts() -> None:
    answer = post(to_json(TestWorker().call(version=99)))
    assert (answer.status_code, answer.json()["code"]) == (409, "contract_version")


def test_member_that_a_newer_worker_sends_is_ignored() -> None:
    assert post(to_json(TestWorker().call()) | {"new": 1}).status_code == 200


def test_health_of_the_link_is_told_to_token_holders() -> None:
    token = {"Authorization": f"Bearer {settings.LINK_TOKEN}"}
    answer = Client().get("/internal/link", headers=token)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_call_has_no_other_method() -> None:
    token = {"Authorization": f"Bearer {settings.LINK_TOKEN}"}
    assert Client().delete("/internal/link", headers=token).status_code == 405
