"""The program of a child process: foreign bytes are read here and nowhere else.

    worker -> child   {"n": 1, "do": "run" | "decode" | "encode", "engine": […], …}
    child -> worker   any number of {"progress": …} and {"checkpoint": …}, then one
                      {"n": 1, "outcomes": […], …} or {"n": 1, "raised": {…}}

Both ways JSON over a socket pair, never pickles: a decoder that was taken over by a
hostile image can say what it likes and run nothing in the worker. The child holds no
secrets, dies with its worker, and may only add so much memory to what it has when warm.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gpu_worker import finishing, registry, storage
from gpu_worker.contract import Step, from_json, to_json
from gpu_worker.engines.base import (
    Arrays,
    DeviceEngine,
    Engine,
    Hooks,
    Input,
    Item,
    Outcome,
    Result,
)
from gpu_worker.errors import (
    EngineFailed,
    EngineUnavailable,
    LimitExceeded,
    WorkerError,
)

logger = logging.getLogger("gpu_worker.child")

PR_SET_PDEATHSIG = 1
FILE_LIMIT_BYTES = 2 * 10**9
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
HEAP_KEPT_BYTES = 32 << 20
Request = dict[str, Any]
_libc = ctypes.CDLL(None)


def main() -> None:
    options = _options()
    die_with(options.parent)
    os.nice(options.nice)
    _keep_heap()
    connection = Connection(options.fd)
    os.set_inheritable(options.fd, False)
    # The worker decides when a child ends; signals to the whole group are for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(message)s")
    _warm_up(options.queue)
    memory = Memory(options.memory_bytes)
    _send(connection, {"ready": True, "near_bytes": memory.near_bytes})
    serve(connection, memory)


def serve(connection: Connection, memory: Memory) -> None:
    """Answer requests until the worker hangs up."""
    while True:
        try:
            request = json.loads(connection.recv_bytes())
        except EOFError:
            return
        answer = _answer(request, ChildHooks(connection))
        _send(connection, answer | {"n": request["n"], "tired": memory.is_short()})


class Memory:
    """What a job may add to a warm child, as limits that the kernel keeps.

    RLIMIT_DATA counts what is really private and writable; RLIMIT_AS is the wall behind
    it. A child is `short` when it has kept much of a finished job, or has once come
    near the limit (a peak above `near_bytes`): it is replaced, so that the peak of a
    child that dies is its own last job's.
    """

    def __init__(self, limit_bytes: int) -> None:
        sizes = _proc_status()
        self._kept_bytes = sizes["VmRSS"] + limit_bytes // 4
        # The kernel counts the size of the worker that forked us into our peak.
        self.near_bytes = max(_peak_bytes(), sizes["VmRSS"] + limit_bytes * 3 // 4)
        data, whole = sizes["VmData"] + limit_bytes, sizes["VmSize"] + 2 * limit_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (data, data))
        resource.setrlimit(resource.RLIMIT_AS, (whole, whole))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, FILE_LIMIT_BYTES))

    def is_short(self) -> bool:
        if _peak_bytes() > self.near_bytes:
            return True
        if _resident_bytes() < self._kept_bytes:
            return False
        _libc.malloc_trim(0)
        return _resident_bytes() > self._kept_bytes


class ChildHooks:
    """Hooks that speak to the worker; a stopped child is killed, never asked."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        said = [item.job_id, int(step), int(total), str(message)]
        _send(self._connection, {"progress": said})

    def cancelled(self, item: Item) -> bool:
        return False

    def checkpoint(self, item: Item, text: str) -> None:
        _send(self._connection, {"checkpoint": [item.job_id, str(text)]})


