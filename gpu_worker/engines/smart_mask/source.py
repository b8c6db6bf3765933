"""The image at the sizes that are worked on, kept for the next click.

A click comes seldom alone. What it needs of the image (a middle size, the superpixels
of the whole) is kept for the last few images, by what their files hold: never by name,
size or place, so that nobody's click meets another picture.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import cv2

from gpu_worker import pixels
from gpu_worker.engines.cutout import subject
from gpu_worker.engines.cutout.subject import shrink
from gpu_worker.engines.smart_mask import pieces
from gpu_worker.engines.smart_mask.pieces import Floats, Pieces
from gpu_worker.pixels import Pixels, header

MIDDLE_SIDE_PX = 1280
WORK_SIDE_PX = 320
LEAST_SIDE_PX = 24
KEPT = 4
WHITE = (255, 255, 255)


class Source:
    """An image: `size_px` (width, height) upright, and `rgb`, a middle size of it."""

    def __init__(self, size_px: tuple[int, int], rgb: Pixels) -> None:
        self.size_px = size_px
        self.rgb = rgb
        self.scale = rgb.shape[1] / size_px[0], rgb.shape[0] / size_px[1]

    @cached_property
    def pieces(self) -> Pieces:
        """The superpixels of the whole image."""
        return pieces.of(work_size(self.rgb))

    @cached_property
    def salient(self) -> Floats:
        """How likely each pixel is the image's subject, 0 to 1, at a small size."""
        return subject.opinion(self.rgb)


_kept: OrderedDict[bytes, Source] = OrderedDict()


def read(path: Path) -> Source:
    """The image of a file, unless it is one of the last. Raises InvalidImage
    and StorageUnavailable."""
    data = header.content(path)
    key = hashlib.sha256(data).digest()
    source = _kept.pop(key, None) or _decoded(data)
    _kept[key] = source
    if len(_kept) > KEPT:
        _kept.popitem(last=False)
    return source


def kept() -> int:
    """How many images are kept."""
    return len(_kept)


def forget() -> None:
    """Keep no image any more."""
    _kept.clear()


def work_size(rgb: Pixels) -> Pixels:
    """Small enough to be quick; no side is too short for superpixels."""
    small = shrink(rgb, WORK_SIDE_PX)
    size = max(LEAST_SIDE_PX, small.shape[1]), max(LEAST_SIDE_PX, small.shape[0])
    return cv2.resize(small, size, interpolation=cv2.INTER_NEAREST)


def _decoded(data: bytes) -> Source:
    size = pixels.upright_size(data)
    factor = min(1, MIDDLE_SIDE_PX / max(size))
    enough = max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
    picture = shrink(pixels.decode(data, enough_px=enough), MIDDLE_SIDE_PX)
    return Source(size, pixels.flatten(picture, WHITE))
