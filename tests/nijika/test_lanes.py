"""A crowd on one lane, and what the others get meanwhile; the end of the process."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from socket import socket

from nijika.local.servers import free_port
from tests.nijika.conftest import Site, read_reply


def ask(stack: ExitStack, site: Site, path: str) -> socket:
    connection = stack.enter_context(site.connect())
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return connection


def test_full_lane_refuses_at_once_and_then_recovers(own_site: Site) -> None:
    """Two threads work, four requests wait; the seventh is refused."""
    with ExitStack() as stack:
        crowd = [ask(stack, own_site, "/api/slow?1.5") for _ in range(6)]
        time.sleep(0.4)
        began = time.monotonic()
        refused = own_site.get("/api/echo")
        took_s = time.monotonic() - began
        statuses = [read_reply(connection).status for connection in crowd]

    assert (refused.status, refused.json["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"] == "1"
    assert took_s < 1
    assert statuses == [200] * 6
    assert own_site.get("/api/echo").status == 200


def test_crowd_of_ordinary_requests_starves_neither_link_nor_liveness(
    own_site: Site,
) -> None:
    with ExitStack() as stack:
        crowd = [ask(stack, own_site, "/api/slow?1.5") for _ in range(40)]
        time.sleep(0.4)
        began = time.monotonic()
        assert own_site.get("/internal/link").json["thread"] == "link-0"
        assert own_site.get("/health/live").json == {"status": "alive"}
        assert time.monotonic() - began < 1
        for connection in crowd:
            assert read_reply(connection).status in (200, 503)


def test_body_for_a_full_lane_is_refused_unread(own_site: Site) -> None:
    with ExitStack() as stack:
        crowd = [ask(stack, own_site, "/api/slow?1.5") for _ in range(6)]
        time.sleep(0.4)
        key = {"X-API-Key": "good"}
        reply = own_site.send("POST", "/api/echo", b"x" * 3_000_000, key)
        assert reply.status == 503
        for connection in crowd:
            read_reply(connection)


def test_sigterm_lets_a_running_request_end(own_site: Site) -> None:
    with ExitStack() as stack:
        running = ask(stack, own_site, "/api/slow?1")
        time.sleep(0.3)
        own_site.process.send_signal(signal.SIGTERM)
        assert read_reply(running).status == 200
    assert own_site.process.wait(5) == 0


def test_sigterm_after_load_ends_the_process_in_seconds(own_site: Site) -> None:
    """With requests in every stage, the hanging ones included."""
    with ExitStack() as stack:
        for path in ("/api/slow?60", "/api/finish?late=60", "/health/live"):
            for _ in range(10):
                ask(stack, own_site, path)
        reading = stack.enter_context(own_site.connect())
        reading.sendall(
            b"POST /api/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        )
        time.sleep(0.3)
        began = time.monotonic()
        own_site.process.send_signal(signal.SIGTERM)
        assert own_site.process.wait(12) == 0
        assert time.monotonic() - began < 10


def test_start_that_the_check_refuses_says_why() -> None:
    program = """
import dataclasses, uvloop
from nijika import web
from nijika.front.server import Front
from tests.nijika import served
options = dataclasses.replace(served.options(), check=lambda: "too many threads")
uvloop.run(web.serve(Front(options)))
"""
    command = [sys.executable, "-c", program]
    environment = os.environ | {"NIJIKA_PORT": str(free_port())}
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=20, env=environment
    )

    assert ended.returncode == 1
    assert "too many threads" in ended.stdout + ended.stderr


def test_port_in_use_refuses_to_start(site: Site) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.nijika.served"],
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | {"NIJIKA_PORT": str(site.port)},
    )

    assert ended.returncode != 0
    assert "Address already in use" in ended.stderr
