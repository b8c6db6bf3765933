"""One removebg job: the image, the subject in it, the cut-out; how that is finished is
the same for all engines (`options`)."""

from __future__ import annotations

from typing import Any

import cv2

from gpu_worker import pixels
from gpu_worker.engines.base import Hooks, Item, Outcome, Picture
from gpu_worker.engines.cutout import edges, options, subject
from gpu_worker.pixels import Pixels

# Below it were all but two or three of 68 failures among the photos that were left out,
# and a fifth of what was good: more of that may not be.
CERTAIN = 0.805
LEAST_SUBJECT = 0.001
MOST_SUBJECT = 0.95
# An input of which at least this share is transparent, or solid, keeps its own alpha.
USEFUL_ALPHA = 0.01
WHITE = (255, 255, 255)

cv2.setNumThreads(1)  # a slot is one core


def remove(item: Item, hooks: Hooks) -> Outcome:
    """The cut-out of what the item's options leave to see. Raises WorkerError."""
    hooks.progress(item, 0, 3, "decoding")
    picture = options.picture(item)
    hooks.progress(item, 1, 3, "finding the subject")
    cutout, details = cut_out(picture)
    hooks.progress(item, 2, 3, "encoding")
    return (Picture(pixels=cutout, details=details),)


def cut_out(picture: Pixels) -> tuple[Pixels, dict[str, Any]]:
    """RGBA of the picture's size, and what to tell the client about it."""
    if picture.shape[2] == 4:
        if _is_cut_out(picture):
            return picture, {"confidence": 1.0, "uncertain": False, "route": "alpha"}
        picture = pixels.flatten(picture, WHITE)
    found = subject.find(picture)
    share = float(found.mask.mean())
    sure = found.confidence >= CERTAIN and LEAST_SUBJECT <= share <= MOST_SUBJECT
    return edges.cut_out(picture, found.mask), {
        "confidence": round(found.confidence, 3),
        "uncertain": not sure,
        "route": found.route,
    }


def _is_cut_out(picture: Pixels) -> bool:
    """Whether the picture's own alpha already separates a subject."""
    see_through = float((picture[..., 3] < 128).mean())
    return USEFUL_ALPHA <= see_through <= 1 - USEFUL_ALPHA
