"""What somebody who sees the object would point at."""

from __future__ import annotations

import cv2
import numpy as np

from bench.smart_mask.cases import Mask

Place = tuple[int, int]
LOOSE = 0.06
SHIFT = 0.08


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


def rough(mask: Mask, share: float = 0.03) -> Mask:
    """The object painted over generously, by a share of the photo's longer side."""
    reach = max(3, round(share * max(mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def blob(mask: Mask, share: float) -> Mask:
    """A round blob in the middle, of a share of the radius that there is room for."""
    x, y = middle(mask)
    radius = max(2, round(share * float(_depth(mask).max())))
    drawn = np.zeros(mask.shape, np.uint8)
    return cv2.circle(drawn, (x, y), radius, 1, -1) > 0


def shrunk(mask: Mask, share: float) -> Mask:
    """The object painted over without its margin, of a share of its greatest depth."""
    depth = _depth(mask)
    return depth > share * float(depth.max())


def shifted(mask: Mask) -> Mask:
    """The object's outline beside the object, by so much of its longer side."""
    left, top, right, bottom = box(mask)
    by = SHIFT * max(right - left, bottom - top)
    move = np.array([[1, 0, by], [0, 1, -by / 2]], np.float32)
    moved = cv2.warpAffine(mask.astype(np.uint8), move, mask.shape[::-1])
    return moved > 0


def hull(mask: Mask) -> Mask:
    """The object painted over without its bays."""
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    around = cv2.convexHull(np.concatenate(outlines))
    return cv2.fillPoly(np.zeros(mask.shape, np.uint8), [around], 1) > 0


def _depth(mask: Mask) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """How far inside each pixel is; the image's border is an outline too."""
    padded = np.pad(mask, 1).astype(np.uint8)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
