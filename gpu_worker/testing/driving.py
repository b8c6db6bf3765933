"""An engine run as the worker runs it: decode, run, encode, finish; files to files.

All in this process: the child processes, their limits and the link have tests of their
own.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from gpu_worker import finishing
from gpu_worker.contract import EngineSpec
from gpu_worker.engines.base import Arrays, Input, Item, Result
from gpu_worker.errors import Stopped, WorkerError

Outcome = tuple[Result, ...] | WorkerError
_numbers = count(1)


def picture(seed: int, width: int = 64, height: int = 48) -> bytes:
    """A PNG with a bright blob on a darker, noisy ground; another one for each seed."""
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    across = (columns - width * (0.35 + 0.3 * random.random())) / (width * 0.25)
    down = (rows - height * (0.35 + 0.3 * random.random())) / (height * 0.3)
    ground = random.integers(0, 60, 3) + random.integers(0, 25, (height, width, 3))
    blob = (across**2 + down**2 < 1)[..., None]
    drawn = np.where(blob, 140 + random.integers(0, 100, 3), ground)
    out = io.BytesIO()
    Image.fromarray(drawn.astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One job: its parameters beside the schema's defaults, its images in order, and
    further ones by role."""

    parameters: dict[str, Any] = field(default_factory=dict)
    images: tuple[bytes, ...] = ()
    roles: dict[str, bytes] = field(default_factory=dict)


@dataclass(slots=True)
class RecordingHooks:
    """Hooks that write down what they hear. With `cancel_after` progress calls the runs
    are cancelled; 0: from the beginning."""

    cancel_after: int | None = None
    heard: list[tuple[str, int, int]] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        self.heard.append((item.job_id, step, total))

    def cancelled(self, item: Item) -> bool:
        return self.cancel_after is not None and len(self.heard) >= self.cancel_after

    def checkpoint(self, item: Item, text: str) -> None:
        self.checkpoints.append(text)

    def keep(self, item: Item, text: str, *, wait_s: float = 0) -> bool:
        """For engines that wait: a checkpoint of which is known that it is kept."""
        self.checkpoints.append(text)
        return True

    def handed_back(self, item: Item) -> bool:
        return False


class Driver:
    """A loaded engine. `engine` is its class, or `module:Class`; `added` are members of
    the parameters that no schema has."""

    def __init__(
        self, engine: type[Any] | str, *, added: dict[str, Any] | None = None
    ) -> None:
        self._added = added or {}
        self.kind: Any = _class(engine) if isinstance(engine, str) else engine
        self.spec: EngineSpec = self.kind.spec
        self.engine = self.kind()
        self._folder = tempfile.TemporaryDirectory(prefix="nijika-contract-")
        self.load_s = 0.0
        self.load()

    def load(self) -> None:
        began = time.monotonic()
        self.engine.load()
        if hasattr(self.engine, "warm_up"):
            self.engine.warm_up()
        finishing.load()
        self.load_s = time.monotonic() - began

    def close(self) -> None:
        with suppress(AttributeError):
            self.engine.unload()
        self._folder.cleanup()

    def item(self, case: Case) -> Item:
        """The case as a job; its images are files."""
        files = [("image", data) for data in case.images]
        inputs = [self._input(*pair) for pair in [*files, *case.roles.items()]]
        return Item(
            job_id=f"job-{next(_numbers)}",
            operation=self.spec.operation,
            parameters=with_defaults(self.spec, case.parameters) | self._added,
            inputs=tuple(inputs),
        )

    def run(self, *cases: Case, hooks: RecordingHooks | None = None) -> list[Outcome]:
        """What comes of the cases in one batch: files, or each one's own error.

        Raises what the engine raises for the batch as a whole.
        """
        return self.outcomes([self.item(case) for case in cases], hooks)

    def outcomes(
        self, items: Sequence[Item], hooks: RecordingHooks | None = None
    ) -> list[Outcome]:
        heard = hooks or RecordingHooks()
        decoded = [self._decoded(item) for item in items]
        ready = [one for one in decoded if isinstance(one, Item)]
        made = iter(self.engine.run(ready, heard) if ready else ())
        return [
            self._finished(one, next(made), heard) if isinstance(one, Item) else one
            for one in decoded
        ]

    def files(self, *cases: Case) -> list[tuple[Result, ...]]:
        """The files of cases that must succeed, run in one batch."""
        made = []
        for outcome in self.run(*cases):
            if isinstance(outcome, WorkerError):
                raise outcome
            made.append(outcome)
        return made

    def _decoded(self, item: Item) -> Item | WorkerError:
        if self.kind.placement == "child":
            return item
        try:
            return replace(item, arrays=self.kind.decode(item))
        except WorkerError as error:
            return error

    def _finished(self, item: Item, made: Any, hooks: RecordingHooks) -> Outcome:
        if isinstance(made, WorkerError):
            return made
        bare = replace(item, arrays={})
        if isinstance(made, Arrays):
            made = self.kind.encode(bare, made)
        return finishing.finish(bare, made, hooks)

    def _input(self, role: str, data: bytes) -> Input:
        path = Path(self._folder.name) / f"input-{next(_numbers)}"
        path.write_bytes(data)
        path.chmod(0o444)
        width, height = _size(data)
        return Input(role=role, path=path, width_px=width, height_px=height)


def with_defaults(spec: EngineSpec, parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as the platform sends them: with the schema's defaults."""
    properties = spec.parameters.get("properties", {})
    defaults = {n: p["default"] for n, p in properties.items() if "default" in p}
    return defaults | parameters


def pixels_of(result: Result) -> Any:
    """The file as an array of bytes: (height, width) or (height, width, channels)."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(result.data)) as shown:
        return np.asarray(shown)


def stopped(outcome: Outcome) -> bool:
    return isinstance(outcome, Stopped)


def _size(data: bytes) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as shown:
            return shown.size
    except OSError:
        return 0, 0


def _class(name: str) -> Any:
    module, _, kind = name.partition(":")
    return getattr(import_module(module), kind)
