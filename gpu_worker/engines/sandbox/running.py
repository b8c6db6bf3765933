"""One item of the sandbox: what was asked for on purpose, then a marked picture."""

from __future__ import annotations

from dataclasses import replace

from gpu_worker.contract import SANDBOX
from gpu_worker.engines.base import Hooks, Item, Outcome, Picture
from gpu_worker.engines.sandbox import directions, marking, painting, pretending
from gpu_worker.pixels import Pixels

MASKS = {"smart-mask", "canny"}
"""Operations whose result says where, by its brightness."""


def run(item: Item, hooks: Hooks) -> Outcome:
    """The item's pictures. Raises WorkerError, also where that was asked for."""
    directions.follow(item, hooks)
    plain = replace(
        item, parameters={k: v for k, v in item.parameters.items() if k != SANDBOX}
    )
    return tuple(_marked(plain, one) for one in pretending.make(plain, hooks))


def _marked(item: Item, picture: Picture) -> Picture:
    return replace(
        picture,
        pixels=_mark(item, picture.pixels),
        frames=tuple(_mark(item, frame) for frame in picture.frames),
        details=picture.details | {"sandbox": True},
    )


def _mark(item: Item, shown: Pixels) -> Pixels:
    if item.operation in MASKS and shown.ndim == 2:
        return marking.mark_mask(shown)
    marked = marking.mark(shown)
    if item.operation == "removebg" and item.parameters.get("channels") == "alpha":
        marked[..., 3] = marking.mark_mask(shown[..., 3])
    if item.operation == "generate":
        return painting.with_caption(marked, item.parameters["prompt"])
    return marked
