"""HTTP/1.1 as it comes over a socket: what is refused and how, patience and bounds."""

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from nijika.front.answers import Send
from nijika.front.bodies import Receive
from nijika.front.connections import PIPELINED, Server
from tests.nijika.conftest import Reply, Site, read_reply, until

MB = 1_000_000
Scope = dict[str, Any]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
LIVE = b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n"
LISTED = b"Origin: http://localhost:3000\r\n"


def say(site: Site, request: bytes) -> Reply:
    """The first answer to these bytes."""
    with site.connect() as connection:
        connection.sendall(request)
        return read_reply(connection)


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
    return received


def is_hidden(reply: Reply) -> bool:
    nosniff = reply.headers.get("x-content-type-options") == "nosniff"
    return nosniff and "server" not in reply.headers and "date" in reply.headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"hello there\r\n\r\n",
        b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-A: 1\r\n 2\r\n\r\n",
        b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_problem_and_the_end(
    site: Site, request_bytes: bytes
) -> None:
    with site.connect() as connection:
        connection.sendall(request_bytes)
        reply = read_reply(connection)
        assert connection.recv(1) == b""

    assert (reply.status, reply.json["code"]) == (400, "malformed_body")
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-request-id"] == reply.json["request_id"]
    assert is_hidden(reply) and reply.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /api/x HTTP/1.1\r\n%bX-A: %b\r\n\r\n" % (LISTED, b"a" * 65_000), 431),
        (b"GET /api/x HTTP/1.1\r\n%bX-A: %b" % (LISTED, b"a" * 9 * MB), 431),
        (b"GET /api/x HTTP/1.1\r\n%b%b\r\n" % (LISTED, b"a:b\r\n" * 3000), 431),
        (b"GET /api/%b HTTP/1.1\r\n\r\n" % (b"a" * 33_000), 414),
    ],
)
def test_head_is_bounded(site: Site, request_bytes: bytes, status: int) -> None:
    with site.connect() as connection:
        sending = threading.Thread(target=connection.sendall, args=[request_bytes])
        sending.start()
        reply = read_reply(connection)
        sending.join()

    assert reply.status == status
    assert is_hidden(reply) and reply.headers["x-request-id"]
    page = "http://localhost:3000" if status == 431 else "*"
    assert reply.headers["access-control-allow-origin"] == page


def test_long_head_within_the_bound_is_served(site: Site) -> None:
    head = b"GET /api/echo HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 30_000
    assert len(say(site, head + b"\r\n\r\n").json["environ"]["HTTP_X_A"]) == 30_000


