"""What is measured, in the words of the table that it prints."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bench import database
from bench.load import Load, Measured
from bench.stacks import ROOT, SLOTS, System

CLIENTS = 64
BODY = json.dumps({"operation": "noop", "parameters": {}})
SINGLE_BODY = json.dumps({"operation": "single", "parameters": {}})
PARK_BODY = json.dumps({"operation": "park", "parameters": {}})
SLEEP_BODY = json.dumps({"operation": "sleep", "parameters": {}})
SLEEP_S = 0.05
FINISH_S = 300.0

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: nijika's figure against the baseline's, or alone."""

    title: str
    figure: str
    unit: str
    least: str
    goal: str


ROWS = [
    Row(
        title="charged submits per second, 64 clients",
        figure="submits/s",
        unit="/s",
        least="≥ 4 x",
        goal="10 x",
    ),
    Row(
        title="the same, all from one account",
        figure="hot submits/s",
        unit="/s",
        least="≥ 0.8 of many accounts'",
        goal="equal",
    ),
    Row(
        title="submit p99, 64 clients",
        figure="p99 ms",
        unit=" ms",
        least="≤ 0.3 x",
        goal="0.12 x",
    ),
    Row(
        title="submit → result stored, idle, p50",
        figure="idle ms",
        unit=" ms",
        least="≤ 0.8 x",
        goal="0.4 x",
    ),
    Row(
        title="jobs per second, submit → result, 64 clients",
        figure="jobs/s",
        unit="/s",
        least="≥ 3 x",
        goal="8 x",
    ),
    Row(
        title="the same, an engine that takes one job at a time",
        figure="single jobs/s",
        unit="/s",
        least="≥ 3 x",
        goal="8 x",
    ),
    Row(
        title="50 ms engine, 2 slots, share of its own rate",
        figure="share",
        unit="",
        least="≥ 0.95",
        goal="0.99",
    ),
    Row(
        title="CPU of the web per submit",
        figure="web CPU ms",
        unit=" ms",
        least="",
        goal="",
    ),
    Row(
        title="CPU of PostgreSQL per submit",
        figure="database CPU ms",
        unit=" ms",
        least="",
        goal="",
    ),
    Row(
        title="memory of the web processes",
        figure="web MB",
        unit=" MB",
        least="≤ 1 x",
        goal="0.75 x",
    ),
]


def run(
    systems: Sequence[System], rounds: int, seconds: float, chosen: Sequence[str]
) -> None:
    """Measure in interleaved rounds and print the table."""
    figures: dict[str, dict[str, list[float]]] = {one.name: {} for one in systems}
    for system in systems:
        post(system, clients=CLIENTS, seconds=2, body=PARK_BODY)
        for body in (BODY, SINGLE_BODY):
            post(system, clients=CLIENTS, count=100, body=body)
        finish(system)
    for measure in MEASURES:
        if chosen and measure.__name__ not in chosen:
            continue
        for _ in range(rounds):
            for system in systems:
                for name, value in measure(system, seconds).items():
                    figures[system.name].setdefault(name, []).append(value)
                    _say(f"  {system.name:9} {name:14} {value:10.2f}")
    for name, value in database.charges_per_second(systems[0].database).items():
        figures["nijika"][name] = [value]
        _say(f"  PostgreSQL alone, {name}: {value:.0f}/s")
    medians = {
        system: {name: statistics.median(values) for name, values in found.items()}
        for system, found in figures.items()
    }
    _print_table(medians)


