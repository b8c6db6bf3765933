"""Headers that every answer of a running stack has, and the one that none has."""

from __future__ import annotations

from typing import Any

from tests.flows.house import House
from tests.onthefly.conftest import PHOTOS, Signer

PAGE = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
JSON = {"Content-Type": "application/json"}
PREFLIGHTS = ["/api/v1/jobs", "/api/removebg", "/health/live", "/files/x/0"]


def check(home: House, method: str, path: str, status: int, **sent: Any) -> None:
    answer = home.call(method, path, **sent)
    assert answer.status == status, (path, answer.body)
    assert "Server" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"] and answer.headers["Date"]


def test_no_answer_names_its_server_or_may_be_sniffed(
    home: House, owner: Signer, tiger: str
) -> None:
    job_id = home.accepted("resize", PHOTOS / "animal_white_tiger.jpg", width=40)
    job = home.end_of(job_id)
    result = f"/api/v1/jobs/{job_id}/result"

    for path, status in [
        ("/", 200),
        ("/sign-in", 200),
        ("/static/admin/css/base.css", 200),
        ("/static/none", 404),
        ("/nothing", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/schema", 200),
        ("/api/v1/account", 200),
        ("/api/v1/docs", 200),
        (f"/api/v1/jobs/{job_id}", 200),
        (f"/api/v1/jobs/{job_id}?wait=1", 200),
        (f"/api/v1/jobs/{job_id}/events", 200),
        (result, 200),
        (job["results"][0]["url"], 200),
        ("/files/none/0", 403),
        (owner.plain("rs:fill:50:50", tiger), 200),
        (owner.plain("rs:fill:50:50", tiger), 200),
        ("/img/none/plain/x", 403),
        ("/health", 200),
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/metrics", 200),
    ]:
        check(home, "GET", path, status)
        check(home, "HEAD", path, status)
    for path in PREFLIGHTS:
        check(home, "OPTIONS", path, 204, headers=PAGE)
    check(home, "POST", "/health/live", 405, body=b"")
    for body in (b"{", b"x" * 2_000_000):
        check(home, "POST", "/api/v1/jobs", 401, body=body, key="none", headers=JSON)
