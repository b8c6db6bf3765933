"""An object that somebody points at, by a network that knows no prompts: it finds the
subject of whatever it is shown. So it is shown the part of the image that is meant, and
what it finds there is held against everything that was said.

    nothing   the whole image
    box       the box and a little around it, then the whole image; what lies outside
              the box is cut away
    guide     likewise, around what was painted over
    points    the whole image, then windows around the points, each nearer

Where nothing that was found is what was said, the caller has to find it otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.smart_mask.asking import Floats, Object
from gpu_worker.pixels import Pixels

Mask = NDArray[np.bool_]
Place = tuple[int, int, int, int]
"""x_min, y_min, x_max, y_max in pixels of the image that is worked on."""
Size = tuple[int, int]
"""Width and height of that image."""

# In shares of the box's sides. Not measured: it needs published weights.
AROUND = 0.15
WINDOWS = (0.5, 0.25)
"""Of the image's sides, at least: ever nearer looks at what points mean."""
SURE = 127
LEAST_SHARE = 0.001
LEAST_PART = 0.2
"""Of the largest part's area: less is a crumb."""
NEAR = 0.01
"""Of the longer side: a point so near an object is on it."""
LEAST_IN_BOX = 0.25
"""Of the box's area, what is around the object: who draws a box draws it loosely."""
LEAST_ON_GUIDE = 0.3
"""Overlap (intersection over union) below which a mask is not what was painted over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`opacity` is uint8 (height, width) of the whole image; `score` is 0 to 1."""

    opacity: Pixels
    score: float


def places(wanted: Object, size: Size) -> list[Place]:
    """Where to look for the object, one after the other until it is found."""
    whole = (0, 0, *size)
    box = _box(wanted)
    if wanted.is_subject:
        looks = [whole]
    elif box is not None:
        looks = [_pixels(_widened(box), size), whole]
    else:
        on_object = wanted.points[wanted.points[:, 2] > 0]
        looks = [whole, *(_window(on_object, share, size) for share in WINDOWS)]
    return list(dict.fromkeys(looks))


def found(opacity: Pixels, place: Place, wanted: Object, size: Size) -> Found | None:
    """The object in what the network found at a place, uint8 of its size; None where
    that is not what was said."""
    left, top, right, bottom = place
    whole = np.zeros(size[::-1], np.uint8)
    whole[top:bottom, left:right] = opacity
    if wanted.box is not None:
        whole = _within(whole, _pixels(wanted.box, size))
    sure = whole > SURE
    if sure.mean() < LEAST_SHARE * _share(place, size):
        return None
    depth, parts = _parts(sure)
    kept = _kept(sure, depth, parts, wanted)
    if kept is None:
        return None
    mask = sure & kept[parts]
    if not _is_meant(mask, place, wanted):
        return None
    # The soft edge goes with the part that it is nearest to.
    return Found(
        opacity=np.where(kept[parts], whole, np.uint8(0)),
        score=float(whole[mask].mean() / 255),
    )


def _kept(
    sure: Mask, depth: Floats, parts: NDArray[np.int32], wanted: Object
) -> Mask | None:
    """By part, whether it belongs to the object; None: a point is on no part."""
    count = int(parts.max()) + 1
    areas = np.bincount(parts[sure], minlength=count)
    pointed = np.zeros(count, bool)
    for row, column in _pixels_of(wanted.points, sure.shape, on_object=True):
        if depth[row, column] > NEAR * max(sure.shape):
            return None
        pointed[parts[row, column]] = True
    if wanted.guide is not None:
        guide = _at(wanted.guide, sure.shape)
        guided = np.bincount(parts[sure & guide], minlength=count)
        pointed |= (areas > 0) & (guided >= areas / 2)
        return pointed
    return pointed if pointed.any() else (areas >= LEAST_PART * areas.max())


