"""Engines that do what the tests need: answer at once, hang, eat memory, crash."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu_worker import finishing
from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import (
    Arrays,
    Hooks,
    Item,
    OnDevice,
    Outcome,
    Picture,
    Result,
)
from gpu_worker.errors import (
    EngineUnavailable,
    InvalidImage,
    OutOfMemory,
    Stopped,
    StorageUnavailable,
)
from gpu_worker.settings import SettingsError

TEXT = "text/plain"


def spec(operation: str, *, queue: str = "test", batch_size: int = 1) -> EngineSpec:
    return EngineSpec(
        operation=operation,
        engine="test",
        queue=queue,
        parameters={"type": "object"},
        batch_size=batch_size,
        run_limit_s=10,
    )


def result(text: str, **details: Any) -> tuple[Result, ...]:
    return (
        Result(
            data=text.encode(),
            content_type=TEXT,
            width_px=1,
            height_px=1,
            details=details,
        ),
    )


class Echo:
    """Answers with its parameters' `text` and what its inputs say."""

    spec = spec("echo")
    placement = "child"

    def load(self) -> None:
        pass

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[Outcome]:
        return [self.one(item, hooks) for item in batch]

    def one(self, item: Item, hooks: Hooks) -> Outcome:
        note(item)
        hooks.progress(item, 1, 1, "echoing")
        read = "".join(one.path.read_text() for one in item.inputs)
        return result(item.parameters.get("text", "") + read, pid=os.getpid())


class Sleep(Echo):
    """Sleeps for `seconds`, in C and deaf to signals, then echoes."""

    spec = spec("sleep")

    def one(self, item: Item, hooks: Hooks) -> Outcome:
        note(item)
        ctypes.CDLL(None).usleep(int(item.parameters["seconds"] * 1e6))
        return result("slept")


class Unready(Echo):
    """Needs what is not installed here."""

    spec = spec("unready")

    def load(self) -> None:
        import_module("a_library_that_nobody_has")


class Progress(Echo):
    """Says that it is half way, then works on for `seconds`."""

    spec = spec("progress")

    def one(self, item: Item, hooks: Hooks) -> Outcome:
        hooks.progress(item, 1, 2, "half")
        time.sleep(item.parameters["seconds"])
        return result("done")


class Steps(Echo):
    """Takes `steps` steps of `seconds` each, and says so."""

    spec = spec("steps")

    def one(self, item: Item, hooks: Hooks) -> Outcome:
        for step in range(1, item.parameters["steps"] + 1):
            time.sleep(item.parameters["seconds"])
            hooks.progress(item, step, item.parameters["steps"])
        return result("done")


class Batched(Echo):
    """Takes eight at once; `do` says how an item misbehaves."""

    spec = spec("batched", batch_size=8)

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[Outcome]:
        time.sleep(0.05)
        for item in batch:
            MISBEHAVE.get(item.parameters.get("do", ""), lambda: None)()
        return [self.outcome(item, len(batch)) for item in batch]

    def outcome(self, item: Item, size: int) -> Outcome:
        note(item)
        if item.parameters.get("do") == "invalid":
            return InvalidImage()
        return result("fine", batch=size)


class Misbehaving(Echo):
    """Does what `do` says."""

    spec = spec("misbehave")

    def one(self, item: Item, hooks: Hooks) -> Outcome:
        note(item)
        if item.parameters["do"] == "checkpoint":
            hooks.checkpoint(item, "half way")
            return result(item.checkpoint or "nothing yet")
        if said := item.parameters.get("say"):
            connection: Any = vars(hooks)["_connection"]
            later = threading.Timer(
                item.parameters.get("later_s", 0),
                connection.send_bytes,
                [said.encode()],
            )
            later.start()
            if not item.parameters.get("later_s"):
                later.join()
        MISBEHAVE.get(item.parameters["do"], lambda: None)()
        return result("survived")