def die_with(parent: int) -> None:
    """Be killed when the worker's thread that made us ends, however it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the worker is gone")


def _keep_heap() -> None:
    """What one picture gives back the next one takes: a heap that shrinks in between
    costs a fault and a cleared page for every 4 kB."""
    for threshold in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        _libc.mallopt(threshold, HEAP_KEPT_BYTES)


def _answer(request: Request, hooks: ChildHooks) -> dict[str, Any]:
    try:
        return _DO[request["do"]](request, hooks)
    except BaseException as error:
        return {"raised": _failure(error)}


def _run(request: Request, hooks: ChildHooks) -> dict[str, Any]:
    items = [_item(one, request["engine"][0]) for one in request["items"]]
    engine = _loaded(tuple(request["engine"]))
    began = time.monotonic()
    outcomes = engine.run(items, hooks)
    if len(outcomes) != len(items):
        raise EngineFailed("The engine did not give one outcome per item.")
    finished = [
        _finished(item, outcome, hooks)
        for item, outcome in zip(items, outcomes, strict=True)
    ]
    engine_ms = round((time.monotonic() - began) * 1000)
    pairs = zip(finished, request["items"], strict=True)
    stored = [_outcome(outcome, one["targets"]) for outcome, one in pairs]
    return {"outcomes": stored, "engine_ms": engine_ms}


def _decode(request: Request, hooks: ChildHooks) -> dict[str, Any]:
    import numpy as np

    arrays = _device_class(request).decode(_request_item(request))
    paths = {name: f"{request['folder']}/{name}.npy" for name in arrays}
    for name, array in arrays.items():
        np.save(paths[name], array, allow_pickle=False)
    return {"arrays": paths}


def _encode(request: Request, hooks: ChildHooks) -> dict[str, Any]:
    import numpy as np

    read = {n: np.load(p, allow_pickle=False) for n, p in request["arrays"].items()}
    made = Arrays(arrays=read, details=request["details"])
    item = _request_item(request)
    results = _device_class(request).encode(item, made)
    finished = _finished(item, results, hooks)
    return {"outcomes": [_outcome(finished, request["item"]["targets"])]}


_DO: dict[str, Callable[[Request, ChildHooks], dict[str, Any]]] = {
    "run": _run,
    "decode": _decode,
    "encode": _encode,
}


def _request_item(request: Request) -> Item:
    return _item(request["item"], request["engine"][0])


def _item(values: dict[str, Any], operation: str) -> Item:
    inputs = tuple(
        Input(**(one | {"path": Path(one["path"])})) for one in values["inputs"]
    )
    return Item(
        job_id=values["job_id"],
        operation=operation,
        parameters=values["parameters"],
        inputs=inputs,
        steps=tuple(from_json(Step, step) for step in values.get("steps", [])),
        checkpoint=values["checkpoint"],
    )


def _finished(
    item: Item, outcome: Outcome, hooks: Hooks
) -> tuple[Result, ...] | WorkerError:
    """The item's files; what goes wrong on the way concerns this item alone."""
    if isinstance(outcome, WorkerError):
        return outcome
    try:
        return finishing.finish(item, outcome, hooks)
    except Exception as error:
        return _told(error)


def _outcome(
    outcome: tuple[Result, ...] | WorkerError, targets: Sequence[str]
) -> dict[str, Any]:
    """One item's outcome as it travels; its files are stored before this returns."""
    if isinstance(outcome, WorkerError):
        return {"failure": _failure(outcome)}
    try:
        if not 0 < len(outcome) <= len(targets):
            raise EngineFailed("The engine made another number of results.")
        return {"files": [storage.put(*pair) for pair in zip(outcome, targets)]}  # noqa: B905
    except Exception as error:
        return {"failure": _failure(error)}


def _failure(error: BaseException) -> dict[str, Any]:
    return to_json(_told(error).failure())  # type: ignore[no-any-return]


def _told(error: BaseException) -> WorkerError:
    """What the job's owner is told of an error."""
    if _is_memory(error):
        return LimitExceeded("The run needed more memory than a job may use.")
    if isinstance(error, WorkerError):
        return error
    logger.error("engine failed", exc_info=error)
    return EngineFailed()


def _is_memory(error: BaseException) -> bool:
    # cv2.error, without importing OpenCV here: -4 is its StsNoMem.
    return isinstance(error, MemoryError) or getattr(error, "code", None) == -4


@cache
def _loaded(key: registry.Key) -> Engine:
    engine: Any = registry.engine_class(key)()
    try:
        engine.load()
    except (WorkerError, MemoryError):
        raise
    except Exception as error:  # packages or files that another worker may have
        raise EngineUnavailable("The engine was not loaded.") from error
    return engine  # type: ignore[no-any-return]


def _device_class(request: Request) -> type[DeviceEngine]:
    found: Any = registry.engine_class(tuple(request["engine"]))
    return found  # type: ignore[no-any-return]


def _warm_up(queue: str) -> None:
    """Load the queue's child engines, so that no job pays for imports."""
    for spec in registry.specs_of(queue):
        key = registry.key_of(spec)
        if spec.unavailable:
            continue
        try:
            if registry.engine_class(key).placement == "child":
                _loaded(key)
            else:
                finishing.load()
        except Exception:
            # The other engines work; this one fails each of its jobs, and says why.
            logger.exception("engine %s could not be loaded", "/".join(key))


def _send(connection: Connection, value: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(value, allow_nan=False).encode())


def _proc_status() -> dict[str, int]:
    """Sizes of this process in bytes (proc(5), status)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.endswith(" kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu_worker.child")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--nice", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
