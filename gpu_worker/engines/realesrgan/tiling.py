"""A picture in tiles, each with what lies around it, so that no seam is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Pixels = NDArray[np.uint8]

RIM_PX = 32
"""Of the source around a tile that the network sees as well; Real-ESRGAN's own program
takes 10."""
BORDER_PX = 8
"""Of the picture's mirror image around it: a network sees nothing beyond a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Of one side of the source, in pixels: what is made, and what is seen for it."""

    begin: int
    end: int
    seen_begin: int
    seen_end: int

    @property
    def seen(self) -> slice:
        """In the source with its border."""
        return slice(self.seen_begin + BORDER_PX, self.seen_end + BORDER_PX)

    def inner(self, scale: int) -> slice:
        """In what the network made of what is seen."""
        begin, end = self.begin - self.seen_begin, self.end - self.seen_begin
        return slice(begin * scale, end * scale)

    def place(self, scale: int) -> slice:
        """In the whole that is made."""
        return slice(self.begin * scale, self.end * scale)


def parts(length: int, side: int, multiple: int = 1) -> list[Part]:
    """All of a side, as equal as can be. They begin at multiples of `multiple`, which
    divides rim and border: a network that first joins so many pixels then joins the
    same ones in each part."""
    count = -(-length // side)
    steps = range(count)
    begins = [length * step // count // multiple * multiple for step in steps]
    return [
        Part(
            begin=begin,
            end=end,
            seen_begin=max(-BORDER_PX, begin - RIM_PX),
            seen_end=min(length + BORDER_PX, end + RIM_PX),
        )
        for begin, end in zip(begins, [*begins[1:], length], strict=True)
    ]


@torch.no_grad()
def enlarged(
    picture: Pixels,
    network: Any,
    scale: int,
    side: int,
    went_on: Callable[[int, int], None],
) -> Pixels:
    """(scale * H, scale * W, 3) of an RGB picture. `network` is a spandrel descriptor;
    where it enlarges by another factor, what it made is resampled.

    `went_on` hears of each tile before it is begun, and may raise.
    """
    height, width = picture.shape[:2]
    border = (BORDER_PX, BORDER_PX)
    whole = np.pad(picture, (border, border, (0, 0)), mode="symmetric")
    made = np.empty((height * scale, width * scale, 3), np.uint8)
    multiple = network.size_requirements.multiple_of
    tiles = list(product(parts(height, side, multiple), parts(width, side, multiple)))
    for number, (rows, columns) in enumerate(tiles):
        went_on(number, len(tiles))
        large = _through(network, whole[rows.seen, columns.seen], scale)
        inner = large[rows.inner(scale), columns.inner(scale)]
        made[rows.place(scale), columns.place(scale)] = inner.cpu().numpy()
    return made


def _through(network: Any, part: Pixels, scale: int) -> torch.Tensor:
    """uint8 (scale * h, scale * w, 3), on the device."""
    given = torch.tensor(part, device=network.device).permute(2, 0, 1)[None]
    made = network(given.to(network.dtype) / 255).float()
    size = [part.shape[0] * scale, part.shape[1] * scale]
    if list(made.shape[2:]) != size:
        made = functional.interpolate(made, size, mode="bicubic", antialias=True)
    return (made.clamp(0, 1) * 255).round().to(torch.uint8)[0].permute(1, 2, 0)
