"""Child processes, one per slot: started warm, called one request at a time, replaced
when they die, when they are killed for time or by a stop order, or when they are tired.

A child belongs to the thread that starts it (PR_SET_PDEATHSIG acts when that thread
ends); `stop` may come from any thread and hits only a call that nobody wants.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from typing import Any, Protocol

from gpu_worker.errors import (
    EngineFailed,
    EngineLost,
    LimitExceeded,
    Stopped,
    WorkerError,
)

logger = logging.getLogger("gpu_worker.children")

START_LIMIT_S = 120.0
START_PAUSE_S = (0.2, 5.0)
ANSWERS = {"outcomes", "arrays", "raised"}
ANSWER_LIMIT_BYTES = 10**6
KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "LANG",
    "TZ",
    "TMPDIR",
    "NIJIKA_DEVICE",
    "NIJIKA_PROFILE",
    "NIJIKA_WEIGHTS",
    "NIJIKA_WORKER_ENGINES",
)
KEPT_PREFIXES = (
    "LC_",
    "LD_",
    "PYTHON",
    "OMP_",
    "OPENCV_",
    "MALLOC_",
    "NIJIKA_BIREFNET_",
    "NIJIKA_ENGINE_",
    "NIJIKA_FASTSAM_",
    "NIJIKA_ONNX_",
    "NIJIKA_QWEN_",
    "NIJIKA_SAM2_",
    "NIJIKA_UPSCALE_",
)
"""What engines are told of; keys of providers have other names and stay outside."""


class Call(Protocol):
    """What one call to a child is for. `deadline` is a time of `time.monotonic()`."""

    deadline: float

    def heard(self, said: dict[str, Any]) -> None:
        """Progress or a checkpoint of the run."""

    def is_stopped(self) -> bool:
        """Whether nobody waits for the answer any more."""


class Child:
    """One child process and the socket to it. `nice` as in nice(1)."""

    def __init__(
        self, queue: str, *, memory_bytes: int, threads: int, nice: int = 0
    ) -> None:
        self._nice = nice
        self._queue = queue
        self._memory_bytes = memory_bytes
        self._threads = threads
        self._near_bytes = self._calls = 0
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._call: Call | None = None
        self._stopped = False
        self._pause_s = START_PAUSE_S[0]

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Have a warm child, whatever became of the last one."""
        if self._connection is not None and self._connection.poll():
            self._end()  # one that is idle says nothing, unless it has died
        while self._process is None:
            try:
                self._launch()
                self._pause_s = START_PAUSE_S[0]
            except (OSError, WorkerError):
                logger.exception("a child did not start")
                self._end()
                time.sleep(self._pause_s)
                self._pause_s = min(2 * self._pause_s, START_PAUSE_S[1])

    def call(self, request: dict[str, Any], call: Call) -> dict[str, Any]:
        """The child's answer to a request.

        Raises LimitExceeded, Stopped, EngineFailed (it crashed) or EngineLost; then the
        child is gone, and the next call starts another.
        """
        self.start()
        with self._lock:
            self._call, self._stopped = call, False
        try:
            # After the line above `stop` kills; before it, it has set what we ask here.
            if call.is_stopped():
                raise Stopped()
            answer = self._exchange(request, call)
        finally:
            with self._lock:
                self._call = None
        if answer.get("tired"):
            self._end()
        return answer

    def stop(self) -> None:
        """Kill the child if nobody waits any more for what it is at work on."""
        with self._lock:
            call, process = self._call, self._process
            if call is not None and process is not None and call.is_stopped():
                self._stopped = True
                _kill(process)

    def close(self) -> None:
        self._end()

    def _exchange(self, request: dict[str, Any], call: Call) -> dict[str, Any]:
        assert self._connection is not None
        self._calls += 1
        try:
            numbered = {"n": self._calls} | request
            self._connection.send_bytes(json.dumps(numbered).encode())
            while self._connection.poll(max(0, call.deadline - time.monotonic())):
                said = json.loads(self._connection.recv_bytes(ANSWER_LIMIT_BYTES))
                if said.keys() & ANSWERS:
                    return _checked(said, self._calls)
                call.heard(said)
        except (OSError, EOFError, ValueError, AttributeError) as error:
            raise self._death() from error
        self._end(at_once=True)
        raise LimitExceeded("The run took longer than a job may.")

    def _death(self) -> WorkerError:
        """Why the child is gone, as an error for its job."""
        stopped = self._stopped
        code, peak_bytes = self._end()
        logger.warning("a child ended: code %s, peak %s MB", code, peak_bytes >> 20)
        if stopped:
            return Stopped()
        if peak_bytes > self._near_bytes:
            return LimitExceeded("The run needed more memory than a job may use.")
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            return EngineLost()
        return EngineFailed("The engine crashed on this input.")

    def _launch(self) -> None:
        ours, theirs = Pipe()
        try:
            command = [sys.executable, "-m", "gpu_worker.child"]
            command += ["--fd", str(theirs.fileno()), "--parent", str(os.getpid())]
            command += ["--queue", self._queue]
            command += ["--memory-bytes", str(self._memory_bytes)]
            command += ["--nice", str(self._nice)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_environment(self._threads),
            )
        finally:
            theirs.close()
        with self._lock:
            self._process, self._connection = process, ours
        if not ours.poll(START_LIMIT_S):
            raise EngineFailed("The child did not become ready.")
        try:
            self._near_bytes = json.loads(ours.recv_bytes())["near_bytes"]
        except EOFError as error:
            raise EngineFailed("The child ended before it was ready.") from error

    def _end(self, *, at_once: bool = False) -> tuple[int, int]:
        """Kill and reap. The exit code, and the peak of resident memory in bytes."""
        with self._lock:
            process, self._process = self._process, None
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        if process is None:
            return 0, 0
        if at_once:
            _kill(process)
        return _reap(process)


def _checked(answer: dict[str, Any], number: int) -> dict[str, Any]:
    """A child that answers another call than ours has been taken over."""
    if answer.get("n") != number:
        raise ValueError("an answer to another call")
    return answer


def _reap(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    # The child may be dying by itself: only its own exit code tells of what. Without
    # its socket it ends soon, and the kill is for one that hangs.
    pid, status, usage = _wait_a_moment(process.pid)
    if pid == 0:
        _kill(process)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * 1024


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Popen's own `kill` would reap one that has just ended by itself, and with it its
    exit code and what it used."""
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)


def _wait_a_moment(pid: int) -> tuple[int, int, Any]:
    for _ in range(20):
        found = os.wait4(pid, os.WNOHANG)
        if found[0]:
            return found
        time.sleep(0.005)
    return found


def _environment(threads: int) -> dict[str, str]:
    """The variables that a child gets: none of the worker's secrets."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }
    counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    return dict.fromkeys(counts, str(threads)) | kept
