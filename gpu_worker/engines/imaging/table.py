"""The imaging operations. Nothing heavy is imported here but by `work`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from gpu_worker.engines import parameters
from gpu_worker.engines.parameters import (
    canny,
    compose,
    crop,
    encode,
    extract,
    inpaint,
    output,
    resize,
    shadow,
    white_balance,
)

if TYPE_CHECKING:
    from gpu_worker.engines.base import Picture


class Work(Protocol):
    """The module of an operation.

    It may also have `enough_px(size_px, parameters) -> (width, height)`: the upright
    size to which it is certain to shrink an image of this size, so that the image is
    decoded no larger. With `WHOLE = True` its `apply` takes all frames of an animation
    at once; else it is called for each.
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
        """With the members that say how the result is encoded; an operation's own
        replace them, so that it can name another default."""
        rules = self.rules | {"allOf": [output.RULES]}
        return parameters.schema(output.PROPERTIES | self.properties, rules)


OPERATIONS: dict[str, Operation] = {
    operation.name: operation
    for operation in (
        Operation(
            name="resize",
            title="Resize",
            properties=resize.PROPERTIES,
            rules=resize.RULES,
        ),
        Operation(
            name="crop",
            title="Crop",
            properties=crop.PROPERTIES,
            rules=crop.RULES,
        ),
        Operation(
            name="encode",
            title="Encode in another format",
            properties=encode.PROPERTIES,
            run_limit_s_per_mp=2,
        ),
        Operation(
            name="extract",
            title="Extract an object by its mask",
            properties=extract.PROPERTIES,
            roles=("mask",),
        ),
        Operation(
            name="inpaint",
            title="Fill what a mask marks",
            properties=inpaint.PROPERTIES,
            rules=inpaint.RULES,
            roles=("mask",),
            needs=("mask",),
            is_step=False,
            run_limit_s=30,
            run_limit_s_per_mp=4,
        ),
        Operation(
            name="canny",
            title="Edges",
            properties=canny.PROPERTIES,
            rules=canny.RULES,
        ),
        Operation(
            name="shadow",
            title="Shadow under an object",
            properties=shadow.PROPERTIES,
            roles=("mask",),
        ),
        Operation(
            name="white-balance",
            title="White balance",
            properties=white_balance.PROPERTIES,
            rules=white_balance.RULES,
        ),
        Operation(
            name="compose",
            title="Put a cut-out on a background",
            properties=compose.PROPERTIES,
            rules=compose.RULES,
            roles=("reference",),
        ),
    )
}


@cache
def work(name: str) -> Work:
    """The module that does the operation; imported when it is first asked for."""
    module = f"gpu_worker.engines.imaging.{name.replace('-', '_')}"
    return cast(Work, import_module(module))
