"""Uploads of 12 megapixels, resized and stored by the whole stack."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench import stacks
from bench.onthefly.__main__ import ROOT, loop
from nijika.local.stack import Stack

CLIENTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Per second, and milliseconds of CPU for each: of the stack with its database
    (without the clients), and of libvips alone."""

    jobs: float
    jobs_ms: float
    loops: float
    loops_ms: float


def rounds(folder: Path, source: Path, count: int, seconds: float) -> list[Round]:
    with Stack(folder=folder, quiet=True) as stack:
        served(stack, source, seconds=2)
        return [_round(stack, source, seconds) for _ in range(count)]


def _round(stack: Stack, source: Path, seconds: float) -> Round:
    before = _cpu_s()
    jobs, count = served(stack, source, seconds)
    jobs_ms = (_cpu_s() - before) * 1000 / count
    loops, loops_ms = loop(source, seconds)
    return Round(jobs=jobs, jobs_ms=jobs_ms, loops=loops, loops_ms=loops_ms)


def _cpu_s() -> float:
    """Of all processes that this one has started and that still run."""
    return sum(stacks.cpu_of(pid) for pid in stacks.tree(os.getpid())[1:])


def served(stack: Stack, source: Path, seconds: float) -> tuple[float, int]:
    """Jobs per second, and how many there were."""
    parts = urlsplit(stack.url)
    load = {
        "host": parts.hostname,
        "port": parts.port,
        "key": stack.key,
        "source": str(source),
        "clients": CLIENTS,
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "bench.imaging.load"]
    done = subprocess.run(
        command, input=json.dumps(load), cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"the load failed:\n{done.stderr}")
    rate, count = done.stdout.split()
    return float(rate), int(count)


def lines(found: list[Round]) -> list[str]:
    jobs, loops, jobs_ms, loops_ms = (
        statistics.median(getattr(one, name) for one in found)
        for name in ("jobs", "loops", "jobs_ms", "loops_ms")
    )
    ratio = statistics.median(one.jobs / one.loops for one in found)
    cost = statistics.median(one.loops_ms / one.jobs_ms for one in found)
    what = f"12 MP JPEG → 800 px, whole platform, {CLIENTS} clients"
    return [
        f"| {what} | {jobs:.1f}/s | libvips in a loop, all cores {loops:.1f}/s "
        f"| {ratio:.2f} | ≥ 0.7 |",
        f"| the same in CPU of all its processes | {jobs_ms:.0f} ms "
        f"| libvips {loops_ms:.0f} ms | {cost:.2f} | |",
    ]
