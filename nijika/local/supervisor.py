"""Runs the processes of the Procfile: shows their output, restarts what crashes.

honcho reads the Procfile and prints the lines; restarting is ours, because honcho ends
everything when one process ends. Every process leads a session of its own, so that
Ctrl-C in the terminal reaches the launcher only, and dies with the launcher whatever
kills it.
"""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from honcho.colour import get_colours
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer

from nijika.local.servers import die_with_parent

LONGEST_PAUSE_S = 8.0
STEADY_S = 10.0
"""A process that ran this long before it crashed is restarted at once."""


WORKER = "-m gpu_worker"
PLATFORMS_OWN = (
    "DATABASE_URL",
    "NIJIKA_UNPOOLED_DATABASE_URL",
    "NIJIKA_SECRET_KEY",
    "NIJIKA_STORAGE_URL",
    "NIJIKA_METRICS_TOKEN",
)
PLATFORMS_OWN_PREFIXES = ("AWS_", "NIJIKA_S3_", "NIJIKA_GITHUB_", "NIJIKA_GITLAB_")
"""What a worker, which decodes strangers' pixels, has no use for and does not learn."""


class Program:
    """One line of the Procfile and the process that runs it at the moment."""

    def __init__(self, name: str, command: str, colour: str, log: Path) -> None:
        self.name = name
        self.command = command
        self.colour = colour
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.restart_at: float | None = None
        self.crashes = 0

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Starts, watches, restarts and stops the programs of one Procfile."""

    def __init__(
        self,
        procfile: Path,
        *,
        environment: Mapping[str, str],
        logs: Path,
        quiet: bool,
        folder: Path,
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        colours = get_colours()
        lines = parse_procfile(procfile.read_text()).processes
        self.programs = {
            name: Program(name, command, next(colours), logs / f"{name}.log")
            for name, command in lines.items()
        }
        self._folder = folder
        self._environment = dict(environment)
        self._quiet = quiet
        self._printer = Printer(sys.stdout, width=max(map(len, lines)))

    def start(self) -> None:
        for program in self.programs.values():
            program.log.write_bytes(b"")
            self._start(program)

    def check(self) -> None:
        """Restart what has ended, after a pause that grows while it keeps crashing."""
        for program in self.programs.values():
            if not program.running:
                self._revive(program)

    def stop(self, order: Iterable[Iterable[str]], *, timeout_s: float) -> None:
        """Ask each group of programs in turn to end; kill what does not in time."""
        for group in order:
            members = [self.programs[n] for n in group if n in self.programs]
            for program in members:
                self._signal(program, signal.SIGTERM)
            end = time.monotonic() + timeout_s
            while any(p.running for p in members) and time.monotonic() < end:
                time.sleep(0.02)
            for program in members:
                self._signal(program, signal.SIGKILL)

    def say(self, text: str) -> None:
        self._print(Program("system", "", "", Path()), text)

    def _start(self, program: Program) -> None:
        program.restart_at = None
        program.started_at = time.monotonic()
        program.process = subprocess.Popen(
            "exec " + program.command,
            shell=True,
            cwd=self._folder,
            env=self._environment_of(program),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        threading.Thread(
            target=self._relay, args=(program, program.process), daemon=True
        ).start()

    def _environment_of(self, program: Program) -> dict[str, str]:
        given = self._environment | {"NIJIKA_PROCESS": program.name}
        if WORKER not in program.command:
            return given
        return {name: value for name, value in given.items() if not _is_secret(name)}

    def _revive(self, program: Program) -> None:
        now = time.monotonic()
        if program.restart_at is None:
            steady = now - program.started_at > STEADY_S
            program.crashes = 1 if steady else program.crashes + 1
            pause = 0 if steady else min(2.0 ** (program.crashes - 2), LONGEST_PAUSE_S)
            program.restart_at = now + pause
            code = program.process.returncode if program.process else None
            self.say(f"{program.name} ended ({_why(code)}); restarting it")
        if now >= program.restart_at:
            self._start(program)

    def _relay(self, program: Program, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout, program.log.open("ab", buffering=0) as log:
            for line in iter(process.stdout.readline, b""):
                log.write(line)
                if not self._quiet:
                    self._print(program, line.decode(errors="replace"))

    def _print(self, program: Program, text: str) -> None:
        self._printer.write(
            Message(
                type="line",
                data=text.rstrip("\n") + "\n",
                time=datetime.datetime.now(),
                name=program.name,
                colour=program.colour or None,
            )
        )

    def _signal(self, program: Program, number: int) -> None:
        if program.process is None:
            return
        try:
            # What a process left behind in its session goes with it.
            if number == signal.SIGKILL:
                os.killpg(program.process.pid, number)
                program.process.wait()
            elif program.running:
                program.process.send_signal(number)
        except ProcessLookupError:
            pass


def _is_secret(name: str) -> bool:
    plain = name.removesuffix("_FILE")
    return plain in PLATFORMS_OWN or plain.startswith(PLATFORMS_OWN_PREFIXES)


def _why(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    return signal.Signals(-code).name
