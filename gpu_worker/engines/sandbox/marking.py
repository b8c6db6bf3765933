"""The mark of the sandbox: SANDBOX across the picture, from lower left to upper right.

It is drawn once at a small size and laid over the picture strip by strip, so that a
picture of 50 megapixels costs no second one. What a mask or a cut-out is used for stays
possible: a mask stays above its middle where it was, and what is transparent stays so.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gpu_worker.engines.imaging import layers
from gpu_worker.pixels import Pixels

TEXT = "SANDBOX"
LAYER_SIDE_PX = 1200
LETTERS = 0.5
"""Opacity of the white letters; their dark edge and the bands have others."""
EDGE = 0.4
BAND = 0.25
MASKED = 0.35
"""How much darker a mask is under the mark: 255 becomes 166, still above the middle."""

WHITE, BLACK = 255, 0


def mark(picture: Pixels) -> Pixels:
    """A marked copy of a picture of (H, W), (H, W, 3) or (H, W, 4)."""
    marked = picture.copy()
    colours = marked if marked.ndim == 2 else marked[..., :3]
    for grey, cover in _layers(*picture.shape[:2]):
        _lay(colours, grey, cover)
    return marked


def mark_mask(mask: Pixels) -> Pixels:
    """A marked copy of a mask (H, W): what it selects stays selected."""
    marked = mask.copy()
    _, (_, letters) = _layers(*mask.shape)
    _lay(marked, BLACK, (letters * (MASKED / LETTERS)).astype(np.uint8))
    return marked


def _lay(picture: Pixels, grey: int, cover: Pixels) -> None:
    """Blend one grey into the picture, by a cover of its own size or a smaller one."""
    height, width = picture.shape[:2]
    cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_LINEAR)
    for rows in layers.strips(picture):
        strip, share = picture[rows].astype(np.int16), cover[rows].astype(np.int16)
        share = share if strip.ndim == 2 else share[..., None]
        picture[rows] = strip + (grey - strip) * share // 255


@lru_cache(maxsize=4)
def _layers(height: int, width: int) -> tuple[tuple[int, Pixels], ...]:
    """(grey, how much it covers) of what lies below first: the edge, the letters."""
    scale = min(1.0, LAYER_SIDE_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    letters, around = _drawn(size)
    return (BLACK, _share(around, EDGE)), (WHITE, _share(letters, LETTERS))


def _share(drawn: Image.Image, opacity: float) -> Pixels:
    return (np.asarray(drawn, np.float32) * opacity).astype(np.uint8)


def _drawn(size: tuple[int, int]) -> tuple[Image.Image, Image.Image]:
    """The letters with their bands, and the edge around both."""
    width, height = size
    across = math.hypot(width, height)
    text_px = max(4.0, min(0.14 * across, 0.6 * min(size)))
    font = ImageFont.load_default(text_px)
    canvas = (math.ceil(across), math.ceil(2 * text_px))
    middle = (canvas[0] / 2, canvas[1] / 2)
    letters, around = Image.new("L", canvas), Image.new("L", canvas)
    edge_px = max(1, round(text_px / 40))
    for layer, stroke in ((letters, 0), (around, edge_px)):
        draw = ImageDraw.Draw(layer)
        for above in (-0.78, 0.78):
            line = middle[1] + above * text_px
            band = text_px / 30 + stroke
            box = (0, line - band, canvas[0], line + band)
            draw.rectangle(box, fill=255 if stroke else round(255 * BAND / LETTERS))
        draw.text(middle, TEXT, fill=255, font=font, anchor="mm", stroke_width=stroke)
    turn = math.degrees(math.atan2(height, width))
    return _turned(letters, turn, size), _turned(around, turn, size)


def _turned(layer: Image.Image, degrees: float, size: tuple[int, int]) -> Image.Image:
    """The layer turned, in the middle of a picture of this size."""
    turned = layer.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    left, top = (turned.width - size[0]) // 2, (turned.height - size[1]) // 2
    return turned.crop((left, top, left + size[0], top + size[1]))
