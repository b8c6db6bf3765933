"""One picture: opacity by the network, colours free of the old background."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker import pixels
from gpu_worker.engines.base import Hooks, Item, Outcome, Picture
from gpu_worker.engines.cutout import options
from gpu_worker.engines.onnx_matte.network import Network
from gpu_worker.pixels import Pixels

Floats = NDArray[np.float32]

LEAST_ALPHA, LEAST_SHARE = 0.5, 0.001
"""Less than this, in opacity or in area, is no subject but noise."""
WHITE = (255, 255, 255)
# Blur fusion (Forte, ICIP 2021), at a middle size: a wide window reaches what is sure,
# a fine one follows hair. Shares of the long side.
MIDDLE_SIDE_PX = 1024
WIDE, FINE = 0.06, 0.006
EPSILON = 1e-5

cv2.setNumThreads(1)  # a slot is one core


def remove(network: Network, item: Item, hooks: Hooks) -> Outcome:
    """The picture's subject in its own size. Raises WorkerError."""
    hooks.progress(item, 0, 3, "decoding")
    picture = options.picture(item)
    hooks.progress(item, 1, 3, "finding the subject")
    cutout, details = cut_out(network, picture)
    hooks.progress(item, 2, 3, "encoding")
    return (Picture(pixels=cutout, details=details),)


def cut_out(network: Network, picture: Pixels) -> tuple[Pixels, dict[str, Any]]:
    """RGBA of the picture's size. Where it is transparent itself, it stays so."""
    colours = pixels.flatten(picture, WHITE) if picture.shape[2] == 4 else picture
    small = network.alpha(colours)
    found = bool((small > LEAST_ALPHA).mean() > LEAST_SHARE)
    alpha = _resized(small, picture.shape[1], picture.shape[0])
    if picture.shape[2] == 4:
        alpha *= picture[..., 3].astype(np.float32) / 255
    shown = foreground(picture[..., :3], alpha)
    rgba = np.dstack([shown, (alpha * 255).round().astype(np.uint8)])
    return rgba, {"subject_found": found, "uncertain": not found}


def foreground(picture: Pixels, alpha: Floats) -> Pixels:
    """The colours of the subject alone, (H, W, 3)."""
    height, width = alpha.shape
    scale = min(1.0, MIDDLE_SIDE_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = _resized(picture.astype(np.float32), *size)
    opacity = _resized(alpha, *size)[..., None]
    subject, behind = _means(small, small, opacity, WIDE)
    subject = _corrected(small, subject, behind, opacity)
    subject, behind = _means(subject, behind, opacity, FINE)
    subject, behind = (_resized(one, width, height) for one in (subject, behind))
    made = _corrected(picture, subject, behind, alpha[..., None])
    return made.round().astype(np.uint8)


def _means(
    subject: Floats, behind: Floats, alpha: Floats, share: float
) -> tuple[Floats, Floats]:
    side = 2 * round(share * max(alpha.shape) / 2) + 1
    window = (side, side)
    weight = cv2.blur(alpha, window)[..., None]
    of_subject = cv2.blur(subject * alpha, window) / (weight + EPSILON)
    of_rest = cv2.blur(behind * (1 - alpha), window) / (1 - weight + EPSILON)
    return of_subject, of_rest


def _corrected(
    picture: Pixels | Floats, subject: Floats, behind: Floats, alpha: Floats
) -> Floats:
    rest = picture - alpha * subject - (1 - alpha) * behind
    return np.clip(subject + alpha * rest, 0, 255)


def _resized(values: Floats, width: int, height: int) -> Floats:
    shrinks = width < values.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(values, (width, height), interpolation=how)
