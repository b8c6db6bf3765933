"""Answers that come later: on a thread, in time or not, for a client that may leave."""

import hashlib
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.nijika import served
from tests.nijika.conftest import Site, read_reply, until


def test_answer_is_made_on_a_thread_once_the_future_ends(site: Site) -> None:
    reply = site.get("/api/resume?yes=0.2")

    assert (reply.status, reply.json["resumed"]) == (200, "yes")
    assert reply.json["thread"].startswith("ordinary")
    assert reply.headers["x-middleware"] == "was here"


def test_thread_may_answer_with_a_stored_file(site: Site) -> None:
    reply = site.get("/api/resume?file=0")

    assert reply.headers["content-type"] == "text/x-python"
    assert reply.body == Path(served.__file__).read_bytes()


def test_thread_may_stream_under_the_headers_of_middleware(site: Site) -> None:
    reply = site.get("/api/resume?stream=0")

    digest = hashlib.sha256(b"x" * 10_000_000).hexdigest()
    assert hashlib.sha256(reply.body).hexdigest() == digest
    assert reply.headers["x-middleware"] == "was here"


def test_refusal_and_bug_on_the_thread_are_problems(site: Site) -> None:
    refused, failed = site.get("/api/resume?conflict=0"), site.get("/api/resume?bug=0")

    assert (refused.status, refused.json["code"]) == (409, "conflict")
    assert (failed.status, failed.json["code"]) == (500, "internal_error")
    assert refused.headers["x-middleware"] == "was here"


def test_what_was_admitted_is_answered_although_its_lane_is_full(
    own_site: Site,
) -> None:
    """Two threads and four places are taken when the future ends; the answer waits for
    a thread and is not refused."""
    with ThreadPoolExecutor(20) as pool:
        resumed = pool.submit(own_site.get, "/api/resume?yes=0.4")
        time.sleep(0.2)
        slow = [pool.submit(own_site.get, "/api/slow?0.6") for _ in range(8)]
        assert resumed.result().json["resumed"] == "yes"
    assert 503 in {one.result().status for one in slow}


def test_wish_that_takes_too_long_is_503(site: Site) -> None:
    began = time.monotonic()
    reply = site.get("/api/wait?0.3")

    assert reply.status == 503
    assert time.monotonic() - began < 5


def test_client_that_goes_away_is_noticed_and_leaves_nothing(own_site: Site) -> None:
    """Many more wait than there are threads, and everybody else is served."""
    threads = own_site.get("/state").json["threads"]
    waiting = []
    for count in range(1, 31):
        waiting.append(_ask(own_site, "/api/wait?60"))
        until(lambda count=count: own_site.get("/state").json["waits"] == count)
    assert own_site.get("/state").json["threads"] == threads
    for one in waiting:
        one.close()

    until(lambda: own_site.get("/state").json["gone"] == 30)


def _ask(site: Site, path: str) -> socket.socket:
    connection = site.connect()
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return connection


def test_connection_serves_another_request_after_a_wait(site: Site) -> None:
    """Looking for the client's leaving takes nothing of its next request."""
    with _ask(site, "/api/wait?0.2") as connection:
        connection.settimeout(10)
        assert read_reply(connection).status == 503
        connection.sendall(b"GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_reply(connection).status == 200
