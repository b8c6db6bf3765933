"""How likely a mask is right, from how it came about and how it lies in the picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout import fitted
from gpu_worker.engines.cutout.pieces import Floats
from gpu_worker.engines.cutout.search import Search

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]

RIM_PX = 8
# Windows on both sides of the outline, and colours that are alike there.
BESIDE_PX = 13
ALIKE_DELTA_E = 8.0
BINS = 12
RARE = 2e-4


def of(found: Search, rgb: Pixels) -> float:
    """0 to 1: the likelihood that the cut-out is of use."""
    return float(fitted.likelihood(signs(found, rgb), fitted.models()["certainty"])[0])


def signs(found: Search, rgb: Pixels) -> dict[str, Floats]:
    """What speaks for and against a mask that is not empty, by name, one number
    each."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    mask = found.mask
    share = float(mask.mean())
    moved = float(np.abs(found.likely - mask).mean())
    numbers = {
        "in all cuts": _in_all([mask, *found.others]),
        "support": found.support,
        "moved from the opinion": moved / (share + 0.02),
        "colours of the outside": _unlike(rgb, mask),
        "spread of colours": float(np.log(lab[mask].std(axis=0).sum() + 1)),
        "skin outside": _mean(_skin(lab), ~mask),
        "large": max(0.0, share - 0.5),
    }
    numbers |= _undecided(found) | _apart(lab, mask)
    return {name: np.array([number], np.float32) for name, number in numbers.items()}


def overlap(a: Mask, b: Mask) -> float:
    return _in_all([a, b])


def _in_all(cuts: list[Mask]) -> float:
    """The share of what any cut holds that all hold; 0 if all are empty."""
    union = int(np.logical_or.reduce(cuts).sum())
    return int(np.logical_and.reduce(cuts).sum()) / union if union else 0.0


def _undecided(found: Search) -> dict[str, float]:
    """The opinion's entropy inside, along the outline, and far off."""
    likely, mask = np.clip(found.likely, 1e-4, 1 - 1e-4), found.mask
    entropy = -likely * np.log(likely) - (1 - likely) * np.log(1 - likely)
    near = _grown(mask)
    return {
        "undecided inside": _mean(entropy, mask),
        "undecided just inside": _mean(entropy, mask & _grown(~mask)),
        "undecided just outside": _mean(entropy, near & ~mask),
        "undecided far off": _mean(entropy, ~near),
    }


def _apart(lab: Floats, mask: Mask) -> dict[str, float]:
    """How far the colours on both sides of the outline are apart, CIE76 delta E."""
    inner, outer = (_near(lab, part.astype(np.float32)) for part in (mask, ~mask))
    outline = cv2.morphologyEx(
        mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    )
    apart = np.linalg.norm(inner - outer, axis=2)
    within = outline[1:-1, 1:-1] > 0
    return {
        "apart": float(np.log1p(_mean(apart[1:-1, 1:-1], within))),
        "alike": _mean(apart[1:-1, 1:-1] < ALIKE_DELTA_E, within),
    }


def _near(lab: Floats, weights: Floats) -> Floats:
    """The mean colour of a part near each pixel."""
    window = (BESIDE_PX, BESIDE_PX)
    total = cv2.boxFilter(weights, -1, window)[..., None] + 1e-4
    return cv2.boxFilter(lab * weights[..., None], -1, window) / total


def _unlike(rgb: Pixels, mask: Mask) -> float:
    """How much of the mask has colours that are commoner outside."""
    codes = (rgb // (256 // BINS + 1)).astype(np.int32)
    codes = (codes[..., 0] * BINS + codes[..., 1]) * BINS + codes[..., 2]
    inner, outer = (
        np.bincount(codes[part], minlength=BINS**3) / max(1, int(part.sum())) + RARE
        for part in (mask, ~mask)
    )
    return _mean((inner < outer)[codes], mask)


def _skin(lab: Floats) -> Floats:
    lightness, red, yellow = np.moveaxis(cv2.GaussianBlur(lab, (0, 0), 2), 2, 0)
    skin = np.exp(-((red - 15) ** 2) / (2 * 8**2) - (yellow - 18) ** 2 / (2 * 9**2))
    return (skin * (lightness > 20)).astype(np.float32)


def _grown(mask: Mask) -> Mask:
    side = 2 * RIM_PX + 1
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.dilate(mask.astype(np.uint8), window) > 0


def _mean(values: NDArray[np.generic], where: Mask) -> float:
    return float(values[where].mean()) if where.any() else 0.0
