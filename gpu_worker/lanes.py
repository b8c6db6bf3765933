"""The two kinds of lanes: one child process each, or the thread that owns a device.

Whatever fails for a batch of several is tried again one by one, so that a bad item
fails alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpu_worker import registry
from gpu_worker.batching import Batch, Errand
from gpu_worker.children import Child
from gpu_worker.contract import Step, from_json
from gpu_worker.engines.base import Arrays, DeviceEngine, DeviceOutcome, Input, Item
from gpu_worker.errors import EngineFailed, LimitExceeded, Stopped, WorkerError

logger = logging.getLogger("gpu_worker.lanes")


class ChildLane:
    """Runs batches in a child process of its own."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def start(self) -> None:
        self._child.start()

    def run(self, batch: Batch) -> None:
        _run(batch, self._run_once)
        if self._child.pid is None:
            self._child.start()  # now, so that the next job need not wait for it

    def interrupt(self) -> None:
        self._child.stop()

    def _run_once(self, batch: Batch) -> list[dict[str, Any]]:
        if time.monotonic() > batch.deadline:
            raise LimitExceeded("The job's time was over before its turn came.")
        answer = self._child.call(_request(batch.errands), batch)
        if "raised" in answer:
            raise error_of(answer["raised"])
        if "arrays" in answer:
            return [answer]
        engine_ms = answer.get("engine_ms")
        return [{"outcome": one, "engine_ms": engine_ms} for one in answer["outcomes"]]


class DeviceLane:
    """Runs batches on the engine that its thread has loaded."""

    def __init__(self, key: registry.Key) -> None:
        self._key = key
        self._engine: DeviceEngine | None = None

    def start(self) -> None:
        engine: Any = registry.engine_class(self._key)()
        engine.load()
        if hasattr(engine, "warm_up"):
            engine.warm_up()
        self._engine = engine

    def run(self, batch: Batch) -> None:
        _run(batch, self._run_once)

    def interrupt(self) -> None:
        """The engine asks `hooks.cancelled` by itself."""

    def _run_once(self, batch: Batch) -> list[dict[str, Any]]:
        assert self._engine is not None
        items = [_device_item(errand) for errand in batch.errands]
        hooks = DeviceHooks({e.item["job_id"]: e for e in batch.errands})
        began = time.monotonic()
        outcomes = self._engine.run(items, hooks)
        engine_ms = round((time.monotonic() - began) * 1000)
        return [_device_answer(outcome, engine_ms) for outcome in outcomes]


class DeviceHooks:
    def __init__(self, errands: dict[str, Errand]) -> None:
        self._errands = errands

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        said = [item.job_id, step, total, message]
        self._errands[item.job_id].heard({"progress": said})

    def cancelled(self, item: Item) -> bool:
        return self._errands[item.job_id].stopped

    def checkpoint(self, item: Item, text: str) -> None:
        self._errands[item.job_id].heard({"checkpoint": [item.job_id, text]})


def _run(batch: Batch, run_once: Callable[[Batch], list[dict[str, Any]]]) -> None:
    """Resolve all futures of a batch: together, and one by one if that fails."""
    wanted = [errand for errand in batch.errands if not errand.stopped]
    try:
        answers = run_once(batch)
        if len(answers) != len(batch.errands):
            raise EngineFailed("The engine did not give one outcome per item.")
    except Exception as error:
        if len(batch.errands) == 1 or not wanted:
            _fail(batch.errands, error)
            return
        for errand in batch.errands:
            _run(Batch([errand]), run_once)
        return
    for errand, answer in zip(batch.errands, answers, strict=True):
        errand.future.set_result(answer)


def _fail(errands: Sequence[Errand], error: Exception) -> None:
    if not isinstance(error, WorkerError):
        logger.error("a run failed", exc_info=error)
        error = EngineFailed()
    for errand in errands:
        errand.future.set_exception(Stopped() if errand.stopped else error)


def _request(errands: Sequence[Errand]) -> dict[str, Any]:
    first = errands[0]
    request: dict[str, Any] = {"do": first.do, "engine": list(first.key)}
    if first.do == "run":
        return request | {"items": [errand.item for errand in errands]}
    return request | {"item": first.item} | first.extra


def error_of(raised: Any) -> WorkerError:
    """The error that a child told of, which may be anything."""
    error = EngineFailed(str(raised.get("message", ""))[:500])
    error.code = str(raised.get("code", error.code))[:60]
    error.retryable = raised.get("retryable") is True
    return error


def _device_item(errand: Errand) -> Item:
    values = errand.item
    inputs = tuple(Input(**(i | {"path": Path(i["path"])})) for i in values["inputs"])
    return Item(
        job_id=values["job_id"],
        operation=errand.key[0],
        parameters=values["parameters"],
        steps=tuple(from_json(Step, step) for step in values.get("steps", [])),
        inputs=inputs,
        checkpoint=values["checkpoint"],
        arrays=errand.extra["arrays"],
    )


def _device_answer(outcome: DeviceOutcome, engine_ms: int) -> dict[str, Any]:
    if isinstance(outcome, Arrays):
        return {"made": outcome, "engine_ms": engine_ms}
    return {"error": outcome, "engine_ms": engine_ms}
