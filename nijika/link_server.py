"""The link's own port, `NIJIKA_LINK_LISTEN`: no way round the front for workers' calls.

The front's event loop hands every request to a thread and takes its answer back, which
a job meets twice while nothing else is to do: two of its fifteen milliseconds. Here the
thread that hears a call reads it, does it and answers it. A few threads wait on one
epoll, so that workers may be many and threads, each with its database connection, few.

It speaks as much HTTP/1.1 as workers and health checks need: kept connections, bodies
with a length. What it cannot read it refuses, and closes the connection. A call that
comes in pieces holds no thread; before its token is known, none of its body is read.
"""

from __future__ import annotations

import io
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.db import connection

from jobs import link_view
from nijika import counters, link_door, problems, request_ids
from nijika.errors import HeadTooLarge, Malformed, NijikaError, NotFound, TooLarge

logger = logging.getLogger(__name__)

HEAD_LIMIT_BYTES = 16_000
RECEIVE_BYTES = 1 << 18
SEND_WITHIN_S = 5.0
"""For an answer to somebody who reads nothing; workers' own patience is as long."""
BACKLOG = 256
HEAD_END = b"\r\n\r\n"
ONCE = select.EPOLLIN | select.EPOLLONESHOT
"""One thread hears of a connection, and no other until it has dealt with it."""


class LinkServer:
    """Serves the link on `(host, port)`; port 0 is any that is free."""

    def __init__(
        self, address: tuple[str, int], *, threads: int, limit_bytes: int
    ) -> None:
        self._address, self._limit_bytes = address, limit_bytes
        self.port = 0
        """Where it listens, once it is started."""
        self._epoll = select.epoll()
        self._bell = os.eventfd(0)
        self._connections: dict[int, _Connection] = {}
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"link-port-{n}", daemon=True)
            for n in range(threads)
        ]

    def start(self) -> None:
        """Raises OSError where the address is not to be had."""
        self._listening = socket.create_server(self._address, backlog=BACKLOG)
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self._epoll.register(self._listening, ONCE)
        self._epoll.register(self._bell, select.EPOLLIN)  # for every thread
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Hear no more calls; those that are being done get their answers."""
        if self._stopping:
            return
        self._stopping = True
        self._listening.close()
        os.eventfd_write(self._bell, 1)
        end = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            return  # the process ends, and takes its last calls with it
        for known in self._connections.values():
            known.close()
        self._epoll.close()
        os.close(self._bell)

    def _serve(self) -> None:
        while not self._stopping:
            for number, _ in self._epoll.poll(maxevents=1):
                if number == self._bell:
                    break
                try:
                    self._hear(number)
                except Exception:  # the edge of this thread: it must hear the next
                    logger.exception("a connection of the link failed")
                    self._drop(number)
        connection.close()

    def _hear(self, number: int) -> None:
        if (known := self._connections.get(number)) is None:
            self._accept()
        elif known.answered(self._limit_bytes):
            self._epoll.modify(number, ONCE)
        else:
            self._drop(number)

    def _accept(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except OSError:  # it has gone again, or another listener had it
            return
        finally:
            if not self._stopping:
                self._epoll.modify(self._listening, ONCE)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        accepted.settimeout(SEND_WITHIN_S)
        self._connections[accepted.fileno()] = _Connection(accepted)
        self._epoll.register(accepted, ONCE)

    def _drop(self, number: int) -> None:
        if known := self._connections.pop(number, None):
            known.close()


@dataclass(slots=True)
class _Head:
    """A request's first lines. Raises Malformed for what is none."""

    text: str
    method: str = ""
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first, *lines = self.text.split("\r\n")
        try:
            self.method, target, version = first.split(" ")
        except ValueError:
            raise Malformed("This is no request.") from None
        self.path = target.partition("?")[0]
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        if version != "HTTP/1.1" or "transfer-encoding" in self.headers:
            raise Malformed("Only HTTP/1.1 and bodies with a length are read here.")

    @property
    def length(self) -> int:
        text = self.headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()):
            raise Malformed("Its length is no number.")
        return int(text)


class _Connection:
    """One caller, who sends one request after the other. For one thread at a time."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        self._received = bytearray()
        self._head: _Head | None = None

    def close(self) -> None:
        self._socket.close()

    def answered(self, limit_bytes: int) -> bool:
        """Take in what has come, and answer if it is a whole request. False: this was
        the connection's end."""
        try:
            chunk = self._socket.recv(RECEIVE_BYTES)
        except OSError:
            return False
        self._received += chunk
        try:
            return bool(chunk) and self._handled(limit_bytes)
        except NijikaError as error:
            self._refuse(error)
            return False

    def _handled(self, limit_bytes: int) -> bool:
        if self._head is None and not self._head_is_there(limit_bytes):
            return True
        assert self._head is not None
        if len(self._received) < self._head.length:
            return True
        head, self._head = self._head, None
        body = bytes(self._received[: head.length])
        del self._received[: head.length]
        if self._received:
            raise Malformed("The next request came before the answer to this one.")
        return self._answer(head, body)

    def _head_is_there(self, limit_bytes: int) -> bool:
        end = self._received.find(HEAD_END)
        if max(end, len(self._received) if end < 0 else 0) > HEAD_LIMIT_BYTES:
            raise HeadTooLarge
        if end < 0:
            return False
        head = _Head(self._received[:end].decode("latin-1"))
        del self._received[: end + len(HEAD_END)]
        if head.path != link_door.PATH:
            raise NotFound
        link_view.check_token(head.headers.get("authorization", ""))
        if head.length > limit_bytes:
            raise TooLarge
        self._head = head
        return True

    def _answer(self, head: _Head, body: bytes) -> bool:
        began = time.monotonic()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": head.method,
            "PATH_INFO": head.path,
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": head.headers.get("authorization", ""),
            "wsgi.input": io.BytesIO(body),
        }
        told: list[Any] = []
        chunks = link_door.application(environ, lambda *said: told.extend(said))
        status, headers = told
        is_last = head.headers.get("connection", "").lower() == "close"
        sent = self._send(status, headers, b"".join(chunks), closing=is_last)
        seconds = time.monotonic() - began
        counters.observe(head.path[1:], head.method, int(status[:3]), seconds)
        return sent and not is_last

    def _refuse(self, error: NijikaError) -> None:
        response = problems.from_exception(error, request_ids.choose(None))
        status = f"{response.status_code} {HTTPStatus(response.status_code).phrase}"
        self._send(status, response.items(), response.content, closing=True)

    def _send(
        self,
        status: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
        *,
        closing: bool,
    ) -> bool:
        """In one piece, so that it is one packet. False: nobody takes it."""
        lines = [f"HTTP/1.1 {status}"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"Content-Length: {len(body)}", *(["Connection: close"] * closing)]
        head = "\r\n".join(lines).encode("latin-1")
        try:
            self._socket.sendall(head + HEAD_END + body)
        except OSError:
            return False
        return True
