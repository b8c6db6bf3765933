import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from nijika.local.servers import free_port


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Site:
    """A web server process, and a client of it."""

    def __init__(self, module: str, **environment: str) -> None:
        self.port = free_port()
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            env=os.environ | {"NIJIKA_PORT": str(self.port)} | environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 30
        while True:
            try:
                self.connect().close()
                return
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    raise AssertionError(self.stop()) from None
                time.sleep(0.02)

    def connect(self, timeout_s: float = 20) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout_s)

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        return self.send(method, path, headers=headers)

    def send(
        self, method: str, path: str, body: Any = None, headers: Any = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            given = {k.lower(): v for k, v in answer.getheaders()}
            return Reply(status=answer.status, headers=given, body=answer.read())
        finally:
            connection.close()

    def stop(self) -> str:
        """End it by SIGTERM. Returns what it wrote."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
        self._output.seek(0)
        with self._output:
            return self._output.read()


def read_reply(connection: socket.socket) -> Reply:
    """One answer with a Content-Length from a raw connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, f"closed after {received!r}"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {
        k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:])
    }
    length = int(headers.get("content-length", 0))
    while len(body) < length:
        body += connection.recv(65536)
    return Reply(status=int(lines[0].split()[1]), headers=headers, body=body)


def until(condition: Any, timeout_s: float = 5) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@pytest.fixture(scope="package")
def site() -> Iterator[Site]:
    """The test application behind the front. Shared: leave it idle."""
    running = Site("tests.nijika.served")
    yield running
    output = running.stop()
    assert "Iterator garbage collected without being closed" not in output


@pytest.fixture
def own_site() -> Iterator[Site]:
    """One of the test's own, to fill, kill or stop."""
    running = Site("tests.nijika.served")
    yield running
    running.stop()
