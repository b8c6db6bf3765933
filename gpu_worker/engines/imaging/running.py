"""One imaging operation: on an item's files, or on a picture that is there already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gpu_worker import pixels
from gpu_worker.engines.base import Input, Item, Picture, Result
from gpu_worker.engines.imaging import sparing
from gpu_worker.engines.imaging.table import OPERATIONS, work
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels


def run(name: str, item: Item) -> Picture | Result:
    """The item's first image after the operation. Raises WorkerError."""
    if name == "resize" and (file := sparing.resized(item)):
        return file
    first, *more = item.inputs
    others = {one.role: read(one) for one in more}
    for role in OPERATIONS[name].needs:
        if role not in others:
            raise InvalidParameters(f"The operation needs an image as {role}.")
    last = item.last_parameters
    picture = pixels.read(
        first.path,
        enough_px=_enough_px(name, first, item.parameters),
        frames=_may_move(first, last),
        keep_profile=last.get("icc") == "keep",
        keep_metadata=not last.get("strip_metadata", True),
    )
    return apply(name, picture, item.parameters, others)


def read(source: Input) -> Picture:
    """An input as a picture. Raises InvalidImage."""
    return pixels.read(source.path)


def apply(
    name: str,
    picture: Picture,
    parameters: dict[str, Any],
    others: Mapping[str, Picture],
) -> Picture:
    """The picture after the operation, frame by frame where it moves."""
    module = work(name)
    if not picture.frames or getattr(module, "WHOLE", False):
        return module.apply(picture, parameters, others)
    stills = [replace(picture, pixels=picture.pixels, frames=())]
    stills += [replace(picture, pixels=frame, frames=()) for frame in picture.frames]
    made = [module.apply(still, parameters, others) for still in stills]
    first, *rest = alike([one.pixels for one in made])
    return replace(made[0], pixels=first, frames=tuple(rest))


def alike(frames: list[Pixels]) -> list[Pixels]:
    """The frames with the same channels: an animation is of one kind."""
    channels = {frame.shape[2:] for frame in frames}
    if len(channels) == 1:
        return frames
    return [_with_alpha(frame) for frame in frames]


def _with_alpha(frame: Pixels) -> Pixels:
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, axis=2)
    if frame.shape[2] == 4:
        return frame
    return np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])


def _may_move(source: Input, last: dict[str, Any]) -> bool:
    """Whether the result is of a format that can be an animation."""
    named = last.get("format")
    if named is not None:
        return pixels.form(named) in pixels.ANIMATED
    return source.content_type.removeprefix("image/") in pixels.ANIMATED


def _enough_px(
    name: str, source: Input, parameters: dict[str, Any]
) -> tuple[int, int] | None:
    enough = getattr(work(name), "enough_px", None)
    if enough is None:
        return None
    wanted: tuple[int, int] = enough(pixels.upright_size(source.path), parameters)
    return wanted
