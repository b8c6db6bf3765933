"""The imaging operations. Nothing heavy is imported here but by `work`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from gpu_worker.engines import parameters
from gpu_worker.engines.parameters import output, resize

if TYPE_CHECKING:
    from gpu_worker.engines.base import Picture


class Work(Protocol):
    """The module of an operation.

    It may also have `enough_px(size_px, parameters) -> (width, height)`: the upright
    size to which it is certain to shrink an image of this size, so that the image is
    decoded no larger.
    """

    @staticmethod
    def apply(
        picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
    ) -> Picture:
        """What becomes of the picture. `others`: the further inputs by role.

        Raises InvalidParameters for what this picture makes impossible, and other
        WorkerErrors.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation. `roles` are its further images, `needs` those it cannot do
    without; one that needs none can be a step. `images` as in EngineSpec."""

    name: str
    title: str
    properties: dict[str, Any]
    rules: dict[str, Any] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    images: tuple[int, int] = (1, 1)
    is_step: bool = True
    run_limit_s: float = 15
    run_limit_s_per_mp: float = 0.5

    @property
    def schema(self) -> dict[str, Any]:
        """With the members that say how the result is encoded."""
        rules = self.rules | {"allOf": [output.RULES]}
        return parameters.schema(self.properties | output.PROPERTIES, rules)


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(
            name="resize",
            title="Resize",
            properties=resize.PROPERTIES,
            rules=resize.RULES,
        ),
    )
}


@cache
def work(name: str) -> Work:
    """The module that does the operation; imported when it is first asked for."""
    module = f"gpu_worker.engines.imaging.{name.replace('-', '_')}"
    return cast(Work, import_module(module))
