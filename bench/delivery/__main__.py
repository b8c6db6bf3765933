"""`python -m bench.delivery`: do clients that wait, and receivers that are dead, hurt
others? As ratios, within one run, on one web process.

    wait       submits beside 500 clients in `GET /jobs/{id}?wait=60`
    stream     submits beside 500 open streams of `GET /jobs/{id}/events`
    webhooks   from a job's end to a healthy endpoint beside 100 dead ones

Rounds without and with them alternate, so that whatever else the machine does strikes
both; every figure is the median of its rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench import measures, stacks
from bench.delivery import waiting, webhooks
from bench.measures import Figures
from bench.stacks import System
from nijika.local import servers

PARTS = ("wait", "stream", "webhooks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; `figure` is also there with ` alone` added."""

    part: str
    title: str
    figure: str
    form: str = "{:.0f}"
    goal: str = ""


ROWS = [
    Row(
        part="wait",
        title="submit p99 beside 500 that wait",
        figure="p99 ms",
        form="{:.1f} ms",
        goal="≤ 2 x",
    ),
    Row(part="wait", title="of these told of the end", figure="told", goal="500"),
    Row(
        part="wait",
        title="from the cancel of all to the last told",
        figure="last told ms",
        form="{:.0f} ms",
    ),
    Row(part="wait", title="memory of the web", figure="MB", form="{:.0f} MB"),
    Row(part="wait", title="threads of the web", figure="threads", goal="+ 2 at most"),
    Row(
        part="wait",
        title="database connections",
        figure="connections",
        goal="+ 2 at most",
    ),
    Row(
        part="stream",
        title="submit p99 beside 500 open streams",
        figure="p99 ms",
        form="{:.1f} ms",
        goal="≤ 2 x",
    ),
    Row(part="stream", title="of these told of the end", figure="told", goal="500"),
    Row(
        part="stream",
        title="from the cancel of all to the last told",
        figure="last told ms",
        form="{:.0f} ms",
    ),
    Row(part="stream", title="memory of the web", figure="MB", form="{:.0f} MB"),
    Row(
        part="stream", title="threads of the web", figure="threads", goal="+ 2 at most"
    ),
    Row(
        part="stream",
        title="database connections",
        figure="connections",
        goal="+ 2 at most",
    ),
    Row(
        part="webhooks",
        title="job's end → healthy endpoint beside 100 dead, p99",
        figure="p99 ms",
        form="{:.1f} ms",
        goal="≤ 2 x",
    ),
    Row(part="webhooks", title="the same, p50", figure="p50 ms", form="{:.1f} ms"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="per half round")
    parser.add_argument("--only", default="", help="names of parts, comma list")
    arguments = parser.parse_args()
    chosen = [name for name in PARTS if name in (arguments.only or ",".join(PARTS))]
    with tempfile.TemporaryDirectory(prefix="nijika-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        postgres = servers.start_postgres(folder, durable=True)
        try:
            with stacks.nijika(folder, postgres, webhooks.SETTINGS) as system:
                run(system, chosen, arguments.rounds, arguments.seconds)
        finally:
            postgres.stop()


def run(system: System, chosen: list[str], rounds: int, seconds: float) -> None:
    measures.post(system, clients=measures.CLIENTS, seconds=2, body=measures.PARK_BODY)
    measures.post(system, clients=measures.CLIENTS, count=100)
    found = {part: _rounds(system, part, rounds, seconds) for part in chosen}
    print("\n| | with them | without | ratio | goal |\n|---|---|---|---|---|")
    for row in ROWS:
        if row.part in found:
            print(_line(row, found[row.part]))


def _rounds(system: System, part: str, rounds: int, seconds: float) -> list[Figures]:
    if part != "webhooks":
        return [
            _said(part, waiting.beside(system, part, seconds)) for _ in range(rounds)
        ]
    with webhooks.endpoints(system) as (arrivals, dead):
        return [
            _said(part, webhooks.beside(system, arrivals, dead, seconds))
            for _ in range(2 * rounds)
        ]


def _said(part: str, figures: Figures) -> Figures:
    shown = ", ".join(f"{name} {value:.1f}" for name, value in figures.items())
    print(f"  {part}: {shown}", flush=True)
    return figures


def _line(row: Row, rounds: list[Figures]) -> str:
    mine = statistics.median(figures[row.figure] for figures in rounds)
    shown, ratio = "", ""
    name = f"{row.figure} alone"
    if name in rounds[0]:
        other = statistics.median(figures[name] for figures in rounds)
        shown, ratio = row.form.format(other), f"{mine / other:.2f} x"
    return f"| {row.title} | {row.form.format(mine)} | {shown} | {ratio} | {row.goal} |"


if __name__ == "__main__":
    main()