def submits(system: System, seconds: float) -> Figures:
    """Charged jobs that are accepted and wait: what accepting alone costs."""
    before = system.cpu_s()
    measured = post(system, clients=CLIENTS, seconds=seconds, body=PARK_BODY)
    web_s, database_s = (b - a for a, b in zip(before, system.cpu_s(), strict=True))
    ordered = sorted(measured.latencies_ms)
    return {
        "web CPU ms": web_s / len(ordered) * 1000,
        "database CPU ms": database_s / len(ordered) * 1000,
        "submits/s": len(ordered) / measured.seconds,
        "p50 ms": ordered[len(ordered) // 2],
        "p99 ms": ordered[int(len(ordered) * 0.99)],
        "web MB": system.web_rss_mb(),
    }


def hot_account(system: System, seconds: float) -> Figures:
    keys = system.keys[:1]
    measured = post(system, clients=CLIENTS, seconds=seconds, keys=keys, body=PARK_BODY)
    return {"hot submits/s": len(measured.latencies_ms) / measured.seconds}


def idle(system: System, seconds: float) -> Figures:
    """From the request's first byte to the row that says that the result is stored."""
    measured = post(system, clients=1, count=40, pause_s=0.05)
    finish(system)
    ends = system.ends([made for made, _ in measured.jobs])
    waits = [(ends[made] - sent) * 1000 for made, sent in measured.jobs]
    return {"idle ms": statistics.median(waits)}


def end_to_end(system: System, seconds: float) -> Figures:
    return {"jobs/s": _jobs_per_second(system, BODY)}


def singly(system: System, seconds: float) -> Figures:
    return {"single jobs/s": _jobs_per_second(system, SINGLE_BODY)}


def _jobs_per_second(system: System, body: str) -> float:
    count = 2000 if system.name == "nijika" else 800
    measured = post(system, clients=CLIENTS, count=count, body=body)
    finish(system)
    ends = system.ends([made for made, _ in measured.jobs])
    return len(ends) / (max(ends.values()) - measured.started)


def sleeping(system: System, seconds: float) -> Figures:
    """Ends per second between the first and the last tenth, of what the slots can."""
    measured = post(system, clients=16, count=300, body=SLEEP_BODY)
    finish(system)
    ends = sorted(system.ends([made for made, _ in measured.jobs]).values())
    cut = len(ends) // 10
    rate = (len(ends) - 1 - 2 * cut) / (ends[-1 - cut] - ends[cut])
    return {"share": rate / (SLOTS / SLEEP_S)}


MEASURES: list[Callable[[System, float], Figures]] = [
    submits,
    hot_account,
    idle,
    end_to_end,
    singly,
    sleeping,
]


def finish(system: System) -> None:
    """Wait until nothing is queued or running, so that rounds do not overlap."""
    end = time.monotonic() + FINISH_S
    while system.unfinished():
        if time.monotonic() > end:
            raise SystemExit(f"{system.name} does not finish its jobs")
        time.sleep(0.2)


def post(
    system: System,
    *,
    clients: int,
    keys: list[str] | None = None,
    body: str = BODY,
    seconds: float = 0,
    count: int = 0,
    pause_s: float = 0,
) -> Measured:
    """Put this load on it, from a process of its own."""
    load = Load(
        url=system.url,
        headers=keys or system.keys,
        body=body,
        clients=clients,
        seconds=seconds,
        count=count,
        pause_s=pause_s,
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(load)),
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    if done.returncode:
        raise SystemExit(f"load on {system.name} failed:\n{done.stderr}")
    measured = Measured(**json.loads(done.stdout))
    if set(measured.statuses) != {"202"}:
        raise SystemExit(f"{system.name}: {measured.statuses} {measured.sample}")
    return measured


def _print_table(medians: dict[str, Figures]) -> None:
    ours, theirs = medians["nijika"], medians.get("baseline", {})
    _say("\n| | nijika | baseline | ratio | at least | going to |")
    _say("|---|---|---|---|---|---|")
    for row in ROWS:
        if row.figure not in ours:
            continue
        mine, other = ours[row.figure], theirs.get(row.figure)
        ratio = f"{mine / other:.2f} x" if other else ""
        if row.figure == "hot submits/s" and "submits/s" in ours:
            ratio += f" ({mine / ours['submits/s']:.2f} of many accounts')"
        shown = f"{other:.2f}{row.unit}" if other else ""
        _say(
            f"| {row.title} | {mine:.2f}{row.unit} | {shown} | {ratio} |"
            f" {row.least} | {row.goal} |"
        )
    for name in (name for name in ours if name.startswith("charges")):
        share = ours.get("submits/s", 0) / ours[name]
        _say(f"\nPostgreSQL alone, {name}: {ours[name]:.0f}/s; submits are {share:.2f}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
