"""`/internal/link` over HTTP: who may call, and what is no call."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from django.conf import settings

from gpu_worker.contract import Answer, from_json, to_json
from nijika.wsgi import application
from tests.jobs.working import TestWorker, run_of, status, submit, user_with

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = f"Bearer {settings.LINK_TOKEN}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    status_code: int
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


def ask(method: str, body: bytes = b"", authorization: str = "") -> Answered:
    """What the link's door answers, checked against PEP 3333."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": "/internal/link"}
    environ["QUERY_STRING"] = ""
    environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}
    if authorization:
        environ["HTTP_AUTHORIZATION"] = authorization
    statuses: list[str] = []
    chunks = validator(application)(environ, lambda s, h, e=None: statuses.append(s))
    content = b"".join(chunks)
    chunks.close()
    return Answered(status_code=int(statuses[0][:3]), content=content)


def post(body: Any) -> Answered:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask("POST", text, TOKEN)


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
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_link_without_its_token_is_refused(method: str, authorization: str) -> None:
    assert ask(method, authorization=authorization).status_code == 401


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
    answer = ask("GET", authorization=TOKEN)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_call_has_no_other_method() -> None:
    assert ask("DELETE", authorization=TOKEN).status_code == 405
