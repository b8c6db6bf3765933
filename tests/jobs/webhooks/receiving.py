"""A receiver of webhooks: a real HTTP server on loopback that answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Hook:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> Any:
        return json.loads(self.body)


Behave = Callable[[BaseHTTPRequestHandler, int], None]
"""Answers the n-th request, counted from 0."""


@dataclass
class Receiver:
    """What came, and how the next is answered."""

    behave: Behave
    port: int = 0
    hooks: list[Hook] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [hook.id for hook in self.hooks]


def status(code: int, body: bytes = b"thanks", **headers: str) -> Behave:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        request.send_response(code)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def first(*behaviours: Behave) -> Behave:
    """Each once, in order; the last for ever."""

    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        behaviours[min(number, len(behaviours) - 1)](request, number)

    return answer


def hang(seconds: float) -> Behave:
    def answer(request: BaseHTTPRequestHandler, number: int) -> None:
        time.sleep(seconds)

    return answer


def close(request: BaseHTTPRequestHandler, number: int) -> None:
    """Hang up without a word."""
    request.connection.close()


def endless(request: BaseHTTPRequestHandler, number: int) -> None:
    """200, and a body that never ends."""
    request.send_response(200)
    request.end_headers()
    for _ in range(10_000):
        request.wfile.write(b"x" * 4096)


@contextmanager
def receiver(behave: Behave | None = None) -> Iterator[Receiver]:
    receiving = Receiver(behave=behave or status(200))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            number = len(receiving.hooks)
            hook = Hook(path=self.path, headers=headers, body=body, at=time.time())
            receiving.hooks.append(hook)
            with suppress(OSError):  # the sender may go away
                receiving.behave(self, number)

        def log_message(self, *_: Any) -> None:
            pass

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    receiving.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiving
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
