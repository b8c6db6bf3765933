"""What follows an engine in the same child: the operation's own finish, the steps, the
file.

    engine.run -> pictures -> FINISHES[operation] -> steps -> encoded by the parameters
                                                              of the last step

Nothing is stored or encoded between the steps. A `Result` is a file already: it passes
as it is, unless steps follow; then it is decoded for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from typing import Any, cast

from gpu_worker.engines.base import Hooks, Item, Picture, Result
from gpu_worker.engines.imaging.table import OPERATIONS, work

Made = Sequence[Result | Picture]
Finish = Callable[[Item, Made], Made]

FINISHES: dict[str, str] = {
    "removebg": "gpu_worker.engines.cutout.options:finish",
}
"""By operation, `module:function` of a Finish: options that all its engines share."""


def finish(item: Item, made: Made, hooks: Hooks) -> tuple[Result, ...]:
    """The files of one item. Raises WorkerError."""
    if name := FINISHES.get(item.operation):
        made = _function(name)(item, made)
    for number, step in enumerate(item.steps, start=1):
        hooks.progress(item, number, len(item.steps), step.operation)
        made = [_after(step.operation, one, step.parameters) for one in made]
    return tuple(_encoded(item, one) for one in made)


def load() -> None:
    """Import what finishing needs, so that no job pays for it."""
    from gpu_worker.engines.imaging import output, running  # noqa: F401

    for name, operation in OPERATIONS.items():
        if operation.is_step:
            work(name)
    for finish in FINISHES.values():
        _function(finish)


def _after(name: str, made: Result | Picture, parameters: dict[str, Any]) -> Picture:
    from gpu_worker.engines.imaging import running

    return running.apply(name, _picture(made), parameters, {})


def _picture(made: Result | Picture) -> Picture:
    if isinstance(made, Picture):
        return made
    from gpu_worker import pixels

    return Picture(pixels=pixels.decode(made.data), details=made.details)


def _encoded(item: Item, made: Result | Picture) -> Result:
    if isinstance(made, Result):
        return made
    from gpu_worker.engines.imaging import output

    given = item.inputs[0].content_type if item.inputs else ""
    return output.encode(made, item.last_parameters, given=given)


@cache
def _function(name: str) -> Finish:
    module, _, function = name.partition(":")
    return cast(Finish, getattr(import_module(module), function))
