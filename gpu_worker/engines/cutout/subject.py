"""Which pixels are the subject: a mask at a small size, and how sure it is.

A background of one colour is flooded from the border. In any other picture several
GrabCuts that start from different guesses vote; how far they agree is the confidence.
Choosing one guess by a score was worse than the vote in every trial.

Deterministic: OpenCV's random numbers are seeded for each GrabCut.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout import saliency
from gpu_worker.engines.cutout.saliency import Floats, Saliency

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Route = Literal["uniform", "vote", "saliency"]

WORK_SIDE_PX = 320
WORK_PIXELS = 76_800
# OpenCV's superpixels crash on pictures of a few rows or columns.
LEAST_SIDE_PX = 32
# GrabCut is slowest on what is hardest to cut: there the size is reduced.
LOW_CONTRAST = 450.0
LOW_CONTRAST_SIDE_PX = 240

FRAME_SHARE = 0.02
FRAME_ALIKE = 0.90
FRAME_DELTA_E = 6.0
FLOOD_DELTA_E = 8.0
BAR_RANGE = 8
LEAST_INSIDE = 0.3

# Half-axes as shares of width and height, and the centre's share of the height.
ELLIPSES = ((0.33, 0.40, 0.53), (0.42, 0.42, 0.52), (0.25, 0.45, 0.55))
ELLIPSE_CORE = 0.08
GUESS_ROUNDS = 2
FINAL_ROUNDS = 2

LEAST_PART = 0.05
LEAST_HOLE = 0.002

POOR_AGREEMENT = 0.5
STRONG_CONTRAST = 0.45
STRONG_BACKGROUND_GAP = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`mask` is True on the subject, at the working size of the whole picture.

    `confidence` is 0 to 1; 0 when there is no subject at all.
    """

    mask: Mask
    confidence: float
    route: Route


def find(rgb: Pixels) -> Subject:
    """The subject of an RGB picture of any size."""
    small = _working_size(rgb)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    alike = _frame_alike(lab)
    if alike > FRAME_ALIKE:
        mask = _flooded(lab)
        return Subject(
            mask=mask, confidence=alike if mask.any() else 0.0, route="uniform"
        )
    inside = _without_bars(small)
    found = _by_vote(small[inside], np.ascontiguousarray(lab[inside]))
    whole = np.zeros(small.shape[:2], np.bool_)
    whole[inside] = found.mask
    return Subject(mask=whole, confidence=found.confidence, route=found.route)


def _working_size(rgb: Pixels) -> Pixels:
    """Small enough to be quick, and no side too short; proportions may suffer."""
    height, width = rgb.shape[:2]
    area_side = (WORK_PIXELS * max(height, width) / min(height, width)) ** 0.5
    small = shrink(rgb, min(WORK_SIDE_PX, int(area_side)))
    contrast = sum(_contrast(small, axis) for axis in (0, 1))
    if contrast <= LOW_CONTRAST:
        small = shrink(small, LOW_CONTRAST_SIDE_PX)
    size = max(LEAST_SIDE_PX, small.shape[1]), max(LEAST_SIDE_PX, small.shape[0])
    return cv2.resize(small, size, interpolation=cv2.INTER_NEAREST)


def _contrast(rgb: Pixels, axis: int) -> float:
    """The mean squared difference of neighbours."""
    steps = np.diff(rgb.astype(np.float32), axis=axis)
    return float((steps**2).sum(axis=2).mean()) if steps.size else 0.0


def shrink(pixels: Pixels, side_px: int) -> Pixels:
    """The picture with its long side at most `side_px`, by averaging."""
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _frame(shape: tuple[int, ...]) -> Mask:
    height, width = shape[:2]
    edge = max(1, round(FRAME_SHARE * max(height, width)))
    frame = np.ones((height, width), np.bool_)
    frame[edge:-edge, edge:-edge] = False
    return frame


def _far(lab: Floats) -> Floats:
    """Each pixel's distance from the frame's usual colour, in CIE76 delta E."""
    usual = np.median(lab[_frame(lab.shape)], axis=0)
    return np.linalg.norm(lab - usual, axis=2).astype(np.float32)


def _frame_alike(lab: Floats) -> float:
    return float((_far(lab)[_frame(lab.shape)] < FRAME_DELTA_E).mean())


def _flooded(lab: Floats) -> Mask:
    """Everything but what has the frame's colour and is connected to the border."""
    plain = np.pad(_far(lab) < FLOOD_DELTA_E, 1, constant_values=True)
    _, parts = cv2.connectedComponents(plain.astype(np.uint8), connectivity=4)
    mask = parts[1:-1, 1:-1] != parts[0, 0]
    return _cleaned(mask, np.ones(mask.shape, np.float32))


def _without_bars(small: Pixels) -> tuple[slice, slice]:
    """The picture inside its letterbox: outer rows and columns of one colour."""
    rows = _inner(np.ptp(small, axis=1).max(axis=1) > BAR_RANGE)
    columns = _inner(np.ptp(small[rows], axis=0).max(axis=1) > BAR_RANGE)
    return rows, columns


