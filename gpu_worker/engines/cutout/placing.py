"""Where the subject of a cut-out stands: crop with margins, scale, position.

Pictures are RGBA. Lengths as remove.bg's API writes them: `30px`, `10%`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_worker.engines import geometry, limits
from gpu_worker.engines.imaging import layers
from gpu_worker.pixels import Pixels

# Alpha that nobody sees: it does not make a subject larger.
UNSEEN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """Pixels at each side."""

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0


def subject_box(cutout: Pixels) -> layers.Box | None:
    """The rows and columns that hold all that can be seen; None: there is nothing."""
    seen = cutout[..., 3] > UNSEEN
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def cropped(cutout: Pixels, margin: str, room: Sides) -> Pixels:
    """Cut to the subject with a margin around, also beyond the picture's edge, and no
    less than the room that its shadow needs. An empty picture is returned whole.

    Raises LimitExceeded.
    """
    box = subject_box(cutout)
    if box is None:
        return cutout
    subject = cutout[box]
    height, width = subject.shape[:2]
    sides = _margins(margin, width, height)
    around = (
        max(sides.top, room.top),
        max(sides.bottom, room.bottom),
        max(sides.left, room.left),
        max(sides.right, room.right),
    )
    limits.check(width + sum(around[2:]), height + sum(around[:2]))
    return cv2.copyMakeBorder(subject, *around, cv2.BORDER_CONSTANT, value=(0,) * 4)


def placed(cutout: Pixels, scale: str, position: str | None) -> Pixels:
    """The subject in another size or at another place of the same picture."""
    if position is None:
        position = "original" if scale == "original" else "center"
    box = subject_box(cutout)
    if box is None or (scale, position) == ("original", "original"):
        return cutout
    subject = cutout[box]
    if scale != "original":
        subject = _scaled(subject, cutout, float(scale.removesuffix("%")) / 100)
    top, left = _corner(subject, cutout, box, position)
    made = np.zeros_like(cutout)
    height, width = subject.shape[:2]
    made[top : top + height, left : left + width] = subject
    return made


def _margins(text: str, width: int, height: int) -> Sides:
    """One value, two (top and bottom, left and right) or four (top, right, bottom,
    left), as in CSS."""
    values = text.split()
    top, right, bottom, left = {1: values * 4, 2: values * 2, 4: values}[len(values)]
    return Sides(
        top=_length(top, height),
        right=_length(right, width),
        bottom=_length(bottom, height),
        left=_length(left, width),
    )


def _length(text: str, of_px: int) -> int:
    if text.endswith("%"):
        return round(float(text.removesuffix("%")) / 100 * of_px)
    return int(text.removesuffix("px"))


def _scaled(subject: Pixels, whole: Pixels, share: float) -> Pixels:
    """As large as fits into this share of the whole picture."""
    height, width = subject.shape[:2]
    most_height, most_width = (share * side for side in whole.shape[:2])
    factor = min(most_width / width, most_height / height)
    return geometry.resized(
        np.ascontiguousarray(subject),
        max(1, min(whole.shape[1], round(width * factor))),
        max(1, min(whole.shape[0], round(height * factor))),
    )


def _corner(
    subject: Pixels, whole: Pixels, box: layers.Box, position: str
) -> tuple[int, int]:
    """Top and left of the subject in the whole picture, which it never leaves."""
    free = [whole.shape[axis] - subject.shape[axis] for axis in (0, 1)]
    if position == "original":
        middles = [(part.start + part.stop) / 2 for part in box]
        wanted = [m - subject.shape[axis] / 2 for axis, m in enumerate(middles)]
        top, left = (
            min(max(0, round(at)), most) for at, most in zip(wanted, free, strict=True)
        )
        return top, left
    shares = [] if position == "center" else position.split()
    across, down = (shares * 2)[:2] if shares else ("50%", "50%")
    return _length(down, free[0]), _length(across, free[1])
