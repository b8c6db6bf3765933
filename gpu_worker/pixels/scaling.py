"""What a decoder has shrunk, made just as large as it shall be.

A JPEG's decoder shrinks by a whole number and gives what is left of a side a pixel of
its own: the eighth of 2402 pixels is 301, of which the photo is 300.25. Scaled as if it
were 301, all drifts towards the corner where the file begins. So here a picture comes
with the factors from the photo's own size, and with where in its pixels the photo
begins: at 0, or further in where it has been turned.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np

from gpu_worker.pixels import libvips
from gpu_worker.pixels.arrays import Pixels

Size = tuple[int, int]
Numbers = tuple[float, float]
"""Across and down."""

# Down to this share of a side a cubic does it in a quarter of Lanczos' time, and nearly
# as close to what Lanczos makes of the whole photo (47.3, 48.1 dB; at 0.6 44, 50 dB).
NEARLY = 0.75
# A pixel of the result may be this share of its side off. So many more are made at most
# to find such a place; where there is none, as of nearly two pixels to one, up to an
# eighth remains.
_SLIGHT = 0.03
_MOST_MORE = 16


def scaled(
    pixels: Pixels, size_px: Size, factors: Numbers, begin: Numbers = (0, 0)
) -> Pixels:
    """What is from `begin` on, by factors of at most 1. There is no alpha in it."""
    if min(factors) == 1:
        return pixels
    if min(factors) >= NEARLY:
        return _by_cubic(pixels, size_px, factors, begin)
    height, width = pixels.shape[:2]
    bands = 1 if pixels.ndim == 2 else pixels.shape[2]
    made = libvips.Image.new_from_memory(pixels, width, height, bands, "uchar")
    whole: Pixels = by_lanczos(made, size_px, factors, begin).numpy()
    return np.atleast_2d(whole)


def of_image(image: Any, size_px: Size, photo: Numbers) -> Pixels:
    """An image of libvips, which leaves out what the photo has of a last pixel."""
    factors = size_px[0] / photo[0], size_px[1] / photo[1]
    whole = math.ceil(photo[0]), math.ceil(photo[1])
    if min(factors) < NEARLY or photo == whole:
        made: Pixels = by_lanczos(image, size_px, factors).numpy()
        return made
    return scaled(image.embed(0, 0, *whole, extend="copy").numpy(), size_px, factors)


def by_lanczos(
    image: Any, size_px: Size, factors: Numbers, begin: Numbers = (0, 0)
) -> Any:
    """As `scaled`, of an image of libvips.

    It lays what it makes on the middle of what there is. So there is put on, or taken
    off, as much as brings the photo's beginning to one of a pixel.
    """
    (left, width, skip_x), (top, height, skip_y) = (
        _around(*side) for side in zip(size_px, factors, begin, strict=True)
    )
    if (left, top, width, height) != (0, 0, image.width, image.height):
        image = image.embed(left, top, width, height, extend="copy")
    made = image.resize(factors[0], vscale=factors[1], kernel="lanczos3")
    if (made.width, made.height) == size_px:
        return made
    return made.crop(skip_x, skip_y, *size_px)


def _around(count: int, factor: float, begin: float) -> tuple[int, int, int]:
    """How many pixels to put before a side, how many it has then, and how many of
    those made of it come before the ones that are wanted."""
    step = 1 / factor
    skipped = _nearly_whole(0, step, -begin)
    before = round(skipped * step - begin)
    late = begin + before - skipped * step
    least = count + skipped + (1 if late else 0)
    made = _nearly_whole(least, step, 2 * late)
    return before, round(made * step + 2 * late), skipped


def _nearly_whole(least: int, step: float, more: float) -> int:
    """The first number of steps that, with so much more, are nearly whole pixels."""

    def off(number: int) -> float:
        length = number * step + more
        return max(abs(length - round(length)), 2 * _SLIGHT * step)

    return min(range(least, least + _MOST_MORE), key=off)


def _by_cubic(
    pixels: Pixels, size_px: Size, factors: Numbers, begin: Numbers
) -> Pixels:
    across, down = factors
    height, width = pixels.shape[:2]
    # OpenCV leaves a picture as it is where it would get as many pixels as it has.
    is_left = (round(width * across), round(height * down)) == (width, height)
    if not (any(begin) or is_left):
        made = cv2.resize(
            pixels, None, fx=across, fy=down, interpolation=cv2.INTER_CUBIC
        )
        return np.asarray(made, np.uint8)[: size_px[1], : size_px[0]]
    places = [
        [1 / across, 0, begin[0] + 0.5 / across - 0.5],
        [0, 1 / down, begin[1] + 0.5 / down - 0.5],
    ]
    made = cv2.warpAffine(
        pixels,
        np.array(places),
        size_px,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(made, np.uint8)
