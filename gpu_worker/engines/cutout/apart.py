"""Colours and opacity in two files of one archive, as remove.bg writes it: a JPEG and a
grey PNG are a small part of a large RGBA PNG, and a client puts them together."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker import pixels
from gpu_worker.engines.base import Result
from gpu_worker.pixels import Pixels

CONTENT_TYPE = "application/zip"
COLOURS, OPACITY = "color.jpg", "alpha.png"
QUALITY = 95
# An archive of the same files has the same bytes, whenever it was made.
EPOCH = (1980, 1, 1, 0, 0, 0)


def zipped(shown: Pixels, details: dict[str, Any]) -> Result:
    """The archive of an RGBA picture."""
    colours = pixels.encode(spread(shown), "jpeg", quality=QUALITY)
    opacity = pixels.encode(np.ascontiguousarray(shown[..., 3]), "png")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, file in ((COLOURS, colours), (OPACITY, opacity)):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), file.data)
    return Result(
        data=out.getvalue(),
        content_type=CONTENT_TYPE,
        width_px=colours.width_px,
        height_px=colours.height_px,
        details=details,
    )


def spread(shown: Pixels) -> Pixels:
    """RGB, where what is seen goes on into what is not: so no edge is smeared by the
    JPEG, and nothing of the old background is left."""
    colours, seen = shown[..., :3], shown[..., 3] > 0
    below = _continued(*_halved(colours * seen[..., None], seen)).astype(np.uint8)
    size = shown.shape[1], shown.shape[0]
    around = cv2.resize(below, size, interpolation=cv2.INTER_LINEAR)
    np.copyto(around, colours, where=seen[..., None])
    return around


Floats = NDArray[np.float32]


def _continued(colours: Floats, weights: Floats) -> Floats:
    """Where nothing is seen the mean of what is near by, from ever smaller copies."""
    seen = weights > 0
    if max(seen.shape) <= 1 or seen.all():
        return colours
    below = _continued(*_halved(colours, seen))
    size = colours.shape[1], colours.shape[0]
    around = cv2.resize(below, size, interpolation=cv2.INTER_LINEAR)
    return np.where(seen[..., None], colours, around)


def _halved(colours: Pixels | Floats, seen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """The means of what is seen in a picture of half the size, and how much that is.
    Colours are 0 where nothing is seen."""
    size = (seen.shape[1] + 1) // 2, (seen.shape[0] + 1) // 2
    whole = seen.astype(np.uint8) * 255
    weights = cv2.resize(whole, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    sums = cv2.resize(colours, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    means = sums / np.where(weights > 0, weights, 1)[..., None]
    return np.clip(means, 0, 255), weights
