"""The seams between the blocks of a JPEG, found and closed.

A JPEG that was compressed hard has a small step at every eighth pixel (ITU T.81 codes
blocks of 8 x 8). Where such a grid is found, wherever it begins (the picture may have
been turned or cropped since), the steps that are too small to be edges are spread over
four pixels. Everything else stays as it is.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.pixels import Pixels

BLOCK_PX = 8
# Mean excess step at the grid, in levels, over that of the other columns. Photos that
# were never a JPEG reach 1.0; quality 75 has about 0.9, quality 50 1.6, quality 30 2.3.
LEAST_STEP = 1.2
# What is steeper than this is an edge of the picture.
MOST_STEP = 24
MEASURED_ROWS = 512
# A step's share that goes to each side's pixels, the nearest first.
SHARES = (0.375, 0.125)


def deblocked(picture: Pixels) -> Pixels:
    """The picture with its seams closed; the same object where there are none."""
    made = picture
    for turned in (False, True):
        grey = _grey(made, turned=turned)
        phase, step = grid(grey)
        if step < LEAST_STEP:
            continue
        if made is picture:
            made = picture.copy()
        _close(made.swapaxes(0, 1) if turned else made, grey, phase)
    return made


def grid(grey: Pixels) -> tuple[int, float]:
    """At which column (0 to 7) blocks begin, and how much larger the step there is."""
    if min(grey.shape) < 4 * BLOCK_PX:
        return 0, 0.0
    rows = grey[:: max(1, len(grey) // MEASURED_ROWS)].astype(np.int16)
    steps = np.abs(np.diff(rows, axis=1))
    excess = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
    means = np.clip(excess, -BLOCK_PX, BLOCK_PX).mean(axis=0)
    phases = np.array([means[first::BLOCK_PX].mean() for first in range(BLOCK_PX)])
    best = int(phases.argmax())
    # The excess at place 0 is that of the step between columns 1 and 2.
    return (best + 2) % BLOCK_PX, float(phases[best] - np.delete(phases, best).mean())


def _close(picture: Pixels, grey: Pixels, phase: int) -> None:
    """Spread the small steps before each column where a block begins, in place."""
    first = np.arange(phase, grey.shape[1] - 2, BLOCK_PX)
    first = first[first >= 2]
    before, left, right, after = (
        grey[:, first + offset].astype(np.int16) for offset in (-2, -1, 0, 1)
    )
    excess = (right - left) - ((left - before) + (after - right)) / 2
    flat = np.maximum(np.abs(left - before), np.abs(after - right)) < MOST_STEP / 2
    excess = np.where(flat & (np.abs(right - left) < MOST_STEP), excess, 0)
    for distance, share in enumerate(SHARES):
        _add(picture, first - 1 - distance, excess * share)
        _add(picture, first + distance, -excess * share)


def _add(
    picture: Pixels, columns: NDArray[np.int64], levels: NDArray[np.float64]
) -> None:
    """The same change to all colours: it is one of lightness."""
    changed = picture[:, columns, :3] + levels.round()[..., None]
    picture[:, columns, :3] = np.clip(changed, 0, 255).astype(np.uint8)


def _grey(picture: Pixels, *, turned: bool) -> Pixels:
    grey = cv2.cvtColor(np.ascontiguousarray(picture[..., :3]), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(grey.T) if turned else grey
