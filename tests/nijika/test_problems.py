import logging
from typing import Any

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

pytestmark = pytest.mark.urls("tests.nijika.urls_of_tests")


@pytest.fixture
def web() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ("short", 402, "insufficient_credits"),
        ("busy", 503, "unavailable"),
        ("conflict", 409, "conflict"),
        ("http404", 404, "not_found"),
        ("permission", 403, "forbidden"),
        ("toobig", 413, "payload_too_large"),
        ("suspicious", 400, "malformed_body"),
        ("host", 400, "malformed_body"),
        ("database", 503, "unavailable"),
        ("interface", 503, "unavailable"),
        ("unicode", 400, "malformed_body"),
        ("bug", 500, "internal_error"),
    ],
)
def test_exception_is_answered_as_its_problem(
    web: Client, how: str, status: int, code: str
) -> None:
    reply = web.get(f"/api/fail/{how}", headers={"X-Request-Id": "its-id"})

    assert reply.status_code == status
    assert reply["Content-Type"] == "application/problem+json"
    problem = reply.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == reply["X-Request-Id"] == "its-id"
    assert {"type", "title", "detail"} <= set(problem)
    assert reply["Access-Control-Allow-Origin"] == "*"


def test_fields_of_an_error_are_members_and_credits_have_four_decimals(
    web: Client,
) -> None:
    problem = web.get("/api/fail/short").json()

    assert problem["needed"] == "0.5000"
    assert problem["title"] == "Credits are short."
    assert problem["detail"] == "a job costs more than you have"
    assert "_secret" not in problem


def test_outages_say_when_to_come_again(web: Client) -> None:
    assert web.get("/api/fail/database")["Retry-After"] == "2"
    assert web.get("/api/fail/busy")["Retry-After"] == "7"


def test_bug_is_logged_with_the_request_id_and_not_told(
    web: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        reply = web.get("/api/fail/bug", headers={"X-Request-Id": "find-me"})

    assert b"secret" not in reply.content
    record = next(r for r in caplog.records if "find-me" in r.getMessage())
    assert record.exc_info is not None
    assert "a secret prompt" in str(record.exc_info[1])


def test_refusals_are_not_logged(web: Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        web.get("/api/fail/conflict")
        web.get("/api/none")

    assert [r for r in caplog.records if r.levelno > logging.WARNING] == []


@pytest.mark.parametrize("debug", [False, True])
def test_unknown_path_is_a_404_problem(
    web: Client, settings: Settings, debug: bool
) -> None:
    settings.DEBUG = debug
    reply = web.get("/api/none")

    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


def test_wrong_method_is_a_405_problem_that_says_what_is_allowed(web: Client) -> None:
    reply = web.post("/api/get")

    assert (reply.status_code, reply["Allow"]) == (405, "GET")
    assert reply.json()["code"] == "method_not_allowed"


def test_host_that_is_not_ours_is_a_400_problem(
    web: Client, settings: Settings
) -> None:
    settings.ALLOWED_HOSTS = ["ours"]
    reply = web.get("/api/host", headers={"Host": "theirs"})

    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_body")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"x", "multipart/form-data"),
        (b"a=1", "application/x-www-form-urlencoded; charset=utf-16"),
        (b"&".join(b"a=1" for _ in range(200)), "application/x-www-form-urlencoded"),
    ],
)
def test_form_that_django_refuses_is_a_400_problem(
    web: Client, body: bytes, kind: str
) -> None:
    reply: Any = web.generic("POST", "/api/form", body, kind)

    assert (reply.status_code, reply.json()["code"]) == (400, "malformed_body")


def test_pages_keep_djangos_own_errors(web: Client) -> None:
    reply = web.get("/admin/none")

    assert reply.status_code == 404
    assert reply["Content-Type"].startswith("text/html")
    assert reply["X-Request-Id"]
    assert web.get("/admin/fail/bug").status_code == 500


@pytest.mark.parametrize("offered", ["", "with space", "x" * 65, "a\nb", "é"])
def test_request_id_that_is_not_sane_is_replaced(web: Client, offered: str) -> None:
    reply = web.get("/api/whoami", HTTP_X_REQUEST_ID=offered)

    assert len(reply["X-Request-Id"]) == 24


def test_preflight_is_answered_without_the_view(web: Client) -> None:
    headers = {"Origin": "https://a.b", "Access-Control-Request-Method": "POST"}
    reply = web.options("/api/fail/bug", headers=headers)

    assert (reply.status_code, reply.content) == (204, b"")
    assert "POST" in reply["Access-Control-Allow-Methods"]
    assert "Idempotency-Key" in reply["Access-Control-Allow-Headers"]
    assert reply["Access-Control-Allow-Origin"] == "*"


def test_admin_is_closed_to_other_origins(web: Client) -> None:
    assert "Access-Control-Allow-Origin" not in web.get("/admin/none").headers
