"""Huge, slow, cut and refused request bodies, and what their senders get to read."""

import hashlib
import socket
import time
from functools import partial

import pytest

from tests.nijika.conftest import Reply, Site, read_reply, until

MB = 1_000_000


def head(size: int, *lines: str, path: str = "/api/echo") -> bytes:
    request = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {size}", *lines]
    return "\r\n".join([*request, "", ""]).encode()


def test_announced_too_large_is_413_before_a_byte_is_sent(site: Site) -> None:
    with site.connect(2) as connection:
        connection.sendall(head(9 * MB, "X-API-Key: good"))
        reply = read_reply(connection)

    assert (reply.status, reply.json["code"]) == (413, "payload_too_large")
    assert reply.headers["connection"] == "close"
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["access-control-allow-origin"] == "*"


def test_413_reaches_a_client_on_a_slow_line(site: Site) -> None:
    """It sends 9 MB in three seconds and reads nothing before."""
    with site.connect() as connection:
        connection.sendall(head(9 * MB, "X-API-Key: good"))
        for _ in range(30):
            connection.sendall(b"x" * (9 * MB // 30))
            time.sleep(0.1)
        assert read_reply(connection).status == 413


@pytest.mark.parametrize("size", [9 * MB, 60 * MB])
def test_413_reaches_a_client_that_sends_everything_first(
    site: Site, size: int
) -> None:
    """As Python's own http.client does: it reads only when all is sent."""
    reply = site.send("POST", "/api/echo", b"x" * size, {"X-API-Key": "good"})

    assert reply.json["code"] == "payload_too_large"
    assert reply.headers["connection"] == "close"


def test_chunked_too_large_is_413_while_sending(site: Site) -> None:
    pieces = (b"x" * 100_000 for _ in range(120))

    reply = site.send("POST", "/api/echo", pieces, {"X-API-Key": "good"})

    assert reply.json["code"] == "payload_too_large"
    until(lambda: site.get("/state").json["spooled"] == 0)


def test_connection_ends_soon_after_a_refusal(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(head(9 * MB) + b"x" * 100)
        read_reply(connection)
        began = time.monotonic()
        assert connection.recv(1) == b""
        assert time.monotonic() - began < 7


def test_multipart_has_its_own_limit(site: Site) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b", "X-API-Key": "good"}

    assert site.send("POST", "/api/echo", b"x" * 7 * MB, kind).status == 413
    assert site.send("POST", "/api/echo", b"x" * 5 * MB, kind).status == 200


def test_link_calls_have_their_own_limit_and_no_look_at_keys(site: Site) -> None:
    def call(size: int) -> Reply:
        return site.send("POST", "/internal/link", b"x" * size)

    assert call(1_500_000).json["thread"].startswith("link")
    assert call(2_500_000).status == 413


@pytest.mark.parametrize("key", [{}, {"X-API-Key": "bad"}])
def test_large_body_of_a_stranger_is_401_unread(
    site: Site, key: dict[str, str]
) -> None:
    reply = site.send("POST", "/api/echo", b"x" * 2 * MB, key)

    assert (reply.status, reply.json["code"]) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"] == "Bearer"


def test_large_chunked_body_of_a_stranger_is_401(site: Site) -> None:
    pieces = (b"x" * 100_000 for _ in range(20))

    assert site.send("POST", "/api/echo", pieces).status == 401


def test_small_body_of_a_stranger_is_the_applications_business(site: Site) -> None:
    assert site.send("POST", "/api/echo", b"x" * MB).status == 200


def test_expect_continue_is_answered_before_the_body(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(head(5, "Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"hello")
        assert read_reply(connection).json["size"] == 5


def test_expect_continue_of_a_refused_body_gets_the_refusal(site: Site) -> None:
    with site.connect(5) as connection:
        connection.sendall(head(9 * MB, "Expect: 100-continue"))
        assert read_reply(connection).status == 413
        assert connection.recv(1) == b""


def test_slow_body_is_408(site: Site) -> None:
    with site.connect(5) as connection:
        connection.sendall(head(1000))
        began = time.monotonic()
        reply = read_reply(connection)

    assert (reply.status, reply.json["code"]) == (408, "request_timeout")
    assert time.monotonic() - began < 3


def test_body_that_trickles_below_the_pace_is_408(site: Site) -> None:
    """Bytes keep coming, so that no single wait is long."""
    with site.connect(5) as connection:
        connection.sendall(head(5000))
        reply = None
        for _ in range(100):
            connection.sendall(b"x")
            connection.settimeout(0.05)
            try:
                reply = read_reply(connection)
                break
            except TimeoutError:
                continue

    assert reply is not None and reply.status == 408


def test_body_within_the_pace_may_take_its_time(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(head(12_000))
        for _ in range(15):
            connection.sendall(b"x" * 800)
            time.sleep(0.1)
        assert read_reply(connection).json["size"] == 12_000


def test_cut_body_reaches_nobody_and_frees_its_spool(own_site: Site) -> None:
    with own_site.connect() as connection:
        connection.sendall(head(5 * MB, "X-API-Key: good") + b"x" * 2 * MB)
        until(lambda: own_site.get("/state").json["spooled"] > MB)

    until(lambda: own_site.get("/state").json["spooled"] == 0)
    assert own_site.get("/api/echo").status == 200


def test_cut_body_is_never_treated_as_whole(own_site: Site) -> None:
    """A view that saw the half of it would leave its mark: it counts its calls."""
    with own_site.connect() as connection:
        connection.sendall(head(5000) + b"x" * 2000)
        time.sleep(0.2)
    time.sleep(0.3)

    assert own_site.get("/state").json["echoed"] == 0


def test_client_that_stops_in_the_middle_and_still_reads_is_told(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(head(5000) + b"x" * 2000)
        connection.shutdown(socket.SHUT_WR)
        reply = read_reply(connection)

    assert (reply.status, reply.json["code"]) == (400, "malformed_body")


def test_spool_over_budget_is_503_with_retry_after(own_site: Site) -> None:
    """20 MB in the house: two bodies of 7 MB hang, the third of 7 MB is too much."""
    held = [own_site.connect() for _ in range(2)]
    for connection in held:
        connection.sendall(head(7 * MB + 1, "X-API-Key: good") + b"x" * 7 * MB)
    until(lambda: own_site.get("/state").json["spooled"] == 14 * MB)

    reply = own_site.send("POST", "/api/echo", b"x" * 7 * MB, {"X-API-Key": "good"})

    assert (reply.status, reply.json["code"]) == (503, "unavailable")
    assert reply.headers["retry-after"] == "5"
    for connection in held:
        connection.sendall(b"x")
        assert read_reply(connection).json["size"] == 7 * MB + 1
        connection.close()
    until(lambda: own_site.get("/state").json["spooled"] == 0)


def has(site: Site, **wanted: int) -> bool:
    state = site.get("/state").json
    return {name: state[name] for name in wanted} == wanted


def test_what_finds_no_room_in_memory_goes_to_disk(own_site: Site) -> None:
    """4 MB of bodies in memory: of two with 3 MB one, and none of 5 MB."""
    held = [own_site.connect() for _ in range(2)]
    for connection, spooled in zip(held, (3 * MB, 6 * MB), strict=True):
        connection.sendall(head(3 * MB + 1, "X-API-Key: good") + b"x" * 3 * MB)
        until(partial(has, own_site, spooled=spooled, held=3 * MB))

    large = own_site.send("POST", "/api/echo", b"y" * 5 * MB, {"X-API-Key": "good"})

    assert large.json["sha256"] == hashlib.sha256(b"y" * 5 * MB).hexdigest()
    for connection in held:
        connection.sendall(b"z")
        wanted = hashlib.sha256(b"x" * 3 * MB + b"z").hexdigest()
        assert read_reply(connection).json["sha256"] == wanted
        connection.close()
    until(partial(has, own_site, spooled=0, held=0))
