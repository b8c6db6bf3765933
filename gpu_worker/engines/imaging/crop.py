"""crop: a part of the picture, and what is empty around it cut away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import boxes
from gpu_worker.engines.imaging.boxes import Box
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

WHOLE = True
THRESHOLD = 10


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The part. Raises InvalidParameters: it is not inside, or nothing would stay."""
    if parameters.get("trim", False):
        threshold = parameters.get("trim_threshold", THRESHOLD)
        picture = _cut(picture, _filled([picture.pixels, *picture.frames], threshold))
    if any(name in parameters for name in ("x", "y", "width", "height")):
        picture = _cut(picture, _box(picture.pixels.shape[1::-1], parameters))
    return picture


def _cut(picture: Picture, box: Box) -> Picture:
    size = picture.pixels.shape[1], picture.pixels.shape[0]
    if not box.is_within(size):
        raise InvalidParameters(
            f"The box reaches beyond the picture, which has {size[0]} x {size[1]} "
            "pixels."
        )
    frames = tuple(frame[box.slices] for frame in picture.frames)
    return replace(picture, pixels=picture.pixels[box.slices], frames=frames)


def _box(size_px: tuple[int, ...], wanted: dict[str, Any]) -> Box:
    """The box that is asked for, wherever it lies."""
    outer = size_px[0], size_px[1]
    lengths = _pixels(outer, wanted)
    left, top = lengths.get("x", 0), lengths.get("y", 0)
    inner = (
        lengths.get("width", max(1, outer[0] - left)),
        lengths.get("height", max(1, outer[1] - top)),
    )
    if "x" in wanted or "y" in wanted:
        return Box(left=left, top=top, width=inner[0], height=inner[1])
    if inner[0] > outer[0] or inner[1] > outer[1]:
        return Box(left=0, top=0, width=inner[0], height=inner[1])
    if "focus_x" in wanted:
        return boxes.around(outer, inner, (wanted["focus_x"], wanted["focus_y"]))
    return boxes.at_gravity(outer, inner, wanted.get("gravity", "center"))


def _pixels(outer: tuple[int, int], wanted: dict[str, Any]) -> dict[str, int]:
    """Of the members that are there: whole pixels, a width and height at least one.

    Fractions are rounded edge by edge, so that boxes side by side leave no gap.
    """
    fraction = wanted.get("unit") == "fraction"
    made: dict[str, int] = {}
    for start, length, whole in (
        ("x", "width", outer[0]),
        ("y", "height", outer[1]),
    ):
        scale = whole if fraction else 1
        first = wanted.get(start, 0) * scale
        if start in wanted:
            made[start] = round(first)
        if length in wanted:
            end = round(first + wanted[length] * scale)
            made[length] = max(1, end - round(first))
    return made


def _filled(frames: Sequence[Pixels], threshold: int) -> Box:
    """What differs from the border in any frame."""
    seen = np.zeros(frames[0].shape[:2], bool)
    for frame in frames:
        seen |= _differs(frame, threshold)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        raise InvalidParameters("Nothing would stay: the picture is the same all over.")
    return Box(
        left=int(columns[0]),
        top=int(rows[0]),
        width=int(columns[-1] - columns[0] + 1),
        height=int(rows[-1] - rows[0] + 1),
    )


def _differs(frame: Pixels, threshold: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where the frame is not transparent, or has not the colour of its corner."""
    if frame.ndim == 3 and frame.shape[2] == 4 and (frame[..., 3] <= threshold).any():
        solid: np.ndarray[Any, np.dtype[np.bool_]] = frame[..., 3] > threshold
        return solid
    layers = frame[..., None] if frame.ndim == 2 else frame[..., :3]
    far = np.zeros(frame.shape[:2], bool)
    for layer in np.moveaxis(layers, 2, 0):
        corner = int(layer[0, 0])
        low, high = max(0, corner - threshold), min(255, corner + threshold)
        far |= (layer < low) | (layer > high)
    return far
