"""The two kinds of lanes: one child process each, or the thread that owns a device.

- Whatever fails for a batch of several is tried again one by one, so that a bad item
  fails alone.
- A device without enough memory gets the batch in halves; what did not fit is not tried
  again in that size.
- A lost device is lost for the whole process: what ran is reported as failed for
  another worker, and the process ends.
- An engine is loaded when its worker starts. One that did not fit or was unloaded is
  cold, and is loaded by the next job; what is idle makes room for it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

from gpu_worker import registry
from gpu_worker.batching import Batch, Errand
from gpu_worker.children import Child
from gpu_worker.contract import Step, from_json
from gpu_worker.engines import devices
from gpu_worker.engines.base import Arrays, DeviceEngine, DeviceOutcome, Input, Item
from gpu_worker.errors import (
    DeviceLost,
    EngineFailed,
    EngineUnavailable,
    LimitExceeded,
    OutOfMemory,
    Stopped,
    WorkerError,
)
from gpu_worker.settings import SettingsError
from gpu_worker.standing import Standing

logger = logging.getLogger("gpu_worker.lanes")

Answers = list[dict[str, Any]]


class ChildLane:
    """Runs batches in a child process of its own."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def start(self) -> None:
        self._child.start()

    def most(self, errand: Errand) -> int:
        return errand.together

    def run(self, batch: Batch) -> None:
        _run(batch, self._run_once)
        if self._child.pid is None:
            self._child.start()  # now, so that the next job need not wait for it

    def interrupt(self) -> None:
        self._child.stop()

    def _run_once(self, batch: Batch) -> Answers:
        if time.monotonic() > batch.deadline:
            raise LimitExceeded("The job's time was over before its turn came.")
        answer = self._child.call(_request(batch.errands), batch)
        if "raised" in answer:
            raise error_of(answer["raised"])
        if "arrays" in answer:
            return [answer]
        shared = {"engine_ms": answer.get("engine_ms"), "together": len(batch.errands)}
        return [{"outcome": one} | shared for one in answer["outcomes"]]


class Device:
    """What the lanes of one device share: who is on it, and whether it still answers.

    `lost` is called once when the device is gone, with the jobs that ran on it.
    """

    def __init__(
        self, standing: Standing, *, lost: Callable[[Sequence[str]], None]
    ) -> None:
        self.standing = standing
        self.lost = lost
        # Held while an engine is loaded: what waits for room holds no engine's lock.
        self.loading = threading.Lock()
        self.lanes: dict[registry.Key, DeviceLane] = {}

    def lane(self, key: registry.Key) -> DeviceLane:
        self.lanes[key] = DeviceLane(key, self)
        return self.lanes[key]

    def unload(self, key: registry.Key) -> None:
        """Free what an engine holds, once it has ended what it runs."""
        if lane := self.lanes.get(key):
            lane.unload()

    def make_room(self, wanted: DeviceLane) -> bool:
        """Unload the engine that has been idle longest; False: there is none."""
        others = [one for one in self.lanes.values() if one is not wanted]
        loaded = [one for one in others if one.is_loaded]
        if not loaded:
            return False
        min(loaded, key=lambda lane: lane.used_at).unload()
        return True


