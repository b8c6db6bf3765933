"""resize: how large the picture becomes, and making it so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from gpu_worker.engines import geometry
from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import boxes
from gpu_worker.errors import LimitExceeded
from gpu_worker.pixels import MOST_PIXELS, MOST_SIDE_PX, Pixels

SHARPEN_SIGMA_PX = 1.0

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size a picture is scaled to, then the size it is cropped or padded to."""

    scaled_px: Size
    result_px: Size


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The picture at the wanted size. Raises LimitExceeded."""
    shown = picture.pixels
    steps = plan((shown.shape[1], shown.shape[0]), parameters)
    shown = geometry.resized(shown, *steps.scaled_px)
    if parameters.get("greyscale", False):
        shown = grey(shown)
    if sigma := parameters.get("blur", 0):
        shown = blurred(shown, sigma)
    if strength := parameters.get("sharpen", 0):
        shown = sharpened(shown, strength)
    return replace(picture, pixels=_boxed(shown, steps.result_px, parameters))


def enough_px(size_px: Size, parameters: dict[str, Any]) -> Size:
    """What `apply` scales an image of this size to.

    The plan of a picture of just that size is to leave it: a picture that was made so
    while it was decoded is not scaled again.
    """
    return plan(size_px, parameters).scaled_px


def plan(size_px: Size, wanted: dict[str, Any]) -> Plan:
    """What becomes of an image of this size. Raises LimitExceeded."""
    box, factors = _box(size_px, wanted)
    fit = wanted.get("fit", "cover")
    if fit in ("cover", "outside"):
        factors = (max(factors),) * 2
    elif fit in ("contain", "inside"):
        factors = (min(factors),) * 2
    if not wanted.get("enlarge", False):
        factors = min(1.0, factors[0]), min(1.0, factors[1])
    scaled = _side(size_px[0] * factors[0]), _side(size_px[1] * factors[1])
    result = scaled
    if fit == "contain":
        result = box
    elif fit == "cover":
        result = min(box[0], scaled[0]), min(box[1], scaled[1])
    for size in (scaled, result):
        if max(size) > MOST_SIDE_PX or size[0] * size[1] > MOST_PIXELS:
            raise LimitExceeded(f"It would be {size[0]} x {size[1]} pixels.")
    return Plan(scaled_px=scaled, result_px=result)


def _box(size_px: Size, wanted: dict[str, Any]) -> tuple[Size, tuple[float, float]]:
    """The wanted size and the factors to it; a side that is not given follows from
    the proportions."""
    dpr = wanted.get("dpr", 1)
    width, height = (
        _side(wanted[name] * dpr) if name in wanted else None
        for name in ("width", "height")
    )
    across = None if width is None else width / size_px[0]
    down = None if height is None else height / size_px[1]
    factors = (across or down or 1.0, down or across or 1.0)
    box = (
        width or _side(size_px[0] * factors[0]),
        height or _side(size_px[1] * factors[1]),
    )
    return box, factors


def _side(length: float) -> int:
    return max(1, round(length))


def _boxed(shown: Pixels, size_px: Size, wanted: dict[str, Any]) -> Pixels:
    """Cropped or padded to exactly this size."""
    gravity = wanted.get("gravity", "center")
    inner = min(shown.shape[1], size_px[0]), min(shown.shape[0], size_px[1])
    kept = boxes.at_gravity((shown.shape[1], shown.shape[0]), inner, gravity)
    shown = shown[kept.slices]
    if inner == size_px:
        return shown
    place = boxes.at_gravity(size_px, inner, gravity)
    if "background" not in wanted:
        return _padded(shown, size_px, place)
    whole = _padded(shown, size_px, place)
    outside = np.ones(whole.shape[:2], bool)
    outside[place.slices] = False
    whole[outside] = (*geometry.colour(wanted["background"]), 255)
    return whole if shown.ndim == 3 and shown.shape[2] == 4 else whole[..., :3]


def _padded(shown: Pixels, size_px: Size, place: boxes.Box) -> Pixels:
    """The picture at its place in a transparent one of this size."""
    if shown.ndim == 2:
        shown = np.repeat(shown[..., None], 3, axis=2)
    padded = np.zeros((size_px[1], size_px[0], 4), np.uint8)
    spot = padded[place.slices]
    spot[..., 3] = 255
    spot[..., : shown.shape[2]] = shown
    return padded


def grey(shown: Pixels) -> Pixels:
    """The luma of ITU-R BT.601 in all colours; alpha stays."""
    if shown.ndim == 2:
        return shown
    luma = cv2.cvtColor(np.ascontiguousarray(shown[..., :3]), cv2.COLOR_RGB2GRAY)
    colours: Pixels = cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB).astype(np.uint8)
    return np.dstack([colours, shown[..., 3:]])


def blurred(shown: Pixels, sigma_px: float) -> Pixels:
    """Gaussian, on premultiplied colours."""
    if shown.ndim == 2 or shown.shape[2] == 3:
        return _gaussian(shown, sigma_px)
    alpha = shown[..., 3:].astype(np.float32) / 255
    light = cv2.GaussianBlur(
        np.dstack([shown[..., :3] * alpha, alpha]), (0, 0), sigma_px
    )
    colours = light[..., :3] / np.maximum(light[..., 3:], 1e-6)
    whole = np.dstack([colours, light[..., 3:] * 255])
    made: Pixels = np.clip(np.rint(whole), 0, 255).astype(np.uint8)
    return made


def sharpened(shown: Pixels, strength: float) -> Pixels:
    """An unsharp mask; alpha stays."""
    colours = shown if shown.ndim == 2 else np.ascontiguousarray(shown[..., :3])
    soft = _gaussian(colours, SHARPEN_SIGMA_PX)
    made: Pixels = cv2.addWeighted(colours, 1 + strength, soft, -strength, 0).astype(
        np.uint8
    )
    return made if shown.ndim == 2 else np.dstack([made, shown[..., 3:]])


def _gaussian(shown: Pixels, sigma_px: float) -> Pixels:
    made: Pixels = cv2.GaussianBlur(shown, (0, 0), sigma_px).astype(np.uint8)
    return made