def test_nonsense_behind_a_request_does_not_cost_its_answer(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(b"GET /api/slow?0.2 HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n")
        received = read_all(connection)

    assert received.endswith(b'{"slept": "0.2"}')


def test_broken_chunk_is_refused_and_reaches_nobody(own_site: Site) -> None:
    head = b"POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = say(own_site, head + b"3\r\nabcdef\r\n")

    assert (reply.status, reply.json["code"]) == (400, "malformed_body")
    assert own_site.get("/state").json["echoed"] == 0


def test_header_behind_the_body_is_none_of_the_request(site: Site) -> None:
    head = b"POST /api/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = say(site, head + b"3\r\nabc\r\n0\r\nX-Api-Key: good\r\n\r\n")

    assert reply.json["size"] == 3
    assert "HTTP_X_API_KEY" not in reply.json["environ"]


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_offer_of_another_protocol_is_passed_over(site: Site, body: bytes) -> None:
    """As some clients do with every first request: its body is read all the same."""
    head = (
        b"POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nContent-Length: %d\r\n\r\n"
    )
    with site.connect() as connection:
        connection.sendall(head % len(body) + body)
        assert read_reply(connection).json["size"] == len(body)
        connection.sendall(head % len(body))
        time.sleep(0.1)
        connection.sendall(body)
        assert read_reply(connection).json["size"] == len(body)
        connection.sendall(LIVE)
        assert read_reply(connection).json == {"status": "alive"}


def test_requests_sent_at_once_are_answered_in_their_order(site: Site) -> None:
    paths = [b"/api/slow?0.2", b"/api/slow?0.0", b"/api/slow?0.1"]
    with site.connect() as connection:
        for path in paths:
            connection.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        connection.sendall(b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = read_all(connection)

    slept = [piece[:3] for piece in received.split(b'"slept": "')[1:]]
    assert slept == [b"0.2", b"0.0", b"0.1"]


def test_too_many_requests_at_once_end_the_connection(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(LIVE * 300)
        received = read_all(connection)

    assert received.count(b"HTTP/1.1 200") == PIPELINED + 1


def test_client_of_old_is_answered_without_chunks(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(b"GET /api/feed?2x0.05 HTTP/1.0\r\n\r\n")
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head and b"connection: close" in head
    assert body == b"tick\ntick\n"


def test_head_of_an_answer_to_be_streamed_has_no_body(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(b"HEAD /api/feed?1x0 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert read_reply(connection).body == b""
        connection.sendall(LIVE)
        assert read_reply(connection).json == {"status": "alive"}


def test_connection_is_closed_when_asked(site: Site) -> None:
    with site.connect() as connection:
        connection.sendall(b"GET /x HTTP/1.1\r\nConnection: close\r\n\r\n" + LIVE)
        received = read_all(connection)

    assert received.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in received


@pytest.fixture
def impatient() -> Iterator[Site]:
    site = Site("tests.nijika.served", TEST_IDLE_S="0.6", TEST_CAPACITY="3")
    yield site
    site.stop()


def test_head_that_trickles_is_cut(impatient: Site) -> None:
    with impatient.connect(5) as connection:
        began = time.monotonic()
        with pytest.raises(OSError):
            for byte in b"GET /api/echo HTTP/1.1\r\nX-A: %b" % (b"a" * 60):
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        assert 0.5 < time.monotonic() - began < 3


def test_connection_is_kept_for_a_while(impatient: Site) -> None:
    with impatient.connect(5) as connection:
        for _ in range(4):
            connection.sendall(LIVE)
            assert read_reply(connection).status == 200
            time.sleep(0.3)
        assert connection.recv(1) == b""


def test_request_that_takes_longer_than_the_idle_is_not_cut(impatient: Site) -> None:
    assert impatient.get("/api/slow?1.5").json == {"slept": "1.5"}


def test_who_reads_nothing_of_an_answer_is_cut(impatient: Site) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        connection.connect(("127.0.0.1", impatient.port))
        # Short enough to be handed over as a whole, too long for the kernel alone.
        request = b"GET /api/stream?n=39&size=100000 HTTP/1.1\r\nHost: a\r\n\r\n"
        connection.sendall(request + request)
        until(lambda: impatient.get("/state").json["closed"] == ["0 left"] * 2)
        time.sleep(2.5)
        connection.settimeout(5)
        with suppress(ConnectionResetError):
            assert len(read_all(connection)) < 3_900_000


def test_who_reads_nothing_of_the_last_answer_is_cut(impatient: Site) -> None:
    """Its connection is closing, and takes no more place than it may for a while."""
    path = b"/api/stream?n=39&size=100000"
    with ExitStack() as stack:
        for _ in range(3):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
            connection.connect(("127.0.0.1", impatient.port))
            connection.sendall(b"GET %b HTTP/1.1\r\nConnection: close\r\n\r\n" % path)
        until(lambda: say(impatient, LIVE).status == 503)
        until(lambda: say(impatient, LIVE).status == 200)


def test_beyond_the_open_connections_others_are_refused(impatient: Site) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            busy = stack.enter_context(impatient.connect())
            busy.sendall(b"GET /api/wait?20 HTTP/1.1\r\nHost: a\r\n\r\n")
        reply = say(impatient, LIVE)
        assert (reply.status, reply.json["code"]) == (503, "unavailable")
        assert is_hidden(reply) and reply.headers["retry-after"]
        busy.close()
        until(lambda: say(impatient, LIVE).status == 200)


def test_sigterm_closes_idle_connections_at_once(own_site: Site) -> None:
    with own_site.connect() as connection:
        connection.sendall(LIVE)
        read_reply(connection)
        own_site.process.send_signal(signal.SIGTERM)
        assert connection.recv(1) == b""
    assert own_site.process.wait(3) == 0


@contextmanager
def serving(application: Application) -> Iterator[int]:
    """Such an application on a port, in a thread."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    port: int = listening.getsockname()[1]
    started = threading.Event()
    told: list[Any] = []

    async def serve() -> None:
        server = Server(application)
        told.extend([server, asyncio.get_running_loop()])
        started.set()
        await server.serve([listening])

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    started.wait(5)
    try:
        yield port
    finally:
        server, loop = told
        loop.call_soon_threadsafe(server.stop)
        thread.join(10)


async def answer(send: Send, *bodies: bytes, **headers: str) -> None:
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": given})
    for body in bodies:
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})


def test_body_that_nobody_reads_yet_stays_with_its_sender() -> None:
    read = threading.Event()

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        while not read.is_set():
            await asyncio.sleep(0.01)
        size = 0
        more = True
        while more:
            event = await receive()
            size += len(event["body"])
            more = event["more_body"]
        await answer(send, json.dumps({"size": size}).encode())

    size = 30 * MB
    with (
        serving(application) as port,
        socket.create_connection(("127.0.0.1", port), 10) as one,
    ):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        one.sendall(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size)
        one.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < size:
                sent += one.send(b"x" * 50_000)
        assert sent < 2 * MB
        read.set()
        one.settimeout(10)
        while sent < size:
            sent += one.send(b"x" * min(50_000, size - sent))
        one.shutdown(socket.SHUT_WR)
        assert b'{"size": %d}' % size in read_all(one)


def test_answer_that_nobody_reads_yet_is_not_made() -> None:
    made = 0

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal made
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(150):
            piece = {"type": "http.response.body", "body": b"x" * 100_000}
            await send(piece | {"more_body": True})
            made += 1
        await send({"type": "http.response.body"})

    with serving(application) as port, socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        one.connect(("127.0.0.1", port))
        one.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        time.sleep(0.7)
        before = made
        assert before < 100
        assert read_all(one).endswith(b"\r\n0\r\n\r\n")
        assert made == 150


def test_answer_shorter_than_announced_is_no_answer() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"half", **{"content-length": "8"})

    with (
        serving(application) as port,
        socket.create_connection(("127.0.0.1", port), 5) as one,
    ):
        one.sendall(LIVE * 2)
        assert read_all(one).endswith(b"content-length: 8\r\n\r\nhalf")


def test_client_that_is_given_up_is_cut_and_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})

    with (
        serving(application) as port,
        socket.create_connection(("127.0.0.1", port), 5) as one,
    ):
        one.sendall(LIVE)
        with suppress(ConnectionResetError):
            read_all(one)
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb"])
def test_header_of_two_lines_is_never_sent(value: str) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"text", **{"x-a": value})

    with (
        serving(application) as port,
        socket.create_connection(("127.0.0.1", port), 5) as one,
    ):
        one.sendall(LIVE)
        assert read_all(one) == b""


def test_application_that_is_left_hears_of_it() -> None:
    heard: list[str] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    with serving(application) as port:
        with socket.create_connection(("127.0.0.1", port), 5) as one:
            one.sendall(LIVE)
            until(lambda: heard == ["http.request"])
        until(lambda: heard == ["http.request", "http.disconnect"])
