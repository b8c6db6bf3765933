"""Another picture on top: a watermark, once or in tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from PIL import Image

from gpu_worker.engines import geometry
from gpu_worker.engines.imaging import layers
from gpu_worker.engines.proxying import sizes
from gpu_worker.engines.proxying.sizes import Size
from gpu_worker.pixels import Pixels

SHADOW = 0.6
"""How dark a shadow is at most."""


def put(
    picture: Pixels, mark: Pixels, wanted: Mapping[str, Any], factor: float
) -> Pixels:
    """The picture with its mark; `factor` multiplies offsets in pixels."""
    size = picture.shape[1], picture.shape[0]
    mark = _sized(_clear(mark), size, wanted)
    if wanted["shadow"]:
        mark = _shadowed(mark, wanted["shadow"])
    if wanted["angle"]:
        image = Image.fromarray(mark).rotate(
            -wanted["angle"], Image.Resampling.BICUBIC, expand=True
        )
        mark = np.array(image)
    mark[..., 3] = np.round(mark[..., 3] * wanted["opacity"])
    whole = np.zeros((size[1], size[0], 4), np.uint8)
    if wanted["position"] == "re":
        _tile(whole, mark, wanted, factor)
    else:
        _lay(whole, mark, _place(size, mark, wanted, factor))
    return layers.over(whole, picture)


def _clear(mark: Pixels) -> Pixels:
    if layers.alpha(mark) is not None:
        return mark
    return layers.with_alpha(mark, np.full(mark.shape[:2], 255, np.uint8))


def _sized(mark: Pixels, size: Size, wanted: Mapping[str, Any]) -> Pixels:
    """As large as asked for: a part of the picture, a box, or as it is."""
    height, width = mark.shape[:2]
    if wanted["scale"]:
        box = size[0] * wanted["scale"], size[1] * wanted["scale"]
    elif wanted["width"] or wanted["height"]:
        box = wanted["width"] or np.inf, wanted["height"] or np.inf
    else:
        box = width, height
    factor = min(box[0] / width, box[1] / height)
    target = max(1, round(width * factor)), max(1, round(height * factor))
    sizes.check(target)
    return np.array(geometry.resized(mark, *target))


def _shadowed(mark: Pixels, sigma: float) -> Pixels:
    """The mark with room around it for its own blurred shadow."""
    room = int(np.ceil(2 * sigma))
    roomy = cv2.copyMakeBorder(
        mark, room, room, room, room, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
    )
    shadow = np.zeros_like(roomy)
    shadow[..., 3] = cv2.GaussianBlur(roomy[..., 3], (0, 0), sigma) * SHADOW
    return layers.over(roomy, shadow)


def _place(
    size: Size, mark: Pixels, wanted: Mapping[str, Any], factor: float
) -> tuple[int, int]:
    """Left and top of the mark, which may reach beyond the picture."""
    x, y = (
        wanted[name] * side if abs(wanted[name]) < 1 else wanted[name] * factor
        for name, side in (("x", size[0]), ("y", size[1]))
    )
    kind = wanted["position"]
    across, down = size[0] - mark.shape[1], size[1] - mark.shape[0]
    left = x if "we" in kind else across - x if "ea" in kind else across / 2 + x
    top = y if "no" in kind else down - y if "so" in kind else down / 2 + y
    return round(left), round(top)


def _tile(
    whole: Pixels, mark: Pixels, wanted: Mapping[str, Any], factor: float
) -> None:
    """The mark everywhere, `x` and `y` apart."""
    height, width = whole.shape[:2]
    apart_x, apart_y = (
        max(0, round(wanted[name] * (side if abs(wanted[name]) < 1 else factor)))
        for name, side in (("x", width), ("y", height))
    )
    tile = np.zeros((mark.shape[0] + apart_y, mark.shape[1] + apart_x, 4), np.uint8)
    tile[: mark.shape[0], : mark.shape[1]] = mark
    down, across = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    whole[:] = np.tile(tile, (down, across, 1))[:height, :width]


def _lay(whole: Pixels, mark: Pixels, at: tuple[int, int]) -> None:
    """The mark's part that is inside."""
    left, top = at
    height, width = whole.shape[:2]
    first_x, first_y = max(0, -left), max(0, -top)
    part = mark[first_y : height - top, first_x : width - left]
    if part.size:
        bottom, right = max(0, top) + part.shape[0], max(0, left) + part.shape[1]
        whole[max(0, top) : bottom, max(0, left) : right] = part
