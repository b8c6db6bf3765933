"""Event streams on a whole stack: hundreds at once, and whatever is restarted."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.flows.house import House, eventually

MANY = 500


class Follower:
    """A client of one stream, as EventSource is: it comes again where it was, until the
    job has ended. `cut` counts how often it had to."""

    def __init__(self, home: House, job_id: str) -> None:
        self._home, self._path = home, f"/api/v1/jobs/{job_id}/events"
        self.events: list[tuple[str, str]] = []
        self.cut = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.events if kind != "progress"]

    def finish(self, within_s: float = 30) -> list[str]:
        end = time.monotonic() + within_s
        while self._thread.is_alive():
            self._home.supervise()
            self._thread.join(0.1)
            assert time.monotonic() < end, self.kinds
        return self.kinds

    def _run(self) -> None:
        while not self.kinds or self.kinds[-1] not in ("succeeded", "cancelled"):
            try:
                with ask(self._home, self._path, self._last) as connection:
                    self._read(connection)
            except OSError:
                self.cut += 1
            time.sleep(0.1)

    @property
    def _last(self) -> str:
        numbers = [number for _, number in self.events if number]
        return numbers[-1] if numbers else ""

    def _read(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            kind = number = ""
            while line := file.readline():
                name, _, value = line.decode().strip().partition(": ")
                if name == "event":
                    kind = value
                elif name == "id":
                    number = value
                elif name == "data":
                    self.events.append((kind, number))
                    kind = number = ""


def ask(home: House, path: str, last: str = "") -> socket.socket:
    host, port = home.stack.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), 60)
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {home.stack.key}\r\n"
    head += "Connection: close\r\n"
    head += f"Last-Event-ID: {last}\r\n" if last else ""
    connection.sendall(f"{head}\r\n".encode())
    return connection


def until_heard(connection: socket.socket, text: bytes) -> bytes:
    received = b""
    while text not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    return received


def to_the_end(connection: socket.socket) -> bytes:
    with connection.makefile("rb") as file:
        return file.read()


def kept(home: House) -> dict[str, int]:
    """What hundreds must not cost the web process."""
    query = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    threads = len(list(Path(f"/proc/{home.pid('web')}/task").iterdir()))
    return {"threads": threads, "sessions": int(home.sql(query)[0][0])}


def test_hundreds_follow_on_no_thread_and_no_connection(home: House) -> None:
    job_id = home.accepted("sleep", seconds=60)
    path = f"/api/v1/jobs/{job_id}/events"
    home.until(job_id, "running")
    with ask(home, path) as first:
        until_heard(first, b"event: started")
    for _ in range(10):  # every thread of the lane has its connection
        home.account()
    before = kept(home)
    streams = [ask(home, path) for _ in range(MANY)]
    try:
        for one in streams:
            until_heard(one, b"event: started")
        now = kept(home)
        assert now["threads"] <= before["threads"] + 2
        assert now["sessions"] <= before["sessions"] + 3
        began = time.monotonic()
        assert home.account()["credits"]
        assert time.monotonic() - began < 2
        home.call("POST", f"/api/v1/jobs/{job_id}/cancel")
        for one in streams:
            rest = to_the_end(one)
            assert b"event: cancelled" in rest and rest.endswith(b"0\r\n\r\n")
    finally:
        for one in streams:
            one.close()


def _wait_supervised_until_running(home: House, job_id: str) -> None:
    """A worker whose broker was restarted may end itself, to be started anew."""

    def look() -> bool | None:
        home.supervise()
        return home.job(job_id)["status"] == "running" or None

    eventually(look, within_s=30)


@pytest.fixture
def followed(home: House) -> tuple[str, list[Follower]]:
    job_id = home.accepted("sleep", seconds=5)
    _wait_supervised_until_running(home, job_id)
    followers = [Follower(home, job_id) for _ in range(100)]
    eventually(
        lambda: all("started" in one.kinds for one in followers) or None, within_s=20
    )
    return job_id, followers


Followed = tuple[str, list[Follower]]


def assert_nothing_missed(home: House, followed: Followed) -> None:
    """Each has each event of the job, once and in order."""
    job_id, followers = followed
    for one in followers:
        one.finish()
    query = "SELECT id::text FROM jobs_jobevent WHERE job_id = %s ORDER BY id"
    numbers = [row[0] for row in home.sql(query, job_id)]
    for one in followers:
        assert [number for _, number in one.events if number] == numbers
    assert home.job(job_id)["status"] == "succeeded"


def test_web_killed_while_clients_follow(home: House, followed: Followed) -> None:
    home.kill("web")

    assert_nothing_missed(home, followed)
    assert all(one.cut for one in followed[1])


def test_redis_restarted_while_clients_follow(home: House, followed: Followed) -> None:
    assert home.stack.redis is not None
    home.stack.redis.restart()

    assert_nothing_missed(home, followed)
    assert not any(one.cut for one in followed[1])


def test_database_restarted_while_clients_follow(
    home: House, followed: Followed
) -> None:
    assert home.stack.postgres is not None
    home.stack.postgres.restart()

    assert_nothing_missed(home, followed)
    assert not any(one.cut for one in followed[1])


def test_older_stream_ends_with_the_result(home: House) -> None:
    job_id = home.accepted("sleep", seconds=0.5)
    with ask(home, f"/api/generate/stream/{job_id}") as connection:
        said = states(to_the_end(connection))

    assert [one["status"] for one in said[-2:]] == ["done", "done"]
    assert home.call("GET", said[-1]["result"]["url"]).status == 200


def states(stream: bytes) -> list[Any]:
    lines = stream.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def test_older_task_is_made_and_followed_in_one_call(home: House) -> None:
    """With a test key, for there is no engine that generates in this house."""
    body = {"prompt": "a teapot", "width": 256, "height": 256}
    answer = home.call(
        "POST",
        "/api/generate/stream",
        key=home.new_user(test=True),
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )

    assert (answer.status, answer.headers["Content-Type"][:17]) == (
        200,
        "text/event-stream",
    )
    said = states(answer.body)
    assert said[-1]["status"] == "done" and said[-1]["result"]["width_px"] == 256
    assert said[-1]["task_id"] == answer.headers["X-Job-Id"]