class Paint:
    """Makes a red picture of 40 x 20, its right half transparent."""

    spec = spec("paint")
    placement = "child"

    def load(self) -> None:
        finishing.load()

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[Outcome]:
        return [self.one(item) for item in batch]

    def one(self, item: Item) -> Outcome:
        import numpy as np

        note(item)
        pixels = np.full((20, 40, 4), (200, 0, 0, 255), np.uint8)
        pixels[:, 20:, 3] = 0
        return (Picture(pixels=pixels, details={"by": "paint"}),)


class Device:
    """A device engine: decodes text to an array of bytes, and adds one to each."""

    spec = spec("device", queue="device", batch_size=4)
    placement = "device"

    @staticmethod
    def decode(item: Item) -> dict[str, Any]:
        import numpy as np

        if item.parameters.get("do") == "segfault":
            segfault()
        return {"bytes": np.frombuffer(item.parameters["text"].encode(), "u1")}

    def load(self) -> None:
        self.pid = os.getpid()

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[Any]:
        note(*batch)
        assert self.pid == os.getpid()
        for item in batch:
            if item.parameters.get("do") == "out of memory":
                raise OutOfMemory
            while item.parameters.get("do") == "loop" and not hooks.cancelled(item):
                time.sleep(0.01)
            if item.parameters.get("do") == "hang":
                ctypes.CDLL(None).sleep(60)
        return [self.made(item, len(batch)) for item in batch]

    def made(self, item: Item, size: int) -> Any:
        if item.parameters.get("do") == "invalid":
            return InvalidImage()
        made = {"bytes": item.arrays["bytes"] + 1}
        return Arrays(arrays=made, details={"batch": size})

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Result, ...]:
        return result(made.arrays["bytes"].tobytes().decode(), **made.details)


class Model(OnDevice):
    """A model that takes a moment to load, and up to eight jobs of one `kind` at once,
    as many as `fits` at a time; `do` says how it misbehaves."""

    spec = spec("model", queue="model", batch_size=8)
    loads = 0
    is_on_device = False

    @staticmethod
    def batch_key(item: Item) -> str | None:
        kind: str | None = item.parameters.get("kind", "")
        return kind

    def load(self) -> None:
        Model.loads += 1
        self.say("weights, 1 of 2")
        time.sleep(0.3)
        Model.is_on_device = True

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[Any]:
        note(*batch)
        time.sleep(0.05)
        first = batch[0].parameters
        if len(batch) > first.get("fits", 8):
            raise RuntimeError("CUDA error: out of memory")
        if first.get("do") == "quit":
            raise SystemExit(1)
        if first.get("do") == "lose":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        while first.get("do") == "step":
            time.sleep(0.02)
            if hooks.cancelled(batch[0]):
                raise Stopped
        kinds = sorted({item.parameters.get("kind", "") or "-" for item in batch})
        seen = {"batch": len(batch), "kinds": kinds, "loads": Model.loads}
        return [Arrays(arrays={}, details=seen) for _ in batch]

    def unload(self) -> None:
        Model.is_on_device = False

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Result, ...]:
        return result("made", **made.details)


class Large(Model):
    """A model that has no room beside the other one, nor when the worker starts."""

    spec = spec("large", queue="model")
    tries = 0

    def load(self) -> None:
        Large.tries += 1
        if Model.is_on_device or Large.tries == 1:
            raise RuntimeError("CUDA error: out of memory")

    def unload(self) -> None:
        pass


class Broken(Model):
    """A model whose weights are damaged."""

    spec = spec("broken", queue="model")

    def load(self) -> None:
        raise EngineUnavailable("The weights are not what they should be.")


class Misset(Model):
    """A model that reads a setting when it is loaded, and cannot."""

    spec = spec("misset", queue="model")

    def load(self) -> None:
        raise SettingsError("NIJIKA_MODEL_SIZE is none of: large, small")


class Loading(Model):
    """A model that is read by threads of its own, for a long time."""

    spec = spec("loading", queue="loading")

    def load(self) -> None:
        with ThreadPoolExecutor(1) as threads:
            threads.submit(time.sleep, 30).result()


