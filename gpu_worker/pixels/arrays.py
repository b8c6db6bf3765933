"""Pixels: uint8 arrays of (height, width), (height, width, 3) or (height, width, 4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def without_hidden_colours(pixels: Pixels) -> Pixels:
    """The same RGBA picture with (0, 0, 0, 0) wherever alpha is 0."""
    whole = np.ascontiguousarray(pixels).view(np.uint32)
    return np.where(pixels[..., 3:] != 0, whole, np.uint32(0)).view(np.uint8)


def flatten(pixels: Pixels, colour: tuple[int, int, int]) -> Pixels:
    """RGB on a plain background. An RGB picture is returned as it is."""
    if pixels.shape[2] == 3:
        return pixels
    flat = Image.new("RGB", (pixels.shape[1], pixels.shape[0]), colour)
    flat.paste(Image.fromarray(pixels[..., :3]), mask=Image.fromarray(pixels[..., 3]))
    return np.asarray(flat)


def upright(pixels: Pixels, turn: int) -> Pixels:
    """Turned by an EXIF orientation, 1 to 8."""
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[_flips(turn)])


def puts_last_first(turn: int) -> tuple[bool, bool]:
    """Whether an orientation does, across and down what the file holds."""
    return turn in (2, 3, 7, 8), turn in (3, 4, 6, 7)


def _flips(turn: int) -> tuple[slice, slice]:
    rows = slice(None, None, -1 if turn in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if turn in (2, 3, 6, 7) else 1)
    return rows, columns
