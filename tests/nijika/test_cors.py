"""What a browser is told, by Django's answers and by the front's own."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from tests.nijika.conftest import Site

LISTED, OTHER = "http://localhost:3000", "https://pages.example"
ALLOW, CREDENTIALS = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"


@pytest.mark.parametrize("path", ["/api/none", "/removebg", "/health", "/health/live"])
def test_listed_origin_may_send_credentials(path: str) -> None:
    answer = Client().get(path, headers={"Origin": LISTED})
    assert (answer[ALLOW], answer[CREDENTIALS]) == (LISTED, "true")
    assert "Origin" in answer["Vary"]


def test_other_origin_may_call_without_credentials() -> None:
    answer = Client().get("/api/none", headers={"Origin": OTHER})
    assert answer[ALLOW] == "*"
    assert CREDENTIALS not in answer


def test_other_origin_is_told_nothing_where_only_listed_ones_may(
    settings: Settings,
) -> None:
    settings.CORS_ANY_ORIGIN = False
    answer = Client().get("/api/none", headers={"Origin": OTHER})
    assert ALLOW not in answer
    answer = Client().get("/api/none", headers={"Origin": LISTED})
    assert answer[ALLOW] == LISTED


def test_preflight_holds_for_an_hour() -> None:
    headers = {"Origin": LISTED, "Access-Control-Request-Method": "POST"}
    answer = Client().options("/api/v1/jobs", headers=headers)
    assert (answer.status_code, answer["Access-Control-Max-Age"]) == (204, "3600")
    assert (answer[ALLOW], answer[CREDENTIALS]) == (LISTED, "true")


def test_preflight_allows_the_headers_that_libraries_add() -> None:
    headers = {"Origin": LISTED, "Access-Control-Request-Method": "POST"}
    asked = headers | {"Access-Control-Request-Headers": "traceparent,x-api-key"}
    answer = Client().options("/api/v1/jobs", headers=asked)
    allowed = answer["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
    assert {"authorization", "idempotency-key", "traceparent"} <= set(allowed)
    assert "Access-Control-Request-Headers" in answer["Vary"]
    asked["Access-Control-Request-Headers"] = "a b; c"
    answer = Client().options("/api/v1/jobs", headers=asked)
    assert "a b" not in answer["Access-Control-Allow-Headers"]


def test_liveness_is_readable_for_a_listed_page(site: Site) -> None:
    told = site.get("/health/live", Origin=LISTED)
    assert (told.status, told.headers[ALLOW.lower()]) == (200, LISTED)


def test_signed_links_are_the_same_for_every_page() -> None:
    answers = [
        Client().get("/files/none/0", headers={"Origin": one})
        for one in (LISTED, OTHER)
    ]
    assert {answer[ALLOW] for answer in answers} == {"*"}
    assert not any("Origin" in answer.get("Vary", "") for answer in answers)


@pytest.mark.parametrize("path", ["/api/echo", "/health/live", "/api/fail"])
def test_every_answer_hides_the_server_and_forbids_sniffing(
    site: Site, path: str
) -> None:
    headers = site.get(path).headers
    assert "server" not in headers
    assert path == "/api/echo" or headers["x-content-type-options"] == "nosniff"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/jobs", 401),
        ("DELETE", "/api/removebg", 405),
        ("OPTIONS", "/api/removebg", 204),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_no_answer_of_djangos_may_be_sniffed(
    method: str, path: str, status: int, debug: bool, settings: Settings
) -> None:
    settings.DEBUG = debug
    asked = {"Origin": OTHER, "Access-Control-Request-Method": "POST"}
    headers = asked if method == "OPTIONS" else {}
    answer = Client().generic(method, path, headers=headers)
    assert (answer.status_code, answer["X-Content-Type-Options"]) == (status, "nosniff")


def test_refusal_by_the_front_itself_is_readable_for_a_listed_page(site: Site) -> None:
    headers = {"Origin": LISTED, "Content-Type": "application/json"}
    answer = site.send("POST", "/api/echo", b"x" * 2_000_000, headers=headers)
    assert answer.status == 401
    allowed = ALLOW.lower(), CREDENTIALS.lower()
    assert [answer.headers[name] for name in allowed] == [LISTED, "true"]
    assert answer.headers["x-content-type-options"] == "nosniff"
