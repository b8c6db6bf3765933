"""What somebody who sees the object would point at."""

from __future__ import annotations

import cv2
import numpy as np

from bench.smart_mask.cases import Mask

Place = tuple[int, int]
LOOSE = 0.06


def middle(mask: Mask) -> Place:
    """(x, y) of the inner point that is farthest from the outline."""
    depth = _depth(mask)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def anywhere(mask: Mask, random: np.random.Generator) -> Place:
    """A place well inside, not the middle."""
    depth = _depth(mask)
    rows, columns = np.nonzero(depth >= 0.5 * depth.max())
    chosen = random.integers(len(rows))
    return int(columns[chosen]), int(rows[chosen])


def correction(found: Mask, truth: Mask) -> tuple[Place, int]:
    """A click in the middle of the largest mistake, and its label."""
    missing, extra = truth & ~found, found & ~truth
    if _depth(missing).max() >= _depth(extra).max():
        return middle(missing), 1
    return middle(extra), 0


def box(mask: Mask) -> list[int]:
    rows, columns = np.nonzero(mask)
    sides = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return [int(one) for one in sides]


def loose_box(mask: Mask, random: np.random.Generator) -> list[int]:
    """A box drawn in haste: each side off by up to 6 % of the box."""
    left, top, right, bottom = box(mask)
    sides = np.array([right - left, bottom - top] * 2)
    moved = np.array([left, top, right, bottom]) + sides * random.uniform(
        -LOOSE, LOOSE, 4
    )
    return [max(0, round(one)) for one in moved]


def strokes(mask: Mask) -> Mask:
    """A brush drawn along the middle of the object."""
    side = max(mask.shape)
    small = cv2.resize(mask.astype(np.uint8) * 255, None, fx=200 / side, fy=200 / side)
    inner = _depth(small > 127) > 0.6 * _depth(small > 127).max()
    line = cv2.ximgproc.thinning(inner.astype(np.uint8) * 255)
    brush = np.ones((3, 3), np.uint8)
    size = mask.shape[1], mask.shape[0]
    drawn = cv2.resize(cv2.dilate(line, brush), size, interpolation=cv2.INTER_NEAREST)
    return drawn > 0


def rough(mask: Mask) -> Mask:
    """The object painted over generously."""
    reach = max(3, round(0.03 * max(mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _depth(mask: Mask) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """How far inside each pixel is; the image's border is an outline too."""
    padded = np.pad(mask, 1).astype(np.uint8)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
