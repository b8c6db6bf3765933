"""resize: how large the picture becomes, and making it so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpu_worker.engines import geometry
from gpu_worker.engines.base import Picture
from gpu_worker.errors import LimitExceeded
from gpu_worker.pixels import MOST_PIXELS, MOST_SIDE_PX, Pixels

# A JPEG's own reduction is coarse: the last halving is left to a good filter.
SPARE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size a picture is scaled to, then the size it is cropped or padded to."""

    scaled_px: tuple[int, int]
    result_px: tuple[int, int]


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The picture at the wanted size. Raises LimitExceeded."""
    height_px, width_px = picture.pixels.shape[:2]
    steps = plan((width_px, height_px), parameters)
    scaled = geometry.resized(picture.pixels, *steps.scaled_px)
    boxed = _padded(_cropped(scaled, steps.result_px), steps.result_px)
    return replace(picture, pixels=boxed)


def enough_px(size_px: tuple[int, int], parameters: dict[str, Any]) -> tuple[int, int]:
    """What `apply` scales an image of this size to."""
    width_px, height_px = plan(size_px, parameters).scaled_px
    return width_px * SPARE, height_px * SPARE


def plan(size_px: tuple[int, int], wanted: dict[str, Any]) -> Plan:
    """What becomes of an image of this size. Raises LimitExceeded."""
    box, fit = _box(size_px, wanted), wanted.get("fit", "cover")
    factors = box[0] / size_px[0], box[1] / size_px[1]
    if fit in ("cover", "outside"):
        factors = (max(factors),) * 2
    elif fit in ("contain", "inside"):
        factors = (min(factors),) * 2
    if not wanted.get("enlarge", False):
        factors = min(1.0, factors[0]), min(1.0, factors[1])
    scaled = _side(size_px[0] * factors[0]), _side(size_px[1] * factors[1])
    if max(scaled) > MOST_SIDE_PX or scaled[0] * scaled[1] > MOST_PIXELS:
        raise LimitExceeded(f"It would be {scaled[0]} x {scaled[1]} pixels.")
    if fit == "contain":
        return Plan(scaled_px=scaled, result_px=box)
    if fit == "cover":
        crop = min(box[0], scaled[0]), min(box[1], scaled[1])
        return Plan(scaled_px=scaled, result_px=crop)
    return Plan(scaled_px=scaled, result_px=scaled)


def _box(size_px: tuple[int, int], wanted: dict[str, Any]) -> tuple[int, int]:
    """The wanted size; a side that is not given follows from the proportions."""
    if "width" not in wanted:
        height: int = wanted["height"]
        return _side(size_px[0] * height / size_px[1]), height
    width: int = wanted["width"]
    return width, wanted.get("height") or _side(size_px[1] * width / size_px[0])


def _side(length: float) -> int:
    return max(1, round(length))


def _cropped(picture: Pixels, size_px: tuple[int, int]) -> Pixels:
    """The middle of the picture, at most this large."""
    left = max(0, picture.shape[1] - size_px[0]) // 2
    top = max(0, picture.shape[0] - size_px[1]) // 2
    return picture[top : top + size_px[1], left : left + size_px[0]]


def _padded(picture: Pixels, size_px: tuple[int, int]) -> Pixels:
    """The picture in the middle of a transparent one of this size."""
    height, width = picture.shape[:2]
    if (width, height) == size_px:
        return picture
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    padded = np.zeros((size_px[1], size_px[0], 4), np.uint8)
    left, top = (size_px[0] - width) // 2, (size_px[1] - height) // 2
    place = padded[top : top + height, left : left + width]
    place[..., 3] = 255
    place[..., : picture.shape[2]] = picture
    return padded
