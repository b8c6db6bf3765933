"""What is put behind a subject: a colour, an image, and the shadow on the ground.

The shadow is that of diffuse light from above on the floor that the subject stands on:
dark where it touches the floor, wide and faint around. The line of touch is the lower
convex hull of the silhouette, which for a car goes straight from wheel to wheel. It is
made on a small copy: it has no sharp edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from gpu_worker import pixels
from gpu_worker.engines import geometry
from gpu_worker.engines.cutout.placing import Sides, subject_box
from gpu_worker.engines.imaging import layers
from gpu_worker.pixels import Pixels

Floats = NDArray[np.float32]

SMALL_SIDE_PX = 400
SOLID = 127
# A subject of which this share of its width is at the lower edge goes on beyond it.
CUT_OFF = 0.03
# Parts smaller than this share of the subject are specks, which stand on nothing.
SPECK = 0.01
# Where the line of touch has risen this far, by the subject's height, the shadow begins
# to fade, and has gone: farther away, or no ground at all.
RISE = (0.25, 0.5)
# The same for how far above the line the subject is, and for how steep the line is: a
# floor is not, seen from where photos are taken.
GAP = (0.08, 0.22)
SLOPE = (0.4, 0.6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A part of the shadow. Lengths by the width of what stands on the ground: how far
    it goes behind and before the line of touch, and the blur across and down."""

    opacity: float
    behind: float
    before: float
    across: float
    down: float


CONTACT = Shade(opacity=0.6, behind=0.05, before=0.004, across=0.012, down=0.006)
AMBIENT = Shade(opacity=0.4, behind=0.08, before=0.02, across=0.04, down=0.018)
BLUR_REACH = 3
ROOM = AMBIENT.before + BLUR_REACH * AMBIENT.down
ROOM_ASIDE = BLUR_REACH * AMBIENT.across


def plain(colour: str, width_px: int, height_px: int) -> Pixels:
    """A picture of one colour: RGB, or RGBA where it can be seen through."""
    rgba = rgba_of(colour)
    channels = rgba[:3] if rgba[3] == 255 else rgba
    made = np.empty((height_px, width_px, len(channels)), np.uint8)
    made[:] = channels
    return made


def rgba_of(colour: str) -> tuple[int, int, int, int]:
    """`rgb`, `rgba`, `rrggbb` or `rrggbbaa` in hexadecimal digits, or a CSS name."""
    if colour in ImageColor.colormap:
        red, green, blue = ImageColor.getrgb(colour)[:3]
        return red, green, blue, 255
    digits = colour.removeprefix("#")
    if len(digits) in (3, 4):
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue, *alpha = bytes.fromhex(digits)
    return red, green, blue, alpha[0] if alpha else 255


def image(source: Path, width_px: int, height_px: int) -> Pixels:
    """An image that fills the size: from its middle, with its proportions. Raises
    InvalidImage."""
    given = pixels.decode(source, enough_px=(width_px, height_px))
    height, width = given.shape[:2]
    scale = max(width_px / width, height_px / height)
    part = min(width, round(width_px / scale)), min(height, round(height_px / scale))
    left, top = (width - part[0]) // 2, (height - part[1]) // 2
    middle = given[top : top + part[1], left : left + part[0]]
    return geometry.resized(np.ascontiguousarray(middle), width_px, height_px)


# The shadow


def stands(cutout: Pixels) -> bool:
    """Whether there is a subject whose foot is in the picture."""
    box = subject_box(cutout)
    if box is None:
        return False
    cut_off = np.count_nonzero(cutout[-1, :, 3] > SOLID)
    return bool(cut_off <= CUT_OFF * (box[1].stop - box[1].start))


def shadow_room(cutout: Pixels) -> Sides:
    """What the shadow covers beyond the subject's box."""
    box = subject_box(cutout)
    if box is None:
        return Sides()
    touch = Touch.of(_alpha(cutout, box))
    aside = ceil(ROOM_ASIDE * touch.width)
    return Sides(
        bottom=ceil(ROOM * touch.width),
        left=max(0, aside - touch.start),
        right=max(0, aside - (touch.of_width - touch.stop)),
    )


