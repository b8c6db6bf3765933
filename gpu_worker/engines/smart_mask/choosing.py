"""Which of the masks that a network found are meant, without looking at a pixel.

A network that finds everything is asked once per image; a prompt then only chooses.
What it chooses by is a table with a row for each mask.

    points   a mask that holds all points on the object and none beside it; the surest,
             then the whole and the part of it. No single mask: several are joined, and
             what was pointed at as beside is cut out.
    box      the mask that fills it best
    guide    the mask that overlaps it most
    nothing  the likeliest subject: sure, not tiny, in the middle, not all along the
             image's borders

Nothing fits: no pick, and the caller has to find the object by other means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.smart_mask.asking import Floats

Mask = NDArray[np.bool_]

MOST_PICKS = 3
# A whole or a part is another one if it is so much larger or smaller.
OTHER_AREA = 1.4
# Below these overlaps a mask is not what a box or a guide mean.
LEAST_IN_BOX, LEAST_ON_GUIDE = 0.4, 0.3
# Masks of nearly everything, or all along the borders, are rarely what a point means.
BACKDROP_AREA, BACKDROP_BORDERS, BACKDROP = 0.8, 0.6, 0.5
SUBJECT_AREA = 0.05
JOINED = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found in one image, a row for each of n masks.

    `scores` (n): how sure, 0 to 1. `areas` (n): shares of the image. `boxes` (n, 4):
    around each, as shares of the sides. `borders` (n): which share of the image's upper
    and side borders each covers. `held` (n, points): whether each holds each point.
    `guided` (n): overlap with the guide (intersection over union), or None.
    """

    scores: Floats
    areas: Floats
    boxes: Floats
    borders: Floats
    held: Mask
    guided: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """The masks `add` together, without the masks `without`. `score` is 0 to 1."""

    add: tuple[int, ...]
    without: tuple[int, ...] = ()
    score: float


def picks(
    found: Found, on_object: Mask, box: Floats | None, *, is_subject: bool = False
) -> list[Pick]:
    """Up to three picks, the best first. `on_object` has one for each point."""
    if len(found.scores) == 0:
        return []
    ranks = subject_ranks(found) if is_subject else _ranks(found, box)
    fits = ranks > 0
    wanted, unwanted = found.held[:, on_object], found.held[:, ~on_object]
    single = fits & wanted.all(axis=1) & ~unwanted.any(axis=1)
    if single.any():
        return _alternatives(found, np.where(single, ranks, 0))
    anchored = is_subject or box is not None or found.guided is not None
    if anchored and not fits.any():
        return []
    start = [int(ranks.argmax())] if anchored else []
    joined = _joined(found, ranks, (wanted, unwanted), start)
    return [joined] if joined else []


def subject_ranks(found: Found) -> Floats:
    """How likely each mask is the image's subject."""
    middle = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    off = np.linalg.norm(middle - 0.5, axis=1) / 0.5**0.5
    size = np.minimum(1, found.areas / SUBJECT_AREA) ** 0.5
    apart = (1 - found.borders) ** 2 * (1 - 0.5 * off)
    ranks = found.scores * size * apart * _backdrop(found)
    return ranks.astype(np.float32)


def _ranks(found: Found, box: Floats | None) -> Floats:
    """How well each mask is what was said; 0 for one that is not."""
    if box is None and found.guided is None:
        return found.scores * _backdrop(found)
    # A box may be found though nothing in it is.
    ranks, fits = np.zeros_like(found.scores), found.areas > 0
    if box is not None:
        overlaps = _overlaps(found.boxes, box)
        fits &= overlaps >= LEAST_IN_BOX
        ranks += overlaps.round(1)
    if found.guided is not None:
        fits &= found.guided >= LEAST_ON_GUIDE
        ranks += found.guided
    return np.where(fits, ranks + 0.1 * found.scores, 0).astype(np.float32)


def _backdrop(found: Found) -> Floats:
    behind = (found.areas > BACKDROP_AREA) | (found.borders > BACKDROP_BORDERS)
    return np.where(behind, BACKDROP, 1).astype(np.float32)


def _alternatives(found: Found, ranks: Floats) -> list[Pick]:
    """The best by rank (of equals the smaller), then others of another size."""
    order = np.lexsort([found.areas, -ranks])
    chosen: list[int] = []
    for row in order[ranks[order] > 0].tolist():
        if all(_is_other(found.areas[row], found.areas[one]) for one in chosen):
            chosen.append(row)
    return [_pick(found, [row]) for row in chosen[:MOST_PICKS]]


def _is_other(area: float, than: float) -> bool:
    return max(area, than) > OTHER_AREA * min(area, than)


def _joined(
    found: Found, ranks: Floats, points: tuple[Mask, Mask], start: list[int]
) -> Pick | None:
    """Masks that hold all points on the object together, `start` among them, less those
    that hold the points beside it; None where these masks cannot do that.

    `points`: which masks hold the points on the object, and those beside it.
    """
    wanted, unwanted = points
    spoiled, chosen = unwanted.any(axis=1), list(start)
    missing: Mask = np.logical_not(wanted[chosen].any(axis=0))
    while missing.any():
        gains = wanted[:, missing].sum(axis=1)
        best = int(np.lexsort([ranks, gains, ~spoiled & (gains > 0)])[-1])
        if gains[best] == 0:
            return None
        chosen.append(best)
        missing &= ~wanted[best]
    cut = _cut(found, wanted, unwanted, chosen)
    return None if cut is None or not chosen else _pick(found, chosen, cut)


def _cut(
    found: Found, wanted: Mask, unwanted: Mask, chosen: Sequence[int]
) -> list[int] | None:
    """The largest mask around each point beside the object that holds none on it."""
    cut: list[int] = []
    harmless: Mask = np.logical_not(wanted.any(axis=1))
    harmless[list(chosen)] = False
    largest = found.areas[list(chosen)].sum() if chosen else 0.0
    for point in np.flatnonzero(unwanted[list(chosen)].any(axis=0)):
        around = harmless & unwanted[:, point] & (found.areas < largest)
        if not around.any():
            return None
        cut.append(int(np.where(around, found.areas, 0).argmax()))
    return sorted(set(cut))


def _pick(found: Found, add: Sequence[int], without: Sequence[int] = ()) -> Pick:
    score = float(found.scores[list(add)].min())
    alone = len(add) == 1 and not without
    return Pick(
        add=tuple(add), without=tuple(without), score=score * (1 if alone else JOINED)
    )


def _overlaps(boxes: Floats, box: Floats) -> Floats:
    """Intersection over union of each box with the one."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = areas + (box[2:] - box[:2]).prod() - shared
    return (shared / np.maximum(union, 1e-9)).astype(np.float32)
