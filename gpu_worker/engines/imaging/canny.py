"""canny: the edges of a picture, white on black."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from gpu_worker import pixels
from gpu_worker.engines.base import Picture
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

LOW, HIGH = 100, 200
SPREAD = 0.33
WHITE = (255, 255, 255)


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """(H, W, 3), each pixel black or white. What is transparent counts as white."""
    grey = _grey(picture.pixels)
    if parameters.get("mode") == "fixed":
        low, high = parameters.get("low", LOW), parameters.get("high", HIGH)
        if low > high:
            raise InvalidParameters("low is above high.")
    else:
        grey = cv2.bilateralFilter(grey, 9, 75, 75)
        low, high = thresholds(grey)
    edges = cv2.Canny(grey, low, high)
    details = picture.details | {"low": low, "high": high}
    shown = cv2.cvtColor(edges, cv2.COLOR_GRAY2RGB)
    return replace(picture, pixels=shown, details=details)


def thresholds(grey: Pixels) -> tuple[int, int]:
    """A third below and a third above the median."""
    shares = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256]))
    median = int(np.searchsorted(shares, shares[-1] / 2))
    return int((1 - SPREAD) * median), min(255, int((1 + SPREAD) * median))


def _grey(picture: Pixels) -> Pixels:
    if picture.ndim == 2:
        return picture
    flat = np.ascontiguousarray(pixels.flatten(picture, WHITE))
    return cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY)
