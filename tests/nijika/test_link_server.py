"""The link's own port: calls over raw sockets, whole, in pieces and wrong."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest
from django.conf import settings

from gpu_worker.contract import Answer, from_json, to_json
from nijika.link_server import HEAD_LIMIT_BYTES, LinkServer
from tests.jobs.working import TestWorker, run_of, status, submit, user_with

pytestmark = pytest.mark.django_db(transaction=True)
TOKEN = {"Authorization": f"Bearer {settings.LINK_TOKEN}"}
LIMIT_BYTES = 100_000


@pytest.fixture
def server() -> Iterator[LinkServer]:
    server = LinkServer(("127.0.0.1", 0), threads=2, limit_bytes=LIMIT_BYTES)
    server.start()
    yield server
    server.stop(timeout_s=5)


def caller(server: LinkServer) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", server.port, timeout=5)


def said(server: LinkServer, *pieces: bytes) -> bytes:
    """All that comes back until the connection's end."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as client:
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.02)
        return b"".join(iter(lambda: client.recv(65536), b""))


def refused(server: LinkServer, *pieces: bytes) -> tuple[int, str]:
    """The refusal's status and code, and that it was the connection's last word."""
    head, _, body = said(server, *pieces).partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return int(head[9:12]), json.loads(body)["code"]


def head(length: int = 0, *, path: str = "/internal/link", more: str = "") -> bytes:
    token = f"Authorization: {TOKEN['Authorization']}\r\n"
    lines = f"POST {path} HTTP/1.1\r\nHost: x\r\n{token}Content-Length: {length}\r\n"
    return f"{lines}{more}\r\n".encode()


def test_worker_registers_claims_and_is_granted_on_one_connection(
    server: LinkServer,
) -> None:
    [job] = submit(user_with("1"))
    worker = TestWorker()
    with closing(caller(server)) as connection:
        worker.incarnation = asked(connection, worker).incarnation
        answer = asked(connection, worker, claims=(run_of(job),))
    assert answer.grants[0].granted
    assert status(job) == "running"


def asked(connection: HTTPConnection, worker: TestWorker, **says: object) -> Answer:
    body = json.dumps(to_json(worker.call(**says)))
    connection.request("POST", "/internal/link", body, TOKEN)
    response = connection.getresponse()
    assert response.status == 200
    return from_json(Answer, json.loads(response.read()))


def test_call_that_comes_in_pieces_keeps_no_thread_from_others(
    server: LinkServer,
) -> None:
    body = json.dumps(to_json(TestWorker().call())).encode()
    request = head(len(body)) + body
    slow = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(5)]
    for client in slow:
        client.sendall(request[:100])
    assert health(server) == 200
    for client in slow:
        client.sendall(request[100:])
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.close()


def health(server: LinkServer) -> int:
    with closing(caller(server)) as connection:
        connection.request("GET", "/internal/link", headers=TOKEN)
        return connection.getresponse().status


def test_many_callers_share_few_threads(server: LinkServer) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: health(server), range(100)))
    assert answers == [200] * 100


def test_wrong_token_is_refused_before_its_body(server: LinkServer) -> None:
    wrong = head(LIMIT_BYTES).replace(settings.LINK_TOKEN.encode(), b"guess")
    assert refused(server, wrong) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        ([head(LIMIT_BYTES + 1)], 413, "payload_too_large"),
        ([head(path="/api/v1/jobs")], 404, "not_found"),
        ([head(more="Transfer-Encoding: chunked\r\n")], 400, "malformed_body"),
        ([b"x" * (HEAD_LIMIT_BYTES + 1)], 431, "head_too_large"),
        ([b"hello\r\n\r\n"], 400, "malformed_body"),
        ([b"POST / HTTP/1.0\r\n\r\n"], 400, "malformed_body"),
        ([head(2) + b"{}" + head(2)], 400, "malformed_body"),
        ([head(5).replace(b"Length: 5", b"Length: -5")], 400, "malformed_body"),
    ],
    ids=["large", "path", "chunked", "head", "words", "old", "two at once", "length"],
)
def test_what_is_no_call_is_refused_and_the_next_is_heard(
    server: LinkServer, pieces: list[bytes], status: int, code: str
) -> None:
    assert refused(server, *pieces) == (status, code)
    assert health(server) == 200


def test_stopped_server_hears_nobody(server: LinkServer) -> None:
    server.stop(timeout_s=5)
    with pytest.raises(ConnectionRefusedError):
        health(server)
