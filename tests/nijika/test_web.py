"""`python -m nijika.web` itself on a PostgreSQL of its own, which goes and comes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nijika.local import servers
from tests.nijika.conftest import Reply, Site, until

THREADS = 4


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    folder = tmp_path_factory.mktemp("web")
    server = servers.start_postgres(folder, durable=False)
    environment = os.environ | {
        "DATABASE_URL": server.url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
    }
    command = [sys.executable, "-W", "ignore", "manage.py", "migrate", "-v0"]
    subprocess.run(command, check=True, env=environment)
    yield server
    server.stop()


@pytest.fixture
def web(database: servers.Server, tmp_path: Path) -> Iterator[Site]:
    settings = tmp_path / "settings_of_test.py"
    settings.write_text(
        "from nijika.settings import *\nROOT_URLCONF = 'tests.nijika.urls_of_tests'\n"
    )
    site = Site(
        "nijika.web",
        DATABASE_URL=database.url,
        DJANGO_SETTINGS_MODULE="settings_of_test",
        PYTHONPATH=f"{Path.cwd()}:{tmp_path}",
        NIJIKA_WEB_THREADS=str(THREADS),
    )
    yield site
    site.stop()


def crowd(site: Site, count: int = 4 * THREADS) -> list[Reply]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda _: site.get("/api/select"), range(count)))


def test_threads_keep_their_connections(web: Site) -> None:
    backends = {reply.json["backend"] for reply in crowd(web) + crowd(web)}

    assert 1 <= len(backends) <= THREADS


def test_restart_of_the_database_costs_no_request_afterwards(
    web: Site, database: servers.Server
) -> None:
    """Each thread's kept connection is broken, and nobody gets to see it."""
    before = {reply.json["backend"] for reply in crowd(web)}

    database.restart()
    replies = crowd(web)

    assert [reply.status for reply in replies] == [200] * len(replies)
    assert before.isdisjoint(reply.json["backend"] for reply in replies)


def test_requests_without_the_database_are_503_with_retry_after(
    web: Site, database: servers.Server
) -> None:
    crowd(web)
    database.stop()
    try:
        replies = crowd(web)
    finally:
        database.restart()

    for reply in replies:
        assert (reply.status, reply.json["code"]) == (503, "unavailable")
        assert reply.headers["retry-after"] == "2"
        assert reply.headers["x-request-id"] == reply.json["request_id"]
    until(lambda: web.get("/api/select").status == 200)


def test_view_runs_under_the_front_with_its_request_id(web: Site) -> None:
    reply = web.get("/api/whoami", **{"X-Request-Id": "mine"})

    assert reply.json == {"front": True}
    assert reply.headers["x-request-id"] == "mine"
    assert reply.headers["access-control-allow-origin"] == "*"


def test_liveness_may_be_asked_by_pages_that_add_headers(web: Site) -> None:
    asked = {"Origin": "http://a", "Access-Control-Request-Method": "GET"}
    preflight = web.send("OPTIONS", "/health/live", headers=asked)
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"


def test_large_body_needs_a_key_with_a_true_checksum(web: Site) -> None:
    forged = {"X-API-Key": "nj_live_" + "a" * 40}

    assert web.send("POST", "/api/form", b"x" * 2_000_000).status == 401
    assert web.send("POST", "/api/form", b"x" * 2_000_000, forged).status == 401


def test_web_starts_without_the_database(tmp_path: Path) -> None:
    site = Site("nijika.web", DATABASE_URL="postgres://a:b@127.0.0.1:1/c")
    try:
        assert site.get("/health/live").status == 200
        assert site.get("/health/ready").status == 503
    finally:
        output = site.stop()
    assert "could not be checked" in output
    assert "Service Unavailable" not in output


def test_more_threads_than_the_database_has_connections_refuse_to_start(
    database: servers.Server,
) -> None:
    environment = {"DATABASE_URL": database.url, "NIJIKA_WEB_THREADS": "500"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "nijika.web"],
        env=os.environ | environment | {"NIJIKA_PORT": str(servers.free_port())},
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert ended.returncode == 1
    assert "lower NIJIKA_WEB_THREADS" in ended.stdout + ended.stderr
