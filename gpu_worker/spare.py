"""Lanes beside the slots, for the sandbox: no live job ever waits for one of its runs.

There are many lanes, which only wait (a client may ask for a delay), and one child that
all of them share, which works at the lowest priority: what it gets of the machine is
what live jobs leave. It is started by the first run that needs it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from gpu_worker.batching import Batch, Batcher, Errand
from gpu_worker.children import Child
from gpu_worker.contract import SANDBOX, SPARE_RUNS
from gpu_worker.gate import Draining, Gate
from gpu_worker.lanes import ChildLane

SAY_EVERY_S = 0.5
logger = logging.getLogger("gpu_worker.spare")


class Spare:
    """A worker's room for the sandbox: a gate, threads and lanes of their own.

    A message is handed to the threads at once, so that none of Celery's is kept from
    the next one. What is not taken up before the worker goes the platform sends again.
    """

    def __init__(self, child: Child) -> None:
        turn = threading.Lock()
        lanes = [SpareLane(child, turn) for _ in range(SPARE_RUNS)]
        self.gate = Gate(SPARE_RUNS)
        self.batcher = Batcher(SANDBOX, lanes)
        self._tasks: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def start(self) -> None:
        self.batcher.start()
        for _ in range(SPARE_RUNS):
            threading.Thread(target=self._work, name="spare", daemon=True).start()

    def do(self, task: Callable[[], None]) -> None:
        """Have the task done by one of the threads; Draining ends it unsaid."""
        self._tasks.put(task)

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            try:
                task()
            except Draining:
                return
            except Exception:  # the edge of this thread
                logger.exception("a message of the sandbox failed")


class SpareLane(ChildLane):
    """Waits as long as the run is told to, then has its turn with the child."""

    def __init__(self, child: Child, turn: threading.Lock) -> None:
        super().__init__(child)
        self._turn = turn
        self._disturbed = threading.Event()
        self._waited_ms = 0

    def start(self) -> None:
        """Nothing: the first run starts the child."""

    def run(self, batch: Batch) -> None:
        self._disturbed.clear()
        began = time.monotonic()
        for errand in batch.errands:
            self._delay(errand, batch)
        self._waited_ms = round((time.monotonic() - began) * 1000)
        with self._turn:
            super().run(batch)

    def interrupt(self) -> None:
        self._disturbed.set()
        super().interrupt()

    def _run_once(self, batch: Batch) -> list[dict[str, Any]]:
        """Waiting counts as the engine's time, not as the platform's."""
        answers = super()._run_once(batch)
        return [
            one | {"engine_ms": (one["engine_ms"] or 0) + self._waited_ms}
            for one in answers
        ]

    def _delay(self, errand: Errand, batch: Batch) -> None:
        """Let the time pass that the client asked for, and say how much of it has.

        Ends early for a run that nobody wants any more, or whose time is over.
        """
        parameters = errand.item["parameters"]
        delay_s = parameters.get(SANDBOX, {}).get("delay_s", 0)
        began = time.monotonic()
        end = min(began + delay_s, batch.deadline)
        while (left_s := end - time.monotonic()) > 0 and not batch.is_stopped():
            passed = (time.monotonic() - began) / delay_s
            errand.heard({"progress": _progress(errand, parameters, passed)})
            self._disturbed.wait(min(left_s, SAY_EVERY_S))
            self._disturbed.clear()


def _progress(errand: Errand, parameters: dict[str, Any], passed: float) -> list[Any]:
    """As the engine itself would say it: in its steps, where it has any."""
    asked = parameters.get("steps", math.ceil(parameters[SANDBOX]["delay_s"]))
    return [errand.item["job_id"], int(passed * asked), asked, "waiting as asked"]
