"""What every engine keeps: load once, run many batches, one outcome per item.

    child    `load` and `run` in a child process, one per slot, with limits on memory
             and time. The inputs are paths; the results are pictures, or encoded files.
    device   `load` and `run` in the worker's one thread that owns the device, on
             arrays; `decode` and `encode` in a child: foreign bytes stay there.
    remote   as device, but `run` waits for somebody else's machine: many threads share
             the engine, and a run takes no device away from another.

A module of an engine imports nothing heavy at its top: the worker reads `spec` and
`placement` from the class without loading it. `load` may import late.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from gpu_worker.contract import EngineSpec, Step, Unavailable
from gpu_worker.errors import WorkerError
from gpu_worker.picture import Picture as Picture

if TYPE_CHECKING:
    import numpy as np

Placement = Literal["child", "device", "remote"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input image: a file to read, never to change.

    Type and size are what the platform saw in the header: a hint, not a promise.
    """

    role: str
    path: Path
    content_type: str = ""
    width_px: int = 0
    height_px: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One job's part of a batch. `parameters` are valid under the spec's schema.

    `operation` and `steps`: what was asked for, and what follows it; an engine may look
    ahead in them, `gpu_worker.finishing` does them.
    `arrays` is what a device engine's `decode` returned; empty for child engines.
    `checkpoint` is what an earlier run of the job saved last.
    Engines of providers also get `engine`, the whole name that was asked for, and
    `own_key`, if the job's owner pays the provider.
    """

    job_id: str
    parameters: dict[str, Any]
    inputs: tuple[Input, ...] = ()
    operation: str = ""
    steps: tuple[Step, ...] = ()
    checkpoint: str | None = None
    arrays: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    engine: str = ""
    own_key: str | None = field(default=None, repr=False)

    @property
    def last_parameters(self) -> dict[str, Any]:
        """Those of the last operation, which say how the result is encoded."""
        return self.steps[-1].parameters if self.steps else self.parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One encoded result: a whole file. `details` is a small JSON object for the client
    (finite numbers, no keys of the platform's own)."""

    data: bytes
    content_type: str
    width_px: int
    height_px: int
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """What a device engine made of an item, for its `encode`."""

    arrays: dict[str, np.ndarray[Any, Any]]
    details: dict[str, Any] = field(default_factory=dict)


Outcome = tuple[Result | Picture, ...] | WorkerError
"""What an engine made of one item; `gpu_worker.finishing` makes files of pictures."""
DeviceOutcome = Arrays | WorkerError


class Hooks(Protocol):
    """How a run talks to the platform meanwhile. Cheap: call as often as you like."""

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        """Show the owner where the run is; only the newest is kept."""

    def cancelled(self, item: Item) -> bool:
        """Whether nobody waits for this item any more. A child is killed instead."""

    def checkpoint(self, item: Item, text: str) -> None:
        """Keep up to 4 kB of text for the next run of this job."""


class Engine(Protocol):
    """An engine for one operation that runs in child processes."""

    spec: ClassVar[EngineSpec]
    placement: ClassVar[Placement]

    def load(self) -> None:
        """Import, read weights, warm up. Once per process, before the first `run`.

        One that makes pictures also calls `finishing.load`, so that its first job does
        not pay for the encoders. Raises EngineUnavailable for what is missing.
        """

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        """One outcome per item, in order; at most `spec.batch_size` items.

        What fails for one item is that item's outcome. An exception concerns the whole
        batch: a single item fails by it (other than by a WorkerError: `engine_failed`),
        the items of a larger batch are run again one by one.
        """


class DeviceEngine(Protocol):
    """An engine that owns a device. `load` and `run` are only called by one thread."""

    spec: ClassVar[EngineSpec]
    placement: ClassVar[Placement]

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        """In a child: the item's inputs as arrays. Raises WorkerError."""

    def load(self) -> None: ...

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[DeviceOutcome]:
        """As `Engine.run`, on `item.arrays`; poll `hooks.cancelled` between steps."""

    @staticmethod
    def encode(item: Item, made: Arrays) -> tuple[Result | Picture, ...]:
        """In a child: the results of one item's outcome (`item.arrays` is empty)."""


class OnDevice:
    """What most engines on a device have in common; inherit and replace what differs.

    `say` tells what loading is at, for those who wait: `self.say("text encoder, 2 of
    4")`. The lane sets it before `load`; without one nobody listens.
    """

    spec: ClassVar[EngineSpec]
    placement: ClassVar[Placement] = "device"
    modules: ClassVar[tuple[str, ...]] = ()
    """What must be installed, by the names of import; else `extra_missing`."""
    say: Callable[[str], None] = staticmethod(lambda message: None)

    @staticmethod
    def available() -> Unavailable:
        """Why this engine cannot be had here, or "". Asked before anything is loaded,
        often, in the worker and in its children: cheap, and without heavy imports."""
        return ""

    @staticmethod
    def batch_key(item: Item) -> Hashable | None:
        """Only items with equal keys share a batch; None never does. Seen after
        `decode`, with the item's arrays, and cheap."""
        return ()

    def warm_up(self) -> None:
        """After `load`, before work is taken: run once what the first job would pay."""

    def unload(self) -> None:
        """Free the device. `load` may come again."""

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        """In a child: the inputs as arrays."""
        return {}
