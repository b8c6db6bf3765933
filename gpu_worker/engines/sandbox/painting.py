"""A picture for a prompt, without a model: soft colours and shapes, the prompt below.

Everything follows from the seed, so that the same request gives the same bytes.
"""

from __future__ import annotations

import colorsys
import hashlib
import unicodedata

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gpu_worker.pixels import Pixels

SHAPES = 9
MOST_LINES = 3
SHADE = 150
OTHER_LETTERS = str.maketrans(
    "đĐłŁ\u2010\u2013\u2014\u2018\u2019\u201c\u201d", "dDlL---''\"\""
)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def seed_of(*said: object) -> int:
    """A seed for a request that names none: the same words, the same seed."""
    digest = hashlib.sha256(repr(said).encode()).digest()
    return int.from_bytes(digest[:4]) >> 1


def paint(prompt: str, size_px: tuple[int, int], seed: int) -> Pixels:
    """(H, W, 3) of shapes that no other seed or prompt has."""
    generator = np.random.default_rng([seed, seed_of(prompt)])
    picture = _ground(generator, size_px)
    for _ in range(SHAPES):
        _add_shape(picture, generator)
    return picture


def _ground(generator: np.random.Generator, size_px: tuple[int, int]) -> Pixels:
    """Neighbouring hues that run into each other."""
    hue = generator.random()
    colours = [
        _colour(hue + generator.uniform(-0.14, 0.14), generator.uniform(0.45, 0.95))
        for _ in range(9)
    ]
    grid = np.array(colours, np.float32).reshape(3, 3, 3)
    smooth = cv2.resize(grid, size_px, interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 255).astype(np.uint8)


def _colour(hue: float, light: float) -> tuple[float, float, float]:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, 0.25 + 0.45 * light, 0.55)
    return 255 * red, 255 * green, 255 * blue


def _add_shape(picture: Pixels, generator: np.random.Generator) -> None:
    """A translucent disc or ring somewhere."""
    height, width = picture.shape[:2]
    centre = int(generator.uniform(0, width)), int(generator.uniform(0, height))
    radius = int(min(height, width) * generator.uniform(0.05, 0.34)) + 1
    ring = generator.random() < 0.35
    thickness = max(1, radius // 7) if ring else cv2.FILLED
    colour = _colour(generator.random(), generator.uniform(0.3, 1.0))
    above = picture.copy()
    cv2.circle(above, centre, radius, colour, thickness, cv2.LINE_AA)
    share = float(generator.uniform(0.25, 0.6))
    cv2.addWeighted(above, share, picture, 1 - share, 0, dst=picture)


def with_caption(picture: Pixels, prompt: str) -> Pixels:
    """The picture with the prompt small at the bottom."""
    picture = picture.copy()
    height, width = picture.shape[:2]
    text_px = max(11, min(height, width) // 34)
    font = ImageFont.load_default(text_px)
    lines = _lines(prompt, font, width - 2 * text_px)
    tall = round(1.35 * text_px)
    top = height - tall * len(lines) - text_px
    picture[top:] = (picture[top:].astype(np.uint16) * (255 - SHADE) // 255).astype(
        np.uint8
    )
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        place = text_px, top + text_px // 2 + number * tall
        draw.text(place, line, fill=(245, 245, 245), font=font)
    return np.asarray(image)


def _latin(text: str) -> str:
    """The text in the letters that Pillow's own font has; others lose their accents, or
    become a question mark."""
    plain = unicodedata.normalize("NFKD", text.translate(OTHER_LETTERS))
    bare = "".join(one for one in plain if not unicodedata.combining(one))
    return bare.encode("latin-1", "replace").decode("latin-1")


def _lines(text: str, font: Font, width_px: float) -> list[str]:
    """The text on a few lines; what does not fit is cut, and three dots say so."""
    words = _latin(text).split()
    lines, rest = [""], words
    while rest:
        longer = f"{lines[-1]} {rest[0]}".strip()
        if font.getlength(longer) <= width_px or not lines[-1]:
            lines[-1], rest = longer, rest[1:]
        elif len(lines) < MOST_LINES:
            lines.append("")
        else:
            lines[-1] += " ..."
            break
    return [_cut(line, font, width_px) for line in lines]


def _cut(line: str, font: Font, width_px: float) -> str:
    if font.getlength(line) <= width_px:
        return line
    while line and font.getlength(line + "...") > width_px:
        line = line[: len(line) * 9 // 10]
    return line + "..."
