"""Engines that misbehave on purpose, for workers that tests start.

Each is an operation of its own, switched on by `SETTINGS` below; none reads pixels.
`Deadly` and `Fatal` kill their whole worker, the others do what their names say.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Sequence
from typing import Any, ClassVar

from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Arrays, Hooks, Item, Outcome, Placement, Result


def parameters(**properties: Any) -> dict[str, Any]:
    """A schema. `note` is a file to which every start of the job appends its id: a
    parameter, because the worker's children see nothing of its environment."""
    properties["note"] = {"type": "string", "default": ""}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def spec(operation: str, **rest: Any) -> EngineSpec:
    given = {"queue": "cpu", "parameters": parameters(), "images": (0, 1)}
    return EngineSpec(operation=operation, engine="test", **(given | rest))


def note_start(item: Item) -> None:
    if path := item.parameters["note"]:
        with open(path, "a") as file:
            file.write(f"{item.job_id}\n")


def dot(item: Item) -> tuple[Result, ...]:
    """A result that differs from job to job."""
    data = b"\x89PNG\r\n\x1a\n" + item.job_id.encode() + os.urandom(2000)
    return (Result(data=data, content_type="image/png", width_px=1, height_px=1),)


class Sleep:
    """Sleeps for `seconds` and succeeds."""

    placement: ClassVar[Placement] = "child"
    spec: ClassVar[EngineSpec] = spec(
        "sleep", parameters=parameters(seconds={"type": "number", "default": 0})
    )

    def load(self) -> None: ...

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        for item in batch:
            note_start(item)
            time.sleep(item.parameters["seconds"])
        return [dot(item) for item in batch]


class Deadly:
    """In the worker itself, batches of eight; one item with `poison` kills them all."""

    placement: ClassVar[Placement] = "device"
    spec: ClassVar[EngineSpec] = spec(
        "deadly",
        batch_size=8,
        parameters=parameters(poison={"type": "boolean", "default": False}),
    )

    @staticmethod
    def decode(item: Item) -> dict[str, Any]:
        return {}

    def load(self) -> None: ...

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Arrays]:
        for item in batch:
            note_start(item)
        time.sleep(0.2)
        if any(item.parameters["poison"] for item in batch):
            os.kill(os.getpid(), signal.SIGKILL)
        return [Arrays(arrays={}) for _ in batch]

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Result, ...]:
        return dot(item)


class Fatal:
    """In a child, one job at a time, each `seconds` long; one with `poison` kills the
    worker itself."""

    placement: ClassVar[Placement] = "child"
    spec: ClassVar[EngineSpec] = spec(
        "fatal",
        parameters=parameters(
            poison={"type": "boolean", "default": False},
            seconds={"type": "number", "default": 0},
        ),
    )

    def load(self) -> None: ...

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        for item in batch:
            note_start(item)
            time.sleep(item.parameters["seconds"])
            if item.parameters["poison"]:
                os.kill(os.getppid(), signal.SIGKILL)
        return [dot(item) for item in batch]


class Hostile:
    """What a bad decoder does to its process: `hang` in C, `eat` memory, `crash`."""

    placement: ClassVar[Placement] = "child"
    spec: ClassVar[EngineSpec] = spec(
        "hostile",
        run_limit_s=2,
        parameters=parameters(way={"enum": ["hang", "loop", "eat", "crash", "none"]}),
    )

    def load(self) -> None: ...

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        for item in batch:
            note_start(item)
            getattr(self, item.parameters["way"])()
        return [dot(item) for item in batch]

    def hang(self) -> None:
        # PyDLL keeps the interpreter's lock, as a stuck extension module would.
        ctypes.PyDLL(None).sleep(3600)

    def loop(self) -> None:
        while True:
            pass

    def eat(self) -> None:
        eaten = [bytearray(100_000_000) for _ in range(80)]
        raise AssertionError(len(eaten))

    def crash(self) -> None:
        ctypes.string_at(0)

    def none(self) -> None: ...


class Stuck:
    """Hangs in C in the worker's own process, where no child can be killed for it."""

    placement: ClassVar[Placement] = "device"
    spec: ClassVar[EngineSpec] = spec("stuck", run_limit_s=1)

    @staticmethod
    def decode(item: Item) -> dict[str, Any]:
        return {}

    def load(self) -> None: ...

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Arrays]:
        ctypes.CDLL(None).sleep(3600)
        return [Arrays(arrays={}) for _ in batch]

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Result, ...]:
        return dot(item)


OPERATIONS = {
    "sleep": Sleep,
    "deadly": Deadly,
    "fatal": Fatal,
    "hostile": Hostile,
    "stuck": Stuck,
}
WORKER_ENGINES = ",".join(
    f"{operation}/test=tests.misbehaving:{engine.__name__}"
    for operation, engine in OPERATIONS.items()
)
IMAGING = "resize crop encode extract inpaint canny shadow white-balance compose"
DEFAULT_ENGINES = {
    "removebg": "classical",
    "smart-mask": "classical",
    "upscale": "classical",
    "generate": "qwen-image",
    "edit": "qwen-image-edit",
    **dict.fromkeys(IMAGING.split(), "imaging"),
}
PLATFORM_ENGINES = ",".join(
    f"{operation}={engine}"
    for operation, engine in (
        DEFAULT_ENGINES | dict.fromkeys(OPERATIONS, "test")
    ).items()
)
SETTINGS = {
    "NIJIKA_WORKER_ENGINES": WORKER_ENGINES,
    "NIJIKA_DEFAULT_ENGINES": PLATFORM_ENGINES,
}
PRICES = (
    "INSERT INTO billing_price (operation, engine, credits, updated_at) VALUES "
    + (", ".join(f"('{operation}', '', 0.01, now())" for operation in OPERATIONS))
)
