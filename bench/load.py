"""The load generator: a process of its own, one thread, raw sockets.

`python -m bench.load` reads a `Load` as JSON from stdin and prints a `Measured`. Each
client keeps one connection and sends its next request when the answer to the last one
is complete. Answers must carry Content-Length.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

HEADER_END = b"\r\n\r\n"
STUCK_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`clients` post `body` to `url`, one key each in turn, for `seconds` or `count`
    requests. With `pause_s` every client rests between its requests."""

    url: str
    headers: list[str]
    """The `Authorization` values, dealt out to the clients in turn."""
    body: str
    clients: int
    seconds: float = 0
    count: int = 0
    pause_s: float = 0


@dataclass(slots=True, kw_only=True)
class Measured:
    seconds: float = 0
    statuses: dict[str, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)
    started: float = 0
    """Wall-clock time of the first request."""
    jobs: list[tuple[str, float]] = field(default_factory=list)
    """Only for `count` loads: each job's id and the wall-clock time of its request."""
    cpu_s: float = 0
    sample: str = ""


class Client:
    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(STUCK_S)
        self._request = request
        self._received = b""
        self.sent_at = 0.0
        self.sent_wall = 0.0

    def send(self) -> None:
        self.sent_at, self.sent_wall = time.perf_counter(), time.time()
        self.socket.sendall(self._request)

    def receive(self) -> tuple[int, bytes] | None:
        """Status and body once the answer is complete."""
        chunk = self.socket.recv(1 << 16)
        if not chunk:
            raise SystemExit(f"the server closed a connection: {self._received!r}")
        self._received += chunk
        head, found, rest = self._received.partition(HEADER_END)
        if not found or len(rest) < _length(head):
            return None
        self._received = b""
        return int(head[9:12]), rest


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise SystemExit(f"an answer without a length: {head!r}")


def run(load: Load) -> Measured:
    clients = _clients(load)
    measured, statuses = Measured(started=time.time()), Counter[int]()
    selector = selectors.DefaultSelector()
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    begun = time.perf_counter()
    left = load.count or sys.maxsize
    end = begun + (load.seconds or 3600)
    for client in clients[:left]:
        client.send()
    running, left = min(len(clients), left), left - min(len(clients), left)
    while running:
        for key, _ in selector.select(STUCK_S):
            client = key.data
            answer = client.receive()
            if answer is None:
                continue
            now = time.perf_counter()
            measured.latencies_ms.append((now - client.sent_at) * 1000)
            statuses[answer[0]] += 1
            if load.count and answer[0] == 202:
                made = json.loads(answer[1])["id"]
                measured.jobs.append((made, client.sent_wall))
            if now >= end or not left:
                running -= 1
                measured.sample = answer[1].decode()
                continue
            if load.pause_s:
                time.sleep(load.pause_s)
            left -= 1
            client.send()
    measured.seconds = time.perf_counter() - begun
    measured.statuses = {str(k): v for k, v in statuses.items()}
    measured.cpu_s = time.process_time()
    return measured


def _clients(load: Load) -> list[Client]:
    parts = urlsplit(load.url)
    address = (parts.hostname or "", parts.port or 80)
    keys = load.headers
    requests = [_request(load, keys[n % len(keys)]) for n in range(load.clients)]
    return [Client(address, request) for request in requests]


def _request(load: Load, authorization: str) -> bytes:
    parts = urlsplit(load.url)
    lines = [
        f"POST {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        f"Authorization: {authorization}",
        "Content-Type: application/json",
        "Accept: application/json",
        f"Content-Length: {len(load.body.encode())}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + load.body).encode()


if __name__ == "__main__":
    json.dump(asdict(run(Load(**json.load(sys.stdin)))), sys.stdout)
