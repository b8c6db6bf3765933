"""The load: a process of its own, one thread, raw sockets, one address per request.

Reads {host, port, paths, clients, seconds} as JSON from stdin and prints answers per
second. With seconds of 0 each path is asked for once; otherwise they go round.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import sys
import time
from collections.abc import Iterator


class Client:
    def __init__(self, address: tuple[str, int], requests: Iterator[bytes]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = requests
        self._head, self._left = b"", -1
        self._buffer = bytearray(1 << 20)

    def send(self) -> bool:
        request = next(self._requests, None)
        if request is not None:
            self.socket.sendall(request)
        return request is not None

    def receive(self) -> bool:
        """Whether the answer is complete."""
        count = self.socket.recv_into(self._buffer)
        if not count:
            raise SystemExit("the server closed a connection")
        if self._left < 0:
            self._head += bytes(self._buffer[:count])
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return False
            if not head.startswith(b"HTTP/1.1 200"):
                raise SystemExit(self._head.decode(errors="replace"))
            lengths = [
                int(line.split(b":")[1])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            ]
            self._head, self._left, count = b"", lengths[0], len(rest)
        self._left -= count
        if self._left:
            return False
        self._left = -1
        return True


def main() -> None:
    load = json.load(sys.stdin)
    paths = load["paths"] if not load["seconds"] else itertools.cycle(load["paths"])
    requests = (f"GET {p} HTTP/1.1\r\nHost: bench\r\n\r\n".encode() for p in paths)
    address = load["host"], load["port"]
    clients = [Client(address, requests) for _ in range(load["clients"])]
    selector = selectors.DefaultSelector()
    begun = time.perf_counter()
    end = begun + (load["seconds"] or 600)
    running = answers = 0
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
        running += client.send()
    while running:
        for key, _ in selector.select(60):
            if not key.data.receive():
                continue
            answers += 1
            if time.perf_counter() >= end or not key.data.send():
                running -= 1
    print(answers / (time.perf_counter() - begun))


if __name__ == "__main__":
    main()