def _inner(varied: Mask) -> slice:
    used, least = np.flatnonzero(varied), max(LEAST_INSIDE * len(varied), LEAST_SIDE_PX)
    if len(used) == 0 or used[-1] + 1 - used[0] < least:
        return slice(0, len(varied))
    return slice(int(used[0]), int(used[-1]) + 1)


def _by_vote(rgb: Pixels, lab: Floats) -> Subject:
    seen = saliency.find(lab)
    masks = [_cut(rgb, guess, GUESS_ROUNDS, seen) for guess in _guesses(seen)]
    votes = np.mean(masks, axis=0)
    final = np.full(votes.shape, cv2.GC_PR_BGD, np.uint8)
    final[votes >= 0.5] = cv2.GC_PR_FGD
    final[votes == 1] = cv2.GC_FGD
    final[votes == 0] = cv2.GC_BGD
    mask = _cut(rgb, final, FINAL_ROUNDS, seen)
    agreement = _agreement(masks)
    if agreement < POOR_AGREEMENT and _stands_out(masks[-1], seen):
        return Subject(mask=masks[-1], confidence=agreement, route="saliency")
    return Subject(mask=mask, confidence=agreement if mask.any() else 0.0, route="vote")


def _guesses(seen: Saliency) -> list[Pixels]:
    shape = seen.salient.shape
    return [_ellipse(shape, *one) for one in ELLIPSES] + [_salient_guess(seen)]


def _ellipse(
    shape: tuple[int, ...], half_width: float, half_height: float, centre_y: float
) -> Pixels:
    """A subject in the middle; the bottom border is nobody's."""
    height, width = shape
    rows, columns = np.mgrid[0:height, 0:width]
    radius = ((columns / width - 0.5) / half_width) ** 2
    radius = radius + ((rows / height - centre_y) / half_height) ** 2
    guess = np.full(shape, cv2.GC_PR_BGD, np.uint8)
    guess[radius < 1] = cv2.GC_PR_FGD
    guess[radius < ELLIPSE_CORE] = cv2.GC_FGD
    strip = max(1, round(FRAME_SHARE * height)), max(1, round(FRAME_SHARE * width))
    guess[: strip[0]] = cv2.GC_BGD
    guess[:, : strip[1]] = guess[:, -strip[1] :] = cv2.GC_BGD
    return guess


def _salient_guess(seen: Saliency) -> Pixels:
    levels = (seen.salient * 255).astype(np.uint8)
    _, likely = cv2.threshold(levels, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    guess = np.where(likely > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    if likely.any():
        top = levels >= np.quantile(levels[likely > 0], 0.7)
        sure = cv2.erode(top.astype(np.uint8), np.ones((3, 3), np.uint8))
        guess[sure > 0] = cv2.GC_FGD
    guess[(likely == 0) & (seen.background > 0.85)] = cv2.GC_BGD
    edge = max(1, round(0.01 * max(guess.shape)))
    guess[:edge] = guess[-edge:] = cv2.GC_BGD
    guess[:, :edge] = guess[:, -edge:] = cv2.GC_BGD
    return guess


def _cut(rgb: Pixels, guess: Pixels, rounds: int, seen: Saliency) -> Mask:
    return _cleaned(_grabcut(rgb, guess, rounds), seen.salient)


def _grabcut(rgb: Pixels, guess: Pixels, rounds: int) -> Mask:
    """GrabCut from a guess, which is not changed."""
    if not _both_sides(guess):
        return (guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)
    labels, models = guess.copy(), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(1)
    cv2.grabCut(rgb, labels, None, *models, rounds, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _both_sides(guess: Pixels) -> bool:
    """Whether GrabCut can learn both colours; it fails on a side without pixels."""
    subject = (guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)
    return bool(subject.any() and not subject.all())


def _cleaned(mask: Mask, salient: Floats) -> Mask:
    """Without parts that are small beside the largest, and without tiny holes."""
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return mask
    weights = np.bincount(parts.ravel(), salient.ravel(), count)
    weights[0] = 0
    kept = weights >= LEAST_PART * weights.max()
    kept[0] = False
    mask = kept[parts]
    _, holes, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    tiny = stats[:, cv2.CC_STAT_AREA] < LEAST_HOLE * mask.size
    return mask | (tiny[holes])


def _agreement(masks: list[Mask]) -> float:
    """The mean intersection over union of all pairs."""
    pairs = [_overlap(a, b) for a, b in combinations(masks, 2)]
    return float(np.mean(pairs))


def _overlap(a: Mask, b: Mask) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def _stands_out(mask: Mask, seen: Saliency) -> bool:
    if not mask.any() or mask.all():
        return False
    contrast = seen.salient[mask].mean() - seen.salient[~mask].mean()
    gap = seen.background[~mask].mean() - seen.background[mask].mean()
    return bool(contrast >= STRONG_CONTRAST and gap >= STRONG_BACKGROUND_GAP)
