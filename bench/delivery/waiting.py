"""Submits beside clients that wait for their jobs, or follow them, and what those cost.

The jobs waited for are a batch that no worker takes; it is cancelled when the submits
are through, so that all ends come at once.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import measures
from bench.delivery.processes import call, line, running
from bench.measures import Figures
from bench.stacks import System

CLIENTS = 500
SETTLE_S = 2.0
"""Until all requests that were sent wait, and what their coming cost is over."""
KINDS = {"wait": "?wait=60", "stream": "/events"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the web process and the database hold at one moment."""

    megabytes: float
    threads: int
    connections: int


def beside(system: System, kind: str, seconds: float) -> Figures:
    """One round: submits without the clients, then with them, then their ends."""
    alone_ms, before = submit_p99_ms(system, seconds), held(system)
    made = call(
        system, "/batches", {"items": [{"operation": "park"} for _ in range(CLIENTS)]}
    )
    with running("clients") as clients:
        assert clients.stdin is not None
        clients.stdin.write(json.dumps(_asked(system, kind, made["id"])))
        clients.stdin.close()
        line(clients)
        time.sleep(SETTLE_S)
        during = held(system)
        beside_ms = submit_p99_ms(system, seconds)
        cancelled = time.time()
        call(system, f"/batches/{made['id']}/cancel", {})
        told = json.loads(line(clients))
    return {
        "p99 ms": beside_ms,
        "p99 ms alone": alone_ms,
        "told": told["ended"],
        "last told ms": (told["last"] - cancelled) * 1000,
        "MB": during.megabytes,
        "MB alone": before.megabytes,
        "threads": during.threads,
        "threads alone": before.threads,
        "connections": during.connections,
        "connections alone": before.connections,
    }


def _asked(system: System, kind: str, batch: str) -> dict[str, object]:
    parts = urlsplit(system.url)
    jobs = system.rows("SELECT id::text FROM jobs_job WHERE batch_id = %s::uuid", batch)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "authorization": system.keys[0],
        "kind": kind,
        "paths": [f"{parts.path}/{job}{KINDS[kind]}" for [job] in jobs],
    }


def submit_p99_ms(system: System, seconds: float) -> float:
    measured = measures.post(
        system, clients=measures.CLIENTS, seconds=seconds, body=measures.PARK_BODY
    )
    return p99(measured.latencies_ms)


def p99(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def held(system: System) -> Held:
    [[connections]] = system.rows(
        """SELECT count(*) FROM pg_stat_activity
           WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"""
    )
    status = Path(f"/proc/{system.web_pid}/status").read_text().splitlines()
    [threads] = [row for row in status if row.startswith("Threads:")]
    return Held(
        megabytes=system.web_rss_mb(),
        threads=int(threads.split()[1]),
        connections=int(str(connections)),
    )
