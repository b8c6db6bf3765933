"""resize: how large the picture becomes, and making it so.

Of a picture that is enlarged to cover its box only what stays is made, so that its
limits are those of the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from gpu_worker.engines import geometry
from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import boxes
from gpu_worker.engines.imaging.boxes import Box
from gpu_worker.errors import LimitExceeded
from gpu_worker.pixels import MOST_PIXELS, MOST_SIDE_PX, Pixels

SHARPEN_SIGMA_PX = 1.0

Size = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The size a picture is scaled to, then the size it is cropped or padded to."""

    scaled_px: Size
    result_px: Size

    def kept(self, wanted: dict[str, Any]) -> Box:
        """What of the scaled picture is in the result."""
        scaled, result = self.scaled_px, self.result_px
        inner = min(scaled[0], result[0]), min(scaled[1], result[1])
        return boxes.at_gravity(scaled, inner, wanted.get("gravity", "center"))

    def window(self, size_px: Size, wanted: dict[str, Any]) -> Box:
        """What of the scaled picture has to be made of one of this size: all, unless
        it is enlarged; then what is kept, and around it what filters look at."""
        width, height = self.scaled_px
        if width <= size_px[0] and height <= size_px[1]:
            return Box(left=0, top=0, width=width, height=height)
        return self.kept(wanted).grown(_reach_px(wanted), within=self.scaled_px)


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The picture at the wanted size. Raises LimitExceeded."""
    size_px = picture.pixels.shape[1], picture.pixels.shape[0]
    steps = plan(size_px, parameters)
    window = steps.window(size_px, parameters)
    shown = geometry.part_resized(picture.pixels, steps.scaled_px, window.edges)
    if parameters.get("greyscale", False):
        shown = grey(shown)
    if sigma := parameters.get("blur", 0):
        shown = blurred(shown, sigma)
    if strength := parameters.get("sharpen", 0):
        shown = sharpened(shown, strength)
    kept = steps.kept(parameters)
    left, top = kept.left - window.left, kept.top - window.top
    shown = shown[top : top + kept.height, left : left + kept.width]
    return replace(picture, pixels=_padded_to(shown, steps.result_px, parameters))


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
    if max(result) > MOST_SIDE_PX or result[0] * result[1] > MOST_PIXELS:
        raise LimitExceeded(f"It would be {result[0]} x {result[1]} pixels.")
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


def _reach_px(wanted: dict[str, Any]) -> int:
    """How far off a pixel may be that shows in one of the result: OpenCV's Gaussians
    end at four standard deviations, one after the other."""
    sigmas = wanted.get("blur", 0), SHARPEN_SIGMA_PX if wanted.get("sharpen", 0) else 0
    return sum(math.ceil(4 * sigma) + 1 for sigma in sigmas if sigma)


def _padded_to(shown: Pixels, size_px: Size, wanted: dict[str, Any]) -> Pixels:
    """Padded to exactly this size, if it is smaller."""
    inner = shown.shape[1], shown.shape[0]
    if inner == size_px:
        return shown
    place = boxes.at_gravity(size_px, inner, wanted.get("gravity", "center"))
    whole = _padded(shown, size_px, place)
    if "background" not in wanted:
        return whole
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
