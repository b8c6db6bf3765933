"""Pictures to the device and back: opacity, profile and metadata travel beside the
colours, as arrays."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker import pixels
from gpu_worker.engines import limits
from gpu_worker.engines.base import Item, Picture
from gpu_worker.pixels import Pixels

Carried = dict[str, NDArray[Any]]

METADATA = ("exif", "xmp")


def arrays(item: Item, scale: int) -> Carried:
    """What an item brings. Raises InvalidImage, and LimitExceeded from the header."""
    source = item.inputs[0].path
    width, height = pixels.upright_size(source)
    limits.check(width * scale, height * scale)
    last = item.last_parameters
    read = pixels.read(
        source,
        keep_profile=last.get("icc") == "keep",
        keep_metadata=not last.get("strip_metadata", True),
    )
    carried = {"colours": np.ascontiguousarray(read.pixels[..., :3])}
    if read.pixels.shape[2] == 4:
        carried["alpha"] = np.ascontiguousarray(read.pixels[..., 3])
        carried["colours"] = _without_hidden(read.pixels)
    texts = {"icc": read.icc or b""} | read.metadata
    return carried | {
        name: np.frombuffer(text, np.uint8) for name, text in texts.items() if text
    }


def picture(carried: Carried) -> Picture:
    """Of enlarged colours and what came with them."""
    shown = carried["colours"]
    if "alpha" in carried:
        size = shown.shape[1], shown.shape[0]
        alpha = cv2.resize(carried["alpha"], size, interpolation=cv2.INTER_CUBIC)
        shown = np.dstack([shown, alpha])
    icc = carried["icc"].tobytes() if "icc" in carried else None
    kept = {name: carried[name].tobytes() for name in METADATA if name in carried}
    return Picture(pixels=shown, icc=icc, metadata=kept)


def _without_hidden(rgba: Pixels) -> Pixels:
    """Colours under alpha 0 are nobody's: the mean of what is seen, so that they do not
    come into an edge."""
    colours, seen = rgba[..., :3].copy(), rgba[..., 3] > 0
    if seen.any():
        colours[~seen] = colours[seen].mean(axis=0).round().astype(np.uint8)
    return colours
