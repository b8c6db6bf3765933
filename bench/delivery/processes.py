"""The bench's own processes, and calls of the API."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

from bench.stacks import ROOT, System

Process = subprocess.Popen[str]


@contextlib.contextmanager
def running(module: str, *arguments: str) -> Iterator[Process]:
    """A module of this package, with its ends on pipes; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"bench.delivery.{module}", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(process: Process) -> str:
    """The next line that it prints. Raises SystemExit if it has ended."""
    assert process.stdout is not None
    text: str = process.stdout.readline()
    if not text:
        raise SystemExit(f"{process.args!r} ended: {process.wait()}")
    return text


def call(
    system: System, path: str, body: Any = None, *, key: int = 0, method: str = ""
) -> Any:
    """One call as the user with this number."""
    request = urllib.request.Request(
        f"{system.url.removesuffix('/jobs')}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": system.keys[key], "Content-Type": "application/json"},
        method=method or ("GET" if body is None else "POST"),
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)
