"""One operation on pictures made by hand: through the schema as the platform fills it,
the engine, and the finishing to a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_worker import finishing, pixels, registry
from gpu_worker.contract import Step
from gpu_worker.engines.base import Engine, Input, Item, Result
from gpu_worker.pixels import Pixels
from jobs.parsing.schemas import Schema
from tests.gpu_worker.engines.pictures import Silent

NAMES = {"upscale": "classical"}


@dataclass
class Desk:
    """`folder` keeps the inputs; `last` is the last result."""

    folder: Path
    engines: dict[str, Engine]
    last: Result | None = None
    steps: list[Step] = field(default_factory=list)

    def __call__(
        self,
        operation: str,
        image: Pixels | Path,
        *,
        others: dict[str, Pixels | Path] | None = None,
        **wanted: Any,
    ) -> Pixels:
        """What the result shows. Raises BadFields and WorkerErrors."""
        engine = self._engine(operation)
        given = {"image": image} | (others or {})
        one = Item(
            job_id="job",
            operation=operation,
            parameters=filled(engine, wanted),
            inputs=tuple(self._input(role, shown) for role, shown in given.items()),
            steps=tuple(self.steps),
        )
        outcome = engine.run([one], Silent())[0]
        assert isinstance(outcome, tuple)
        (self.last,) = finishing.finish(one, outcome, Silent())
        return pixels.decode(self.last.data)

    def then(self, operation: str, **wanted: Any) -> None:
        """Let a step follow from now on."""
        parameters = filled(self._engine(operation), wanted)
        self.steps.append(Step(operation=operation, parameters=parameters))

    def _engine(self, operation: str) -> Engine:
        if operation not in self.engines:
            key = operation, NAMES.get(operation, "imaging")
            self.engines[operation] = registry.engine_class(key)()  # type: ignore[assignment]
            self.engines[operation].load()
        return self.engines[operation]

    def _input(self, role: str, shown: Pixels | Path) -> Input:
        if isinstance(shown, Path):
            kind = shown.suffix.lstrip(".").replace("jpg", "jpeg")
            return Input(role=role, path=shown, content_type=f"image/{kind}")
        path = self.folder / f"{role}.png"
        path.write_bytes(pixels.encode(shown, "png").data)
        return Input(role=role, path=path, content_type="image/png")


def filled(engine: Engine, wanted: dict[str, Any]) -> dict[str, Any]:
    """The parameters with their defaults. Raises BadFields."""
    return Schema(engine.spec.parameters, path="parameters").normalised(wanted)
