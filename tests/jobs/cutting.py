"""A TCP proxy before PostgreSQL that can cut a connection at its COMMIT."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from django.db import connection, connections

COMMIT = b"COMMIT\0"

# What is lost: the COMMIT itself, with the server told that its client is gone or left
# alone with its transaction, or only the answer to it.
Cut = Literal["question", "question, stranded", "answer", "answer, late", "everything"]


class Proxy:
    """Forwards to `target`; `cut` says what happens to COMMITs, `times` to how many."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = self._listener.getsockname()
        self.cut: Cut | None = None
        self.times = 0
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # `shutdown` wakes the threads that wait in accept and recv; `close` would not.
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.cut == "everything":
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._open += [client, server]
                pair = _Pair(self, client, server)
                threading.Thread(target=pair.forward, daemon=True).start()
                threading.Thread(target=pair.back, daemon=True).start()

    def cuts_now(self, chunk: bytes) -> Cut | None:
        if COMMIT not in chunk or self.cuts >= self.times:
            return None
        self.cuts += 1
        return self.cut


class _Pair:
    def __init__(
        self, proxy: Proxy, client: socket.socket, server: socket.socket
    ) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._muted = False

    def forward(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := self._client.recv(1 << 16):
                cut = self._proxy.cuts_now(chunk)
                if cut in ("answer", "answer, late"):
                    self._muted = True
                if cut is None or self._muted:
                    self._server.sendall(chunk)
                if cut == "answer, late":
                    _end(self._client)  # before the server can have done it
                    return
                if cut in ("question", "question, stranded"):
                    _end(self._client)
                    if cut == "question, stranded":
                        return
                    break
        _end(self._server)

    def back(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := self._server.recv(1 << 16):
                if self._muted:
                    break
                self._client.sendall(chunk)
        _end(self._client)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied() -> Iterator[Proxy]:
    """New database connections of this process go through a proxy."""
    settings: dict[str, Any] = connections.settings["default"]
    proxy = Proxy((settings["HOST"], int(settings["PORT"])))
    direct = {name: settings[name] for name in ("HOST", "PORT")}
    connection.close()
    settings |= {"HOST": proxy.address[0], "PORT": proxy.address[1]}
    try:
        yield proxy
    finally:
        connection.close()
        settings |= direct
        proxy.close()
