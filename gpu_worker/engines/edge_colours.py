"""What soft edges are computed from: the way to a mask's edge, and the colours on both
sides of it. For cut-outs and masks alike."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

# A colour from where the mask is unsure counts only where nothing better is near.
UNSURE = 1e-3


class Sides(NamedTuple):
    """Mean colours near each pixel, 0 to 255, and the variances of those colours."""

    subject: Floats
    subject_spread: Floats
    background: Floats
    background_spread: Floats


def depth_of(mask: Mask) -> Floats:
    """How far inside the mask each pixel is, in pixels; outside it is negative."""
    return _inside(mask) - _inside(~mask)


def sides(picture: Floats, prior: Floats, depth: Floats, radius: int) -> Sides:
    """The colours beyond the band's limits, where `depth` is 1 and -1."""
    sure, sure_not = (depth >= 1).astype(np.float32), (depth <= -1).astype(np.float32)
    subject, subject_spread = _local(picture, sure + UNSURE * prior, radius)
    background, spread = _local(picture, sure_not + UNSURE * (1 - prior), radius)
    return Sides(subject, subject_spread, background, spread)


def _inside(mask: Mask) -> Floats:
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)


def _local(picture: Floats, weights: Floats, radius: int) -> tuple[Floats, Floats]:
    """The weighted mean colour around each pixel, and the variance of those colours."""
    window = (2 * radius + 1, 2 * radius + 1)
    weights = weights[..., None]
    total = cv2.boxFilter(weights, -1, window)[..., None] + 1e-9
    mean = cv2.boxFilter(picture * weights, -1, window) / total
    squares = (picture**2).sum(axis=2, keepdims=True)
    square = cv2.boxFilter(squares * weights, -1, window) / total[..., 0]
    return mean, np.maximum(square - (mean**2).sum(axis=2), 0)
