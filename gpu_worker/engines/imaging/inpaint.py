"""inpaint: what a mask marks, filled from its surroundings.

The plain preview of a removal (older interfaces call it the "MAE picture"; no
autoencoder ever made one). Good for scratches and small things; a large hole shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import layers
from gpu_worker.errors import InvalidParameters
from gpu_worker.pixels import Pixels

METHODS = {"telea": cv2.INPAINT_TELEA, "navier-stokes": cv2.INPAINT_NS}
RADIUS_PX, DILATION_PX = 3, 35


def apply(
    picture: Picture, parameters: dict[str, Any], others: Mapping[str, Picture]
) -> Picture:
    """The picture without what the mask marks. Raises InvalidParameters."""
    hole = layers.mask_like(picture.pixels, others["mask"].pixels)
    hole = (hole > layers.MARKED).astype(np.uint8)
    if parameters.get("mask_type") == "brush":
        hole = widened(hole, parameters.get("dilation", DILATION_PX))
    if hole.all():
        raise InvalidParameters("The mask marks the whole image: nothing would be left")
    radius = parameters.get("radius", RADIUS_PX)
    method = METHODS[parameters.get("method", "telea")]
    return replace(picture, pixels=filled(picture.pixels, hole, radius, method))


def widened(hole: Pixels, pixels: int) -> Pixels:
    """The mask grown by so many pixels to every side, round."""
    side = 2 * pixels + 1
    return cv2.dilate(hole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def filled(picture: Pixels, hole: Pixels, radius: int, method: int) -> Pixels:
    """The picture, changed only where `hole` is not 0. Raises InvalidParameters.

    Only the surroundings of the hole are looked at, so that a small one costs little
    in a large picture.
    """
    made = picture.copy()
    rows, columns = layers.marked_box(hole, above=0)
    # What is read lies within the radius; the method's own rim needs a little more.
    rim = 2 * radius + 8
    near = (
        slice(max(0, rows.start - rim), rows.stop + rim),
        slice(max(0, columns.start - rim), columns.stop + rim),
    )
    for channels in _parts(picture):
        part = np.ascontiguousarray(picture[near][channels])
        made[near][channels] = cv2.inpaint(part, hole[near], radius, method)
    return made


def _parts(picture: Pixels) -> list[Any]:
    """OpenCV fills one or three channels at a time: alpha goes alone."""
    if picture.ndim == 3 and picture.shape[2] == 4:
        return [np.s_[..., :3], np.s_[..., 3]]
    return [np.s_[...]]
