"""From a job's end to its webhook at a healthy endpoint, with dead ones beside it.

The user with number 0 owns the healthy endpoint. Ten more own ten dead ones each: one
half refuses connections, the other takes requests and never answers. All submit jobs at
the same pace whether the dead endpoints are on or off. Switching them on makes the
deliverer forget that they failed, so every round begins with a hundred unknown ones.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench import measures
from bench.delivery.processes import Process, call, line, running
from bench.delivery.waiting import p99
from bench.measures import Figures
from bench.stacks import System
from nijika.local import servers

DEAD = 100
OWNERS = 10
JOBS_EVERY_S = 0.02
DEAD_JOBS_EVERY_S = 0.1
COME_WITHIN_S = 30.0
WARM_UP_S = 2.0
SETTINGS = {"NIJIKA_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    id: str
    owner: int
    """Its number among the users."""


class Arrivals:
    """When the healthy endpoint heard of which job, as Unix times."""

    def __init__(self, receiver: Process) -> None:
        self.port = int(line(receiver))
        self.at: dict[str, float] = {}
        self._receiver = receiver
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._receiver.stdout is not None
        for text in self._receiver.stdout:
            at, job = text.split()
            self.at.setdefault(job, float(at))

    def wait_for(self, jobs: list[str]) -> None:
        end = time.monotonic() + COME_WITHIN_S
        while any(job not in self.at for job in jobs) and time.monotonic() < end:
            time.sleep(0.05)


@contextlib.contextmanager
def endpoints(system: System) -> Iterator[tuple[Arrivals, list[Endpoint]]]:
    """The healthy endpoint, switched on, and the dead ones, switched off."""
    with (
        running("receivers", "healthy") as healthy,
        running("receivers", "hanging") as hanging,
    ):
        arrivals = Arrivals(healthy)
        ports = servers.free_port(), int(line(hanging))
        _add(system, 0, arrivals.port)
        dead = [
            _add(system, 1 + number % OWNERS, ports[number // OWNERS % 2])
            for number in range(DEAD)
        ]
        switch(system, dead, on=False)
        waits_ms(system, arrivals, WARM_UP_S)
        yield arrivals, dead


def _add(system: System, owner: int, port: int) -> Endpoint:
    asked = {"url": f"http://127.0.0.1:{port}/hook", "events": ["job.succeeded"]}
    made = call(system, "/webhook-endpoints", asked, key=owner)
    return Endpoint(id=made["id"], owner=owner)


def switch(system: System, some: list[Endpoint], *, on: bool) -> None:
    for one in some:
        path = f"/webhook-endpoints/{one.id}"
        call(system, path, {"enabled": on}, key=one.owner, method="PATCH")


def beside(
    system: System, arrivals: Arrivals, dead: list[Endpoint], seconds: float
) -> Figures:
    """One round: without the dead endpoints, then with them."""
    alone = waits_ms(system, arrivals, seconds)
    switch(system, dead, on=True)
    beside_ms = waits_ms(system, arrivals, seconds)
    switch(system, dead, on=False)
    return {
        "p99 ms": p99(beside_ms),
        "p99 ms alone": p99(alone),
        "p50 ms": statistics.median(beside_ms),
        "p50 ms alone": statistics.median(alone),
    }


def waits_ms(system: System, arrivals: Arrivals, seconds: float) -> list[float]:
    """Of each job of the healthy endpoint's owner: from its end to its webhook."""
    with ThreadPoolExecutor() as pool:
        others = pool.submit(
            measures.post,
            system,
            clients=OWNERS,
            keys=system.keys[1 : 1 + OWNERS],
            count=round(seconds / DEAD_JOBS_EVERY_S),
            pause_s=DEAD_JOBS_EVERY_S,
        )
        mine = measures.post(
            system,
            clients=1,
            keys=system.keys[:1],
            count=round(seconds / JOBS_EVERY_S),
            pause_s=JOBS_EVERY_S,
        )
        others.result()
    jobs = [job for job, _ in mine.jobs]
    arrivals.wait_for(jobs)
    ends = system.ends(jobs)
    if lost := [job for job in jobs if job not in arrivals.at or job not in ends]:
        raise SystemExit(f"{len(lost)} of {len(jobs)} webhooks have not come")
    return [(arrivals.at[job] - ends[job]) * 1000 for job in jobs]