class Missing(Model):
    """A model without weights."""

    spec = spec("missing", queue="model")

    @staticmethod
    def available() -> Any:
        return "weights_missing"

    def load(self) -> None:
        raise AssertionError("it is not to be loaded")


class Foreign(Missing):
    """A model that needs what is not installed."""

    spec = spec("foreign", queue="model")
    modules = ("a_library_that_nobody_has",)


class DeviceCutout:
    """A cut-out on a device: what is rather red is the subject."""

    spec = spec("removebg", queue="device")
    placement = "device"

    @staticmethod
    def decode(item: Item) -> dict[str, Any]:
        from gpu_worker.engines.cutout import options

        return {"picture": options.picture(item)}

    def load(self) -> None:
        pass

    def run(self, batch: Sequence[Item], hooks: Hooks) -> list[Any]:
        pictures = [item.arrays["picture"] for item in batch]
        return [Arrays(arrays={"alpha": (p[..., 0] > 128) * 255}) for p in pictures]

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Picture, ...]:
        import numpy as np

        from gpu_worker.engines.cutout import options

        rgba = np.dstack([options.picture(item), made.arrays["alpha"]])
        return (Picture(pixels=rgba.astype(np.uint8)),)


def note(*items: Item) -> None:
    """A line per run in the file that the job names: what ran, and how often."""
    for item in items:
        if file := item.parameters.get("notes"):
            with Path(file).open("a") as notes:
                notes.write(f"{item.job_id}\n")


def segfault() -> None:
    ctypes.string_at(0)


def eat_memory() -> None:
    held = []
    for _ in range(40):  # far more than a child may, and no danger where it may
        held.append(bytearray(20_000_000))


def eat_memory_in_c() -> None:
    malloc = ctypes.CDLL(None).malloc
    malloc.restype = ctypes.c_void_p
    for _ in range(40):
        ctypes.memset(malloc(20_000_000), 1, 20_000_000)


def regex_bomb() -> None:
    re.match(r"(a+)+b", "a" * 64)


def hang() -> None:
    ctypes.CDLL(None).sleep(60)


def end_process() -> None:
    os._exit(0)


def kill_process() -> None:
    os.kill(os.getpid(), 9)


def raise_error() -> None:
    raise RuntimeError("an engine's secret traceback")


def ask_for_later() -> None:
    later = StorageUnavailable()
    later.retry_after_s = 7.5
    raise later


MISBEHAVE = {
    "later": ask_for_later,
    "segfault": segfault,
    "eat memory": eat_memory,
    "eat memory in C": eat_memory_in_c,
    "hang": hang,
    "regex bomb": regex_bomb,
    "exit": end_process,
    "die": kill_process,
    "raise": raise_error,
}


class Distant(OnDevice):
    """Waits as for somebody else's machine; says which key it was given."""

    spec = dataclasses.replace(
        spec("distant", queue="distant"), provider="afar", batch_size=1
    )
    placement = "remote"

    def load(self) -> None: ...

    def run(self, batch: Sequence[Item], hooks: Any) -> list[Any]:
        [item] = batch
        note(item)
        do = item.parameters.get("do")
        if do == "hang":
            ctypes.CDLL(None).sleep(60)
        if do == "leak":
            raise RuntimeError(f"with {item.own_key}")
        if do == "keep":
            assert hooks.keep(item, "I will ask", wait_s=5)
        if do == "wait":
            hooks.progress(item, 1, 2)
        while do == "wait" and not hooks.cancelled(item):
            time.sleep(0.01)
        if do == "wait":
            word = "handed back" if hooks.handed_back(item) else "cancelled"
            Path(item.parameters["tell"]).write_text(word)
            return [Stopped()]
        time.sleep(item.parameters.get("seconds", 0))
        return [Arrays(arrays={}, details={"key": str(item.own_key)})]

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Result, ...]:
        [done] = result("done", **made.details)
        return (done,)
