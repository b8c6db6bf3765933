"""The outline of an object, put where a mask marks: insertion by two masks.

Each connected region of the place gets the whole object, as large as fits into the
region's box, in its middle.
"""

from __future__ import annotations

import cv2
import numpy as np

from gpu_worker.engines.imaging import layers, shadow
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

LEAST_REGION_PIXELS = 100
SEAM = 7
"""The kernel by which what was painted reaches over the object and its shadow."""


def placed(outline: Pixels, place: Pixels) -> list[Pixels]:
    """(H, W) of `place` for each of its regions, 255 in the object's outline there.

    `outline` (h, w) is the object in its own picture, `place` marks where. Raises
    InvalidParameters.
    """
    thing = np.where(outline > layers.MARKED, np.uint8(255), np.uint8(0))
    thing = thing[layers.marked_box(thing)]
    return [_put(thing, np.zeros_like(place), box) for box in _regions(place)]


def shadowed(ground: Pixels, things: list[Pixels]) -> tuple[Pixels, Pixels]:
    """(H, W, 3) with the hint of a shadow around each object, and (H, W): what may be
    painted anew, which is the objects, their shadows and a seam."""
    thing = union(things)
    dark = np.maximum.reduce([shadow.shade(one, shadow.Cast()) for one in things])
    dark[thing > layers.MARKED] = 0
    share = (255 - dark.astype(np.uint16))[..., None]
    hinted = (ground * share // 255).astype(np.uint8)
    # A shadow that nobody sees needs no painting.
    changed = np.where((dark > 2) | (thing > layers.MARKED), np.uint8(255), np.uint8(0))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (SEAM, SEAM))
    return hinted, cv2.dilate(changed, disc)


def union(things: list[Pixels]) -> Pixels:
    return np.maximum.reduce(things)


def _regions(place: Pixels) -> list[layers.Box]:
    marked = (place > layers.MARKED).astype(np.uint8)
    _, _, regions, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    boxes = [
        (slice(top, top + height), slice(left, left + width))
        for left, top, width, height, area in regions[1:].tolist()
        if area >= LEAST_REGION_PIXELS
    ]
    if not boxes:
        raise InvalidParameters("The mask marks no place that is large enough.")
    return boxes


def _put(thing: Pixels, made: Pixels, box: layers.Box) -> Pixels:
    """The picture with the object in the middle of a box."""
    rows, columns = box
    room = columns.stop - columns.start, rows.stop - rows.start
    factor = min(room[0] / thing.shape[1], room[1] / thing.shape[0])
    width = min(room[0], max(1, round(thing.shape[1] * factor)))
    height = min(room[1], max(1, round(thing.shape[0] * factor)))
    drawn = cv2.resize(thing, (width, height), interpolation=cv2.INTER_LINEAR)
    left = columns.start + (room[0] - width) // 2
    top = rows.start + (room[1] - height) // 2
    spot = made[top : top + height, left : left + width]
    spot[drawn > layers.MARKED] = 255
    return made