class DeviceLane:
    """Runs batches on its engine, which it loads when it is needed."""

    def __init__(self, key: registry.Key, device: Device) -> None:
        self.used_at = 0.0
        self._key = key
        self._device = device
        self._standing = device.standing
        self._engine: DeviceEngine | None = None
        self._using = threading.Lock()
        self._fitted: dict[Hashable, int] = {}
        self._standing.is_in(key, "cold")

    @property
    def is_loaded(self) -> bool:
        return self._engine is not None

    def start(self) -> None:
        """Load the engine, if it can be. What fails now is tried again with a job."""
        try:
            self._load(lambda message: None, make_room=False)
        except OutOfMemory:
            self._standing.is_in(self._key, "cold", "does not fit beside the others")
        except DeviceLost:
            self._device.lost([])
        except WorkerError:
            logger.exception("engine %s was not loaded", "/".join(self._key))

    def most(self, errand: Errand) -> int:
        return min(errand.together, self._fitted.get(errand.share, errand.together))

    def run(self, batch: Batch) -> None:
        try:
            while not self._ran(batch):
                self._load(_teller(batch))
        except DeviceLost as error:
            self._device.lost([errand.item["job_id"] for errand in batch.errands])
            _fail(batch.open_errands(), error)
        except WorkerError as error:
            _fail(batch.open_errands(), error)
        finally:
            self.used_at = time.monotonic()
            self._standing.ends(self._key)

    def _ran(self, batch: Batch) -> bool:
        """False: there is no engine to run it on."""
        with self._using:
            if self._engine is None:
                return False
            self._standing.begins(self._key)
            _run(batch, self._run_once, halve=self._did_not_fit)
            return True

    def unload(self) -> None:
        """Wait for the run of the moment, then give the device back."""
        with self._using:
            engine, self._engine = self._engine, None
            if engine is not None and hasattr(engine, "unload"):
                engine.unload()
            del engine
            devices.free_memory()
            self._standing.is_in(self._key, "cold")

    def interrupt(self) -> None:
        """The engine asks `hooks.cancelled` by itself."""

    def _load(self, tell: Callable[[str], None], *, make_room: bool = True) -> None:
        """Have the engine loaded. Raises WorkerError."""

        def say(message: str) -> None:
            self._standing.is_in(self._key, "loading", message)
            tell(f"loading the model: {message}" if message else "loading the model")

        with self._device.loading:
            say("")
            while True:
                try:
                    self._engine = self._loaded(say)
                    break
                except OutOfMemory as error:
                    self._standing.is_in(self._key, "failed", str(error))
                    if not (make_room and self._device.make_room(self)):
                        raise
            self._standing.is_in(self._key, "warm")

    def _loaded(self, say: Callable[[str], None]) -> DeviceEngine:
        engine: Any = registry.engine_class(self._key)()
        engine.say = say
        began = time.monotonic()
        try:
            engine.load()
            if hasattr(engine, "warm_up"):
                engine.warm_up()
        # The edge of an engine, which may be anybody's. A setting that cannot be read
        # is a SystemExit, and would end this thread alone, which nobody would notice.
        except (Exception, SystemExit) as error:
            self._standing.is_in(self._key, "failed", _told(error))
            del engine
            devices.free_memory()
            raise _load_error(error) from error
        logger.info("%s: %.1f s to load", "/".join(self._key), time.monotonic() - began)
        return engine  # type: ignore[no-any-return]

    def _run_once(self, batch: Batch) -> Answers:
        assert self._engine is not None
        if all(_is_late(errand) for errand in batch.errands):
            raise LimitExceeded
        items = [item_of(errand) for errand in batch.errands]
        hooks = DeviceHooks({e.item["job_id"]: e for e in batch.errands})
        began = time.monotonic()
        try:
            outcomes = self._engine.run(items, hooks)
        except SystemExit as error:  # would end this thread alone
            raise EngineFailed from error
        except Exception as error:
            if meant := devices.error_of(error):
                raise meant from error
            raise
        shared = {
            "engine_ms": round((time.monotonic() - began) * 1000),
            "together": len(items),
        }
        pairs = zip(batch.errands, outcomes, strict=False)
        return [_device_answer(*pair) | shared for pair in pairs]

    def _did_not_fit(self, batch: Batch) -> None:
        devices.free_memory()
        for errand in batch.errands:
            self._fitted[errand.share] = max(1, len(batch.errands) // 2)


class DeviceHooks:
    def __init__(self, errands: dict[str, Errand]) -> None:
        self._errands = errands

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        said = [item.job_id, step, total, message]
        self._errands[item.job_id].heard({"progress": said})

    def cancelled(self, item: Item) -> bool:
        """Also when its time is over: an engine that asks need not be killed for it."""
        errand = self._errands[item.job_id]
        return errand.stopped or _is_late(errand)

    def checkpoint(self, item: Item, text: str) -> None:
        self._errands[item.job_id].heard({"checkpoint": [item.job_id, text]})


def _run(
    batch: Batch,
    run_once: Callable[[Batch], Answers],
    *,
    halve: Callable[[Batch], None] | None = None,
) -> None:
    """Resolve all futures of a batch: together; by halves where memory was short; one
    by one if it fails otherwise. Raises DeviceLost, with futures left open."""
    wanted = [errand for errand in batch.errands if not errand.stopped]
    try:
        answers = run_once(batch)
        if len(answers) != len(batch.errands):
            raise EngineFailed("The engine did not give one outcome per item.")
    except DeviceLost:
        raise
    except Exception as error:
        if halve and isinstance(error, OutOfMemory):
            halve(batch)
        if len(batch.errands) == 1 or not wanted:
            _fail(batch.errands, error)
            return
        for part in _parts(batch, error):
            _run(part, run_once, halve=halve)
        return
    for errand, answer in zip(batch.errands, answers, strict=True):
        errand.future.set_result(answer)


def _parts(batch: Batch, error: Exception) -> list[Batch]:
    """How a batch that failed is tried again: what has least time left comes first."""
    errands, size = sorted(batch.errands, key=lambda errand: errand.deadline), 1
    if isinstance(error, OutOfMemory):
        size = -(-len(errands) // 2)
    starts = range(0, len(errands), size)
    return [Batch(errands[start : start + size]) for start in starts]


def _fail(errands: Sequence[Errand], error: Exception) -> None:
    if not isinstance(error, WorkerError):
        logger.error("a run failed", exc_info=error)
        error = EngineFailed()
    for errand in errands:
        errand.future.set_exception(_for(errand, error))


def _for(errand: Errand, error: WorkerError) -> WorkerError:
    """The error as it concerns this errand: what has stopped by itself was late."""
    if errand.stopped:
        return Stopped()
    return LimitExceeded() if isinstance(error, Stopped) else error


def _is_late(errand: Errand) -> bool:
    return time.monotonic() > errand.deadline


def _load_error(error: BaseException) -> WorkerError:
    if isinstance(error, EngineUnavailable):
        return error
    return devices.error_of(error) or EngineUnavailable("The engine was not loaded.")


def _told(error: BaseException) -> str:
    """What of a failed loading may be shown: our own errors are written for that."""
    ours = isinstance(error, WorkerError | SettingsError)
    return str(error) if ours else type(error).__name__


def _teller(batch: Batch) -> Callable[[str], None]:
    """Tells the batch's owners what their jobs wait for."""

    def tell(message: str) -> None:
        for errand in batch.errands:
            errand.heard({"progress": [errand.item["job_id"], 0, 0, message]})

    return tell


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
    wait_s = raised.get("retry_after_s")
    if isinstance(wait_s, int | float) and math.isfinite(wait_s):
        error.retry_after_s = float(wait_s)
    return error


def item_of(errand: Errand) -> Item:
    """The item as an engine on a device gets it."""
    return make_item(errand.key[0], errand.item, errand.extra["arrays"])


def make_item(operation: str, values: dict[str, Any], arrays: dict[str, Any]) -> Item:
    inputs = tuple(Input(**(i | {"path": Path(i["path"])})) for i in values["inputs"])
    return Item(
        job_id=values["job_id"],
        operation=operation,
        parameters=values["parameters"],
        steps=tuple(from_json(Step, step) for step in values.get("steps", [])),
        inputs=inputs,
        checkpoint=values["checkpoint"],
        arrays=arrays,
    )


def _device_answer(errand: Errand, outcome: DeviceOutcome) -> dict[str, Any]:
    if isinstance(outcome, Arrays):
        return {"made": outcome}
    return {"error": _for(errand, outcome)}
