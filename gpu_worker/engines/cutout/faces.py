"""Faces, found by dlib's detector of histograms of gradients (after Dalal and Triggs),
which comes with the library: those seen from the front, upright, and at least a
twentieth of the picture's long side wide; and hardly anything else."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

# The detector sees faces of 80 pixels and more; what is small is made larger for it.
SIDE_PX = 1600
MOST_LARGER = 4
# Of those less clear a fourth were no faces, and nothing was gained by them.
LEAST_CLEARNESS = 0.3
# Those that are small beside the widest are others, in the background.
LEAST_WIDTH = 0.5
# CV_CPU_AVX, which OpenCV's binding does not name.
AVX = 10

_detecting = Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """The centre and the width, in shares of the picture's width and height; and how
    clearly it is seen, mostly up to 2."""

    x: float
    y: float
    width: float
    clearness: float


def find(rgb: Pixels) -> list[Face]:
    """The faces in an RGB picture of any size; none where the processor is too old."""
    if not _has_instructions():
        return []
    height, width = rgb.shape[:2]
    scale = min(MOST_LARGER, SIDE_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    grey = cv2.cvtColor(cv2.resize(rgb, size, interpolation=how), cv2.COLOR_RGB2GRAY)
    with _detecting:  # the detector keeps the picture that it looks at
        boxes, clearness, _ = _detector().run(grey, 0, LEAST_CLEARNESS)
    found = [
        Face(
            x=(box.left() + box.right()) / 2 / size[0],
            y=(box.top() + box.bottom()) / 2 / size[1],
            width=(box.right() - box.left()) / size[0],
            clearness=clear,
        )
        for box, clear in zip(boxes, clearness, strict=True)
    ]
    widest = max((face.width for face in found), default=0)
    return [face for face in found if face.width >= LEAST_WIDTH * widest]


def load() -> None:
    """Have the detector, which takes a third of a second that `find` would."""
    if _has_instructions():
        _detector()


def within(
    found: Sequence[Face], part: tuple[slice, slice], shape: tuple[int, ...]
) -> list[Face]:
    """The same in a part, rows and columns, of a picture of that shape."""
    rows, columns = part
    height, width = shape[:2]
    across, down = columns.stop - columns.start, rows.stop - rows.start
    return [
        replace(
            face,
            x=(face.x * width - columns.start) / across,
            y=(face.y * height - rows.start) / down,
            width=face.width * width / across,
        )
        for face in found
    ]


def mirrored(found: Sequence[Face]) -> list[Face]:
    return [replace(face, x=1 - face.x) for face in found]


@cache
def _detector() -> Any:
    # Late: where it cannot run it cannot be imported either.
    import dlib

    return dlib.get_frontal_face_detector()


def _has_instructions() -> bool:
    """Whether the processor has what dlib's wheels are built for. Virtual machines do
    not always show it."""
    intel = platform.machine().lower() in {"x86_64", "amd64"}
    return not intel or bool(cv2.checkHardwareSupport(AVX))