def _is_meant(mask: Mask, place: Place, wanted: Object) -> bool:
    """Whether the mask is all that was said, and no more."""
    beside = _pixels_of(wanted.points, mask.shape, on_object=False)
    if not mask.any() or any(mask[row, column] for row, column in beside):
        return False
    if wanted.guide is not None:
        return _overlap(mask, _at(wanted.guide, mask.shape)) >= LEAST_ON_GUIDE
    if wanted.box is not None:
        return _fills(mask, _pixels(wanted.box, mask.shape[::-1])) >= LEAST_IN_BOX
    return not _is_cut_off(mask, place)


def _is_cut_off(mask: Mask, place: Place) -> bool:
    """Whether the mask reaches an end of the place that is no end of the image: the
    rest of the object was not seen."""
    left, top, right, bottom = place
    height, width = mask.shape
    ends = [
        mask[top:bottom, left] if left > 0 else mask[:0, 0],
        mask[top:bottom, right - 1] if right < width else mask[:0, 0],
        mask[top, left:right] if top > 0 else mask[0, :0],
        mask[bottom - 1, left:right] if bottom < height else mask[0, :0],
    ]
    return any(bool(end.any()) for end in ends)


def _parts(sure: Mask) -> tuple[Floats, NDArray[np.int32]]:
    """How far each pixel is from a part that is sure, in pixels, and which that is."""
    return cv2.distanceTransformWithLabels(
        (~sure).astype(np.uint8),
        cv2.DIST_L2,
        cv2.DIST_MASK_5,
        labelType=cv2.DIST_LABEL_CCOMP,
    )


def _box(wanted: Object) -> Floats | None:
    """The box, or that of the guide, as shares of the sides."""
    if wanted.box is not None or wanted.guide is None:
        return wanted.box
    height, width = wanted.guide.shape
    rows = np.flatnonzero(wanted.guide.any(axis=1))
    columns = np.flatnonzero(wanted.guide.any(axis=0))
    ends = [
        columns[0] / width,
        rows[0] / height,
        (columns[-1] + 1) / width,
        (rows[-1] + 1) / height,
    ]
    return np.array(ends, np.float32)


def _widened(box: Floats) -> Floats:
    around = AROUND * (box[2:] - box[:2])
    return np.clip(np.concatenate([box[:2] - around, box[2:] + around]), 0, 1)


def _window(points: Floats, share: float, size: Size) -> Place:
    """Around all points, each side at least so much of the image's, within it."""
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    sides = np.clip((high - low) * (1 + 2 * AROUND), share, 1)
    start = np.clip((low + high) / 2 - sides / 2, 0, 1 - sides)
    return _pixels(np.concatenate([start, start + sides]), size)


def _pixels(box: Floats, size: Size) -> Place:
    """Whole pixels that hold a box of shares; at least one."""
    low = np.floor(box[:2] * size).astype(int)
    low = np.clip(low, 0, np.array(size) - 1)
    high = np.clip(np.ceil(box[2:] * size).astype(int), low + 1, size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _pixels_of(
    points: Floats, shape: Sequence[int], *, on_object: bool
) -> list[tuple[int, int]]:
    """Rows and columns of the points on the object, or of those beside it."""
    chosen = points[(points[:, 2] > 0) == on_object]
    height, width = shape
    return [
        (min(height - 1, int(y * height)), min(width - 1, int(x * width)))
        for x, y, _ in chosen
    ]


def _within(whole: Pixels, place: Place) -> Pixels:
    left, top, right, bottom = place
    made = np.zeros_like(whole)
    made[top:bottom, left:right] = whole[top:bottom, left:right]
    return made


def _at(guide: Pixels, shape: Sequence[int]) -> Mask:
    size = (shape[1], shape[0])
    return cv2.resize(guide, size, interpolation=cv2.INTER_NEAREST) > 0


def _share(place: Place, size: Size) -> float:
    left, top, right, bottom = place
    return (right - left) * (bottom - top) / (size[0] * size[1])


def _fills(mask: Mask, place: Place) -> float:
    """How much of the place the box around the mask is."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    around = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    left, top, right, bottom = place
    return float(around / ((right - left) * (bottom - top)))


def _overlap(a: Mask, b: Mask) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
