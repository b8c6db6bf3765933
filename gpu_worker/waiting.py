"""Lanes for engines that wait for somebody else's machine.

Many lanes share the engines: a run takes a thread and no device, so a worker has as
many runs under way as it has slots. Each run has a thread of its own beside its lane:
one that hangs in a library is left behind at its deadline, and what is stopped is let
go at once, while the engine finds out by its hooks.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gpu_worker import registry
from gpu_worker.batching import Batch, Errand
from gpu_worker.engines.base import Arrays, DeviceEngine, Item
from gpu_worker.errors import (
    EngineFailed,
    EngineUnavailable,
    LimitExceeded,
    Stopped,
    WorkerError,
)
from gpu_worker.lanes import item_of
from gpu_worker.standing import Standing

logger = logging.getLogger("gpu_worker.waiting")

Answer = dict[str, Any]


class WaitingRoom:
    """The engines of all waiting lanes, each loaded once. Only one that fails has a
    state to tell of: the others hold nothing that could be cold."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._lock = threading.Lock()
        self._engines: dict[registry.Key, DeviceEngine] = {}
        self._is_loaded = False

    def load(self, keys: list[registry.Key]) -> None:
        with self._lock:
            if not self._is_loaded:
                for key in keys:
                    self._load(key)
                self._is_loaded = True

    def engine(self, key: registry.Key) -> DeviceEngine:
        """Raises EngineUnavailable."""
        engine = self._engines.get(registry.home(key))
        if engine is None:
            raise EngineUnavailable
        return engine

    def _load(self, key: registry.Key) -> None:
        engine: Any = registry.engine_class(key)()
        try:
            engine.load()
        except Exception:  # the edge of an engine: its neighbours are fine
            logger.exception("engine %s was not loaded", "/".join(key))
            self._standing.is_in(key, "failed")
            return
        self._engines[key] = engine


class WaitingLane:
    """One run at a time."""

    def __init__(self, room: WaitingRoom, keys: list[registry.Key]) -> None:
        self._room, self._keys = room, keys
        self._outcome: Future[Answer] = Future()

    def start(self) -> None:
        self._room.load(self._keys)

    def most(self, errand: Errand) -> int:
        return 1

    def run(self, batch: Batch) -> None:
        for errand in batch.errands:
            try:
                errand.future.set_result(self._answer(errand))
            except WorkerError as error:
                errand.future.set_exception(Stopped() if errand.stopped else error)

    def interrupt(self) -> None:
        with suppress(InvalidStateError):
            self._outcome.set_exception(Stopped())

    def _answer(self, errand: Errand) -> Answer:
        outcome = self._outcome = Future()
        if errand.stopped:  # `interrupt` may have come before there was an outcome
            raise Stopped
        work = threading.Thread(
            target=self._work,
            args=[errand, outcome],
            name=f"waiting {errand.item['job_id']}",
            daemon=True,
        )
        work.start()
        try:
            return outcome.result(max(0, errand.deadline - time.monotonic()))
        except FutureTimeoutError:
            left_behind = LimitExceeded("The run took longer than a job may.")
            with suppress(InvalidStateError):
                outcome.set_exception(left_behind)
            return outcome.result()

    def _work(self, errand: Errand, outcome: Future[Answer]) -> None:
        try:
            answer = self._made(errand)
        except WorkerError as error:
            with suppress(InvalidStateError):
                outcome.set_exception(error)
        except BaseException as error:
            # Not its text, which may hold what a client trusted us with.
            logger.error("an engine that waits failed: %s", type(error).__name__)
            with suppress(InvalidStateError):
                outcome.set_exception(EngineFailed())
        else:
            with suppress(InvalidStateError):
                outcome.set_result(answer)

    def _made(self, errand: Errand) -> Answer:
        engine = self._room.engine(errand.key)
        item = replace(
            item_of(errand),
            engine=errand.key[1],
            own_key=errand.extra.get("own_key"),
        )
        began = time.monotonic()
        [made] = engine.run([item], WaitingHooks(errand))
        engine_ms = round((time.monotonic() - began) * 1000)
        part = "made" if isinstance(made, Arrays) else "error"
        return {part: made, "engine_ms": engine_ms, "together": 1}


class WaitingHooks:
    """As a run on a device has them, and two more."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        self._errand.heard({"progress": [item.job_id, step, total, message]})

    def cancelled(self, item: Item) -> bool:
        return self._errand.stopped

    def handed_back(self, item: Item) -> bool:
        """Whether the job goes on elsewhere, though this run is stopped."""
        return self._errand.handed_back

    def checkpoint(self, item: Item, text: str) -> None:
        self.keep(item, text)

    def keep(self, item: Item, text: str, *, wait_s: float = 0) -> bool:
        """A checkpoint of which is known, within the time, whether it is stored."""
        kept = self._errand.heard({"checkpoint": [item.job_id, text]})
        if not isinstance(kept, Future):
            return False
        try:
            kept.result(wait_s)
        except (FutureTimeoutError, WorkerError):
            return False
        return True
