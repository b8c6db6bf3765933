"""Answers that go on: each piece at once, no thread for any, nothing left behind."""

import signal
import socket
import time

from tests.nijika.conftest import Site, until

THE_END = b"0\r\n\r\n"


def follow(site: Site, feed: str) -> socket.socket:
    connection = site.connect()
    head = f"GET /api/feed?{feed} HTTP/1.1\r\nHost: a\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def follow_many(site: Site, count: int) -> list[socket.socket]:
    """One by one: the site's lane is short."""
    followers = []
    for number in range(1, count + 1):
        followers.append(follow(site, "1x100"))
        until(lambda number=number: site.get("/state").json["opened"] == number)
    return followers


def read_to(connection: socket.socket, text: bytes) -> bytes:
    """What came, up to this text."""
    received = b""
    while text not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def test_every_piece_comes_at_once_and_the_connection_serves_on(site: Site) -> None:
    connection = follow(site, "2x0.5")
    began = time.monotonic()
    first = read_to(connection, b"tick\n")
    assert b"tick" in first and time.monotonic() - began < 0.95
    rest = read_to(connection, THE_END)

    assert first.startswith(b"HTTP/1.1 200")
    head = first.partition(b"\r\n\r\n")[0].lower()
    assert b"x-middleware: was here" in head
    assert b"content-length" not in head
    assert (first + rest).count(b"tick") == 2
    connection.sendall(b"GET /api/echo HTTP/1.1\r\nHost: a\r\n\r\n")
    assert read_to(connection, b"}").startswith(b"HTTP/1.1 200")
    connection.close()


def test_silence_is_filled(site: Site) -> None:
    reply = site.get("/api/feed?1x0.5")

    assert 2 <= reply.body.count(b"idle\n") <= 5
    assert reply.body.endswith(b"tick\n")


def test_head_opens_nothing(own_site: Site) -> None:
    reply = own_site.get("/api/feed?1x100", method="HEAD")

    assert (reply.status, reply.body) == (200, b"")
    assert own_site.get("/state").json["opened"] == 0


def test_feed_that_refuses_is_a_problem(own_site: Site) -> None:
    reply = own_site.get("/api/feed?-1x0")

    assert (reply.status, reply.json["code"]) == (409, "conflict")
    assert reply.headers["x-request-id"]
    assert own_site.get("/state").json["closed_feeds"] == 0


def test_many_follow_on_no_thread_and_leave_nothing(own_site: Site) -> None:
    threads = own_site.get("/state").json["threads"]
    followers = follow_many(own_site, 30)
    assert own_site.get("/state").json["threads"] == threads
    for one in followers:
        one.close()

    until(lambda: own_site.get("/state").json["closed_feeds"] == 30)


def test_server_that_stops_ends_its_streams_as_streams_end(own_site: Site) -> None:
    followers = follow_many(own_site, 5)
    for one in followers:
        read_to(one, b"idle\n")
    began = time.monotonic()
    own_site.process.send_signal(signal.SIGTERM)
    for one in followers:
        read_to(one, THE_END)
        one.close()

    assert own_site.process.wait(10) == 0
    assert time.monotonic() - began < 5
