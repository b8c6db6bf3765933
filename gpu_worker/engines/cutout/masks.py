"""Masks of small pictures and their parts."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout.pieces import Floats

Mask = NDArray[np.bool_]

SQUARE = np.ones((3, 3), np.uint8)
LEAST_PART = 0.05
LEAST_HOLE = 0.002


def grown(mask: Mask) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), SQUARE) > 0


def shrunk(mask: Mask) -> Mask:
    """The mask without its outline; the picture's border is none."""
    return cv2.erode(mask.astype(np.uint8), SQUARE) > 0


def from_border(mask: Mask) -> Mask:
    """The parts of a mask that are connected to the border."""
    framed = np.pad(mask, 1, constant_values=True)
    _, parts = cv2.connectedComponents(framed.astype(np.uint8), connectivity=4)
    return parts[1:-1, 1:-1] == parts[0, 0]


def cleaned(mask: Mask, likely: Floats, *, least: float = LEAST_PART) -> Mask:
    """Without parts that are small beside the largest, and without tiny holes."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return mask
    weights = np.bincount(parts.ravel(), likely.ravel(), count)
    weights[0] = 0
    kept = weights >= least * weights.max()
    kept[0] = False
    mask = kept[parts]
    _, holes, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    tiny = stats[:, cv2.CC_STAT_AREA] < LEAST_HOLE * mask.size
    return mask | (tiny[holes])