def shadowed(cutout: Pixels, ground: Pixels | None) -> Pixels:
    """The ground with the subject's shadow on it; without a ground, the shadow alone
    as RGBA. What of it is beyond the picture is cut off."""
    height, width = cutout.shape[:2]
    dark = np.zeros((height, width, 4), np.uint8)
    if box := subject_box(cutout):
        _lay(_shadow(_alpha(cutout, box)), dark[..., 3], box)
    return dark if ground is None else layers.over(dark, ground)


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Where a subject of `of_width` columns touches the ground, from column `start`
    to `stop`: the row of the line of touch, and how much of its shadow counts."""

    start: int
    stop: int
    of_width: int
    rows: Floats
    weights: Floats

    @property
    def width(self) -> int:
        return self.stop - self.start

    @property
    def depths(self) -> Floats:
        """How deep what stands there is, seen from above: an ellipse of `width`."""
        middle, half = (self.start + self.stop) / 2, self.width / 2
        aside = (np.arange(self.of_width) + 0.5 - middle) / half
        return (self.width * np.sqrt(np.clip(1 - aside**2, 0, 1))).astype(np.float32)

    @classmethod
    def of(cls, alpha: Pixels) -> Touch:
        solid = _without_specks(alpha > min(SOLID, int(alpha.max()) - 1))
        height, width = solid.shape
        columns = np.flatnonzero(solid.any(axis=0))
        feet = height - 1 - np.argmax(solid[::-1, columns], axis=0)
        every = np.arange(width)
        rows = np.interp(every, *_lower_hull(columns, feet)).astype(np.float32)
        gaps = rows - np.interp(every, columns, feet)
        rise = rows.max() - rows
        slope = np.abs(np.diff(rows, append=rows[-1]))
        weights = _nearness(rise / height, RISE) * _nearness(gaps / height, GAP)
        weights *= _nearness(slope, SLOPE)
        weights[: columns[0]] = weights[columns[-1] + 1 :] = 0
        under = np.flatnonzero(weights)
        return cls(
            start=int(under[0]),
            stop=int(under[-1]) + 1,
            of_width=width,
            rows=rows,
            weights=weights,
        )


def _without_specks(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    _, labels, found, _ = cv2.connectedComponentsWithStats(solid.astype(np.uint8))
    areas = found[:, cv2.CC_STAT_AREA]
    kept = areas >= SPECK * areas[1:].sum()
    kept[0] = False
    return kept[labels]


def _nearness(above: NDArray[np.floating[Any]], fading: tuple[float, float]) -> Floats:
    """1 up to where the fading begins, 0 from where it ends."""
    low, high = fading
    return np.clip((high - above) / (high - low), 0, 1).astype(np.float32)


def _alpha(cutout: Pixels, box: layers.Box) -> Pixels:
    return np.ascontiguousarray(cutout[box][..., 3])


def _lower_hull(
    columns: NDArray[np.intp], rows: NDArray[np.intp]
) -> tuple[list[int], list[int]]:
    """The corners of the line that is stretched under all points, from left to right:
    the convex hull's lower half, by Andrew's monotone chain."""
    hull: list[tuple[int, int]] = []
    for x, y in zip(columns.tolist(), rows.tolist(), strict=True):
        while len(hull) > 1 and _is_above(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    return [x for x, _ in hull], [y for _, y in hull]


def _is_above(
    first: tuple[int, int], middle: tuple[int, int], last: tuple[int, int]
) -> bool:
    """Whether the middle point is not below the line from the first to the last."""
    across, down = last[0] - first[0], last[1] - first[1]
    return (middle[1] - first[1]) * across <= down * (middle[0] - first[0])


def _shadow(alpha: Pixels) -> tuple[Pixels, float]:
    """The opacity of a subject's shadow on a canvas around the subject, both small, and
    the factor by which they are; the room around is `_reach` at each side."""
    factor = min(1.0, SMALL_SIDE_PX / max(alpha.shape))
    size = [max(1, round(side * factor)) for side in alpha.shape[::-1]]
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    touch = Touch.of(small)
    light = np.ones(1, np.float32)
    for shade in (AMBIENT, CONTACT):
        light = light * (1 - shade.opacity * _blurred(small.shape, touch, shade))
    return ((1 - light) * 255).astype(np.uint8), factor


def _reach(width: int) -> int:
    return ceil(max(ROOM, ROOM_ASIDE) * width) + 1


def _blurred(shape: tuple[int, ...], touch: Touch, shade: Shade) -> Floats:
    """Float32, 0 to 1, on the subject's size with `_reach` around it."""
    room = _reach(touch.of_width)
    height = shape[0] + 2 * room
    line = np.pad(touch.rows, room, mode="edge") + room
    weights = np.pad(touch.weights, room)
    deep = np.pad(touch.depths, room)
    rows = np.arange(height, dtype=np.float32)[:, None]
    behind, before = line - shade.behind * deep, line + shade.before * deep
    inside = (rows >= behind) & (rows <= before)
    spread = max(0.5, shade.across * touch.width), max(0.5, shade.down * touch.width)
    return cv2.GaussianBlur(
        (inside * weights).astype(np.float32), (0, 0), spread[0], sigmaY=spread[1]
    )


def _lay(made: tuple[Pixels, float], into: Pixels, box: layers.Box) -> None:
    """Put a small shadow to where its subject is, as far as there is room."""
    shadow, factor = made
    rows, columns = box
    subject = rows.stop - rows.start, columns.stop - columns.start
    small = max(1, round(subject[0] * factor)), max(1, round(subject[1] * factor))
    room = _reach(small[1])
    # Not quite the same factor in both directions, for sizes are whole pixels.
    scale = subject[0] / small[0], subject[1] / small[1]
    height, width = (
        round(side * by) for side, by in zip(shadow.shape, scale, strict=True)
    )
    large = cv2.resize(shadow, (width, height), interpolation=cv2.INTER_LINEAR)
    top = rows.start - round(room * scale[0])
    left = columns.start - round(room * scale[1])
    seen_rows = slice(max(0, top), min(into.shape[0], top + height))
    seen_columns = slice(max(0, left), min(into.shape[1], left + width))
    into[seen_rows, seen_columns] = large[
        seen_rows.start - top : seen_rows.stop - top,
        seen_columns.start - left : seen_columns.stop - left,
    ]
