"""Uploads of 12 megapixels, resized and stored by the whole stack."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from bench.onthefly.__main__ import ROOT, loop
from nijika.local.stack import Stack

CLIENTS = 8


def ratios(
    folder: Path, source: Path, rounds: int, seconds: float
) -> list[tuple[float, float]]:
    """(jobs per second, pictures per second of the loop), round by round."""
    with Stack(folder=folder, quiet=True) as stack:
        served(stack, source, seconds=2)
        return [
            (served(stack, source, seconds), loop(source, seconds))
            for _ in range(rounds)
        ]


def served(stack: Stack, source: Path, seconds: float) -> float:
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
    return float(done.stdout)


def line(found: list[tuple[float, float]]) -> str:
    jobs, loops = (statistics.median(values) for values in zip(*found, strict=True))
    ratio = statistics.median(one / other for one, other in found)
    return (
        f"| 12 MP JPEG → 800 px, whole platform, {CLIENTS} clients | {jobs:.1f}/s "
        f"| libvips in a loop, all cores {loops:.1f}/s | {ratio:.2f} | ≥ 0.7 |"
    )
