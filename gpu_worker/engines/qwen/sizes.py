"""Which size is painted for which is asked, and what of it becomes the result.

A model paints well only near the sizes that it was trained for, and only multiples of
16. So a picture is painted on a canvas, of which a window is the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gpu_worker.engines.parameters import edit
from gpu_worker.engines.parameters.generate import MOST_SIDE_PX
from gpu_worker.engines.qwen.settings import MULTIPLE_PX, Size
from gpu_worker.errors import InvalidParameters

BATCHED_PIXELS = 768 * 768
"""A larger pass fills the device by itself: two at once take twice as long."""
MOST_TOGETHER = 4
SAME_SHAPE = 1.02
"""Ratios of width to height that differ by less are of one shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What is painted: `window` (left, top, width, height) of it is the result, made
    `result_px` large."""

    size_px: Size
    window: tuple[int, int, int, int]
    result_px: Size

    @property
    def numbers(self) -> list[int]:
        return [*self.size_px, *self.window, *self.result_px]

    @classmethod
    def of(cls, numbers: Iterable[Any]) -> Canvas:
        """The canvas with these `numbers`."""
        width, height, left, top, across, down, *result = (int(one) for one in numbers)
        return cls(
            size_px=(width, height),
            window=(left, top, across, down),
            result_px=(result[0], result[1]),
        )


def nearest(wanted: Size, painted: Sequence[Size]) -> Size:
    """The size of nearly the same shape; among those of one shape the smallest that is
    large enough, else the largest."""
    distances = {size: _unlikeness(size, wanted) for size in painted}
    closest = min(distances.values())
    alike = [s for s in painted if distances[s] <= closest + math.log(SAME_SHAPE)]
    enough = [s for s in alike if s[0] >= wanted[0] and s[1] >= wanted[1]]
    return min(enough, key=math.prod) if enough else max(alike, key=math.prod)


def covering(painted: Size, wanted: Size) -> Canvas:
    """The middle of the painted size, in the shape that is wanted."""
    factor = max(wanted[0] / painted[0], wanted[1] / painted[1])
    across = min(painted[0], max(1, round(wanted[0] / factor)))
    down = min(painted[1], max(1, round(wanted[1] / factor)))
    left, top = (painted[0] - across) // 2, (painted[1] - down) // 2
    return Canvas(size_px=painted, window=(left, top, across, down), result_px=wanted)


def of_edit(image_px: Size, parameters: dict[str, Any], *, is_placed: bool) -> Canvas:
    """The canvas for editing an image of this size.

    `is_placed`: what is painted must lie where the image lies (there is a mask or a
    task), so that another shape than the image's is cut out of the result. Tasks are
    painted on a black square, as their LoRA sets were trained. Raises
    InvalidParameters.
    """
    asked = parameters.get("width"), parameters.get("height")
    if asked[0] and asked[1] and not is_placed:
        return _around((asked[0], asked[1]))
    bare = {n: v for n, v in parameters.items() if n not in ("width", "height")}
    shown = edit.size_px(image_px, bare)
    if max(shown) > MOST_SIDE_PX:
        raise InvalidParameters(
            f"An image is edited at up to {MOST_SIDE_PX} pixels a side: "
            "input_quality resized makes it fit."
        )
    canvas = _square(shown) if "task" in parameters else _around(shown)
    if not (asked[0] and asked[1]):
        return canvas
    return _within(canvas, (asked[0], asked[1]))


def together(size_px: Size) -> int:
    """How many pictures of this size are painted in one pass."""
    return MOST_TOGETHER if math.prod(size_px) <= BATCHED_PIXELS else 1


def _unlikeness(one: Size, other: Size) -> float:
    return abs(math.log(one[0] / one[1]) - math.log(other[0] / other[1]))


def _around(shown: Size) -> Canvas:
    size = _multiple(shown[0]), _multiple(shown[1])
    return _centred(size, shown)


def _square(shown: Size) -> Canvas:
    side = _multiple(max(shown))
    return _centred((side, side), shown)


def _centred(size: Size, shown: Size) -> Canvas:
    left, top = (size[0] - shown[0]) // 2, (size[1] - shown[1]) // 2
    return Canvas(size_px=size, window=(left, top, *shown), result_px=shown)


def _within(canvas: Canvas, wanted: Size) -> Canvas:
    """The middle of the canvas's window, in the shape that is wanted."""
    left, top, across, down = canvas.window
    inner = covering((across, down), wanted)
    window = (left + inner.window[0], top + inner.window[1], *inner.window[2:])
    return Canvas(size_px=canvas.size_px, window=window, result_px=wanted)


def _multiple(length: int) -> int:
    return -(-length // MULTIPLE_PX) * MULTIPLE_PX
