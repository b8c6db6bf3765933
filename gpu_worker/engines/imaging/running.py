"""One imaging operation on one item, from its files to a picture."""

from __future__ import annotations

from typing import Any

from gpu_worker import pixels
from gpu_worker.engines.base import Input, Item, Picture
from gpu_worker.engines.imaging.table import OPERATIONS, work
from gpu_worker.errors import InvalidParameters


def run(name: str, item: Item) -> Picture:
    """The item's first image after the operation. Raises WorkerError."""
    first, *more = item.inputs
    others = {one.role: read(one) for one in more}
    for role in OPERATIONS[name].needs:
        if role not in others:
            raise InvalidParameters(f"The operation needs an image as {role}.")
    picture = read(first, enough_px=_enough_px(name, first, item.parameters))
    return work(name).apply(picture, item.parameters, others)


def read(source: Input, *, enough_px: tuple[int, int] | None = None) -> Picture:
    """An input as a picture. Raises InvalidImage."""
    return Picture(pixels=pixels.decode(source.path, enough_px=enough_px))


def _enough_px(
    name: str, source: Input, parameters: dict[str, Any]
) -> tuple[int, int] | None:
    enough = getattr(work(name), "enough_px", None)
    if enough is None:
        return None
    wanted: tuple[int, int] = enough(pixels.upright_size(source.path), parameters)
    return wanted
