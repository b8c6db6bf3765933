"""extract: the object that a mask marks, in its place or alone on a white square."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from gpu_worker.engines import geometry
from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import layers
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

# CONTRACTS of the replaced editor: the box of what is lighter than 128, in a square of
# the first of these sides that holds it, else of the last.
OBJECT_ABOVE = 128
SIDES_PX = (512, 1024)


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The object of the mask, else of the image's own alpha.

    Raises InvalidParameters where neither says what the object is, or nothing is left.
    """
    cutout = cut_out(picture.pixels, others.get("mask"))
    layers.marked_box(cutout[..., 3], above=0)
    if parameters.get("mode") == "square":
        cutout = squared(cutout)
    return replace(picture, pixels=cutout)


def cut_out(shown: Pixels, mask: Picture | None) -> Pixels:
    """(H, W, 4): the mask as alpha; what was transparent before stays so."""
    own = layers.alpha(shown)
    if mask is None:
        if own is None:
            raise InvalidParameters("There is no mask, and the image has no alpha.")
        return shown
    opacity = layers.mask_like(shown, mask.pixels)
    if own is not None:
        opacity = cv2.multiply(opacity, np.ascontiguousarray(own), scale=1 / 255)
    return layers.with_alpha(shown, opacity)


def squared(cutout: Pixels) -> Pixels:
    """(S, S, 3): the object as large as fits, in the middle of a white square."""
    cutout = cutout[layers.marked_box(cutout[..., 3], above=OBJECT_ABOVE)]
    height, width = cutout.shape[:2]
    side = SIDES_PX[0] if max(height, width) <= SIDES_PX[0] else SIDES_PX[1]
    factor = side / max(height, width)
    fitted = geometry.resized(
        cutout, max(1, int(width * factor)), max(1, int(height * factor))
    )
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - fitted.shape[0]) // 2, (side - fitted.shape[1]) // 2
    place = slice(top, top + fitted.shape[0]), slice(left, left + fitted.shape[1])
    square[place] = layers.over(fitted, square[place])
    return square
