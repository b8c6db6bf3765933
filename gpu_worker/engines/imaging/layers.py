"""Pictures over pictures, and the masks that say where.

Whatever may have 50 megapixels is composited strip by strip: what a run needs beside
its pictures stays small.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

STRIP_PIXELS = 1_000_000
MARKED = 127
"""A mask marks what is lighter than this."""

Box = tuple[slice, slice]


def colours(picture: Pixels) -> Pixels:
    """(H, W, 3) without alpha, also of a grey picture."""
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    return picture[..., :3]


def alpha(picture: Pixels) -> Pixels | None:
    """(H, W), or None of a picture that has none."""
    return picture[..., 3] if picture.ndim == 3 and picture.shape[2] == 4 else None


def with_alpha(picture: Pixels, opacity: Pixels) -> Pixels:
    """(H, W, 4): the picture's colours under this alpha of (H, W)."""
    return np.dstack([colours(picture), opacity])


def without_full_alpha(picture: Pixels) -> Pixels:
    """RGB where nothing is transparent, so that any format can hold it."""
    opacity = alpha(picture)
    if opacity is None or opacity.min() < 255:
        return picture
    return np.ascontiguousarray(picture[..., :3])


def plain(size: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """(H, W, 3) of one colour, as large as another picture."""
    return np.full((*size.shape[:2], 3), colour, np.uint8)


def mask_like(picture: Pixels, mask: Pixels) -> Pixels:
    """A mask picture as (H, W) of the picture's size, white for what it marks.

    One with transparency is read by its alpha (a cut-out, strokes on a clear layer),
    any other by its lightness. Another size is stretched to the picture's by nearest
    neighbours, which keeps a hard mask hard.
    """
    grey = alpha(mask)
    if grey is None:
        grey = mask if mask.ndim == 2 else cv2.cvtColor(mask, cv2.COLOR_RGB2GRAY)
    height, width = picture.shape[:2]
    if grey.shape != (height, width):
        grey = cv2.resize(grey, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.ascontiguousarray(grey)


def marked_box(mask: Pixels, *, above: int = MARKED) -> Box:
    """Rows and columns that hold all that a mask marks. Raises InvalidParameters."""
    seen = mask > above
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        raise InvalidParameters("The mask marks nothing in the image.")
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def over(top: Pixels, bottom: Pixels) -> Pixels:
    """An RGBA picture on an RGB or RGBA one of its size; as many channels as that."""
    made = np.empty_like(bottom)
    for rows in strips(bottom):
        made[rows] = _strip_over(top[rows], bottom[rows])
    return made


def strips(picture: Pixels) -> Iterator[slice]:
    """The picture's rows, about a megapixel at a time."""
    height, width = picture.shape[:2]
    step = max(1, STRIP_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(height, top + step))


def _strip_over(top: Pixels, bottom: Pixels) -> Pixels:
    upper = Image.fromarray(np.ascontiguousarray(top))
    lower = Image.fromarray(np.ascontiguousarray(bottom))
    if lower.mode == "RGBA":
        return np.asarray(Image.alpha_composite(lower, upper))
    lower.paste(upper, mask=upper)
    return np.asarray(lower)
