"""Sizes, boxes and colours of pictures that several engines need.

Resizing works on premultiplied colours, so that what is hidden under alpha 0 cannot
bleed into an edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from gpu_worker.pixels import Encoded, Pixels


def resized(picture: Pixels, width_px: int, height_px: int) -> Pixels:
    """The picture at exactly this size, by Lanczos."""
    if picture.shape[:2] == (height_px, width_px):
        return picture
    return _resampled(picture, (width_px, height_px), None)


def part_resized(
    picture: Pixels,
    size_px: tuple[int, int],
    part: tuple[int, int, int, int],
    *,
    of: tuple[float, float, float, float] | None = None,
) -> Pixels:
    """What `resized` makes from left and top up to right and bottom, without the rest
    of it ever being there. `of`: the box of the picture that is resized; all of it
    otherwise."""
    left, top, right, bottom = part
    height, width = picture.shape[:2]
    first_x, first_y, last_x, last_y = of or (0, 0, width, height)
    across, down = (last_x - first_x) / size_px[0], (last_y - first_y) / size_px[1]
    box = (
        first_x + left * across,
        first_y + top * down,
        min(first_x + right * across, last_x, width),
        min(first_y + bottom * down, last_y, height),
    )
    if across == down == 1 and first_x == int(first_x) and first_y == int(first_y):
        return picture[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])]
    return _resampled(picture, (right - left, bottom - top), box)


def _resampled(
    picture: Pixels,
    size_px: tuple[int, int],
    box: tuple[float, float, float, float] | None,
) -> Pixels:
    image = Image.fromarray(picture)
    if image.mode == "RGBA":
        image = image.convert("RGBa")
    # The gap of 3 shrinks by boxes first: twice as fast, and no difference to be seen.
    made = image.resize(size_px, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.asarray(made.convert("RGBA") if made.mode == "RGBa" else made)


def at_most(picture: Pixels, pixels: int) -> Pixels:
    """The picture with at most this many pixels, its proportions kept."""
    height, width = picture.shape[:2]
    if height * width <= pixels:
        return picture
    scale = (pixels / (height * width)) ** 0.5
    return resized(picture, max(1, int(width * scale)), max(1, int(height * scale)))


def trimmed(picture: Pixels, margin_percent: int) -> Pixels:
    """An RGBA picture cut to what can be seen, and a margin in percent of its longer
    side. An empty picture is returned whole."""
    seen = picture[..., 3] > 0
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        return picture
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    margin = round(max(bottom - top, right - left) * margin_percent / 100)
    return picture[
        max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin
    ]


def colour(text: str) -> tuple[int, int, int]:
    """#rgb or #rrggbb as three numbers."""
    digits = text.removeprefix("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def members(file: Encoded) -> dict[str, Any]:
    """What an encoded file and a `Result` have in common."""
    return {
        "data": file.data,
        "content_type": file.content_type,
        "width_px": file.width_px,
        "height_px": file.height_px,
    }
