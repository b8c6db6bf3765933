"""Hundreds of clients wait on one web process, and cost it nothing."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from tests.flows.house import House, eventually

MANY = 500


@pytest.fixture
def job_id(home: House) -> str:
    return home.accepted("sleep", seconds=40)


def ask(home: House, path: str) -> socket.socket:
    host, port = home.stack.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), 60)
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {home.stack.key}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


def answer(connection: socket.socket) -> str:
    """The status of the job in the answer."""
    with connection, connection.makefile("rb") as file:
        assert file.readline().startswith(b"HTTP/1.1 200")
        length = 0
        while line := file.readline().strip().lower():
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return str(json.loads(file.read(length))["status"])


def threads(home: House) -> int:
    return len(list(Path(f"/proc/{home.pid('web')}/task").iterdir()))


def sessions(home: House) -> int:
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(home.sql(query)[0][0])


def test_many_wait_on_no_thread_and_no_connection_and_get_the_end(
    home: House, job_id: str
) -> None:
    path = f"/api/v1/jobs/{job_id}?wait=120"
    first = ask(home, path)
    for _ in range(10):  # every thread of the lane has its connection
        home.account()
    threads_before, sessions_before = threads(home), sessions(home)
    waiting = [first] + [ask(home, path) for _ in range(MANY - 1)]
    try:
        # Others are served beside them, once their own requests have been read.
        eventually(lambda: home.account().get("credits"), within_s=30)
        assert home.job(job_id)["status"] in ("queued", "running")
        assert threads(home) <= threads_before + 2
        assert sessions(home) <= sessions_before + 3
        home.call("POST", f"/api/v1/jobs/{job_id}/cancel")
        assert [answer(one) for one in waiting] == ["cancelled"] * MANY
    finally:
        for one in waiting:
            one.close()


def test_who_leaves_is_forgotten_and_the_others_get_the_end(
    home: House, job_id: str
) -> None:
    path = f"/api/v1/jobs/{job_id}?wait=120"
    leaving = [ask(home, path) for _ in range(50)]
    staying = [ask(home, path) for _ in range(5)]
    for one in leaving:
        one.close()
    home.call("POST", f"/api/v1/jobs/{job_id}/cancel")

    assert [answer(one) for one in staying] == ["cancelled"] * 5


def test_redis_emptied_while_clients_wait(home: House) -> None:
    job_id = home.accepted("sleep", seconds=1)
    waiting = [ask(home, f"/api/v1/jobs/{job_id}?wait=60") for _ in range(20)]
    assert home.stack.redis is not None
    with home.frozen(home.stack.redis):
        time.sleep(0.5)

    assert {answer(one) for one in waiting} == {"succeeded"}
