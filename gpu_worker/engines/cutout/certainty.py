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

LEAST_SHARE = 1e-4
BINS = 12


def of(found: Search, rgb: Pixels) -> float:
    """0 to 1: the likelihood that the cut-out is of use."""
    return float(fitted.likelihood(signs(found, rgb), fitted.models()["certainty"])[0])


def signs(found: Search, rgb: Pixels) -> dict[str, Floats]:
    """What speaks for and against a mask, by name, one number each."""
    mask, likely, areas = found.mask, found.likely, found.pieces.areas
    tight, wide = found.trials
    opinion = found.first[found.pieces.labels] > 0.4
    again = found.second[found.pieces.labels] > 0.45
    share = float(mask.mean())
    numbers = {
        "trials agree": overlap(tight, wide),
        "found again coarser": overlap(mask, found.coarser),
        "agrees with the tight": overlap(mask, tight),
        "agrees with the wide": overlap(mask, wide),
        "agrees with the first opinion": overlap(mask, opinion),
        "agrees with the second opinion": overlap(mask, again),
        "likely inside": float(likely[mask].mean()),
        "likely outside": float(likely[~mask].mean()) if share < 1 else 1.0,
        "undecided": float((areas * found.second * (1 - found.second)).sum()),
        "undecided first": float((areas * found.first * (1 - found.first)).sum()),
        "colours in common": _in_common(rgb, mask),
        "at sides": _at_sides(mask),
        "at bottom": float(mask[-1].mean()),
        "share": float(np.log(share + 0.01)),
        "large": max(0.0, share - 0.5),
        "outline": _outline(mask),
        "edge on outline": _on_edges(rgb, mask),
    }
    return {name: np.array([number], np.float32) for name, number in numbers.items()}


def overlap(a: Mask, b: Mask) -> float:
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def _in_common(rgb: Pixels, mask: Mask) -> float:
    """The Bhattacharyya coefficient of the colours inside and outside."""
    codes = (rgb // (256 // BINS + 1)).astype(np.int32)
    codes = (codes[..., 0] * BINS + codes[..., 1]) * BINS + codes[..., 2]
    inner, outer = (
        np.bincount(codes[part], minlength=BINS**3) / max(1, int(part.sum()))
        for part in (mask, ~mask)
    )
    return float(np.sqrt(inner * outer).sum())


def _at_sides(mask: Mask) -> float:
    return float(np.concatenate([mask[0], mask[:, 0], mask[:, -1]]).mean())


def _outline(mask: Mask) -> float:
    """How long the outline is for the area: a ragged mask is seldom right."""
    edge = cv2.morphologyEx(
        mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    )
    return float(np.log((edge.sum() + 1) / np.sqrt(mask.sum() + 1)))


def _on_edges(rgb: Pixels, mask: Mask) -> float:
    """How much stronger the picture's own edges are on the outline than elsewhere."""
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab), (0, 0), 1)
    grey = grey.astype(np.float32)
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    strength = np.sqrt(sum((one**2).sum(axis=2) for one in across))
    edge = cv2.morphologyEx(
        mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)
    )
    on = strength[edge > 0]
    return float(
        np.log((on.mean() if on.size else 0) + 1) - np.log(strength.mean() + 1)
    )
