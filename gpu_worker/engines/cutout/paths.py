"""How a superpixel is connected to the borders: by small changes of colour, by none
that is large, and as part of an area that the border cuts (Zhu et al., CVPR 2014)."""

from __future__ import annotations

import numpy as np

from gpu_worker.engines.cutout.pieces import Floats, Indices, Labels, Pieces, distances

CONNECTED_SIGMA = 10.0
BACKGROUND_SIGMA = 0.4
NEAR_SIGMA = 0.25
# The bottom border cuts subjects as well as backgrounds.
BOTTOM_SHARE = 0.3


def cues(pieces: Pieces) -> dict[str, Floats]:
    """What the ways to the borders say, by name, one number per superpixel each."""
    paths, steepest = _paths(pieces)
    return _lengths(pieces, paths) | _steepest(pieces, steepest) | _areas(pieces, paths)


def _paths(pieces: Pieces) -> tuple[Floats, Floats]:
    """From each to each: the least sum of changes of colour, and the least that the
    largest of them can be."""
    steps = np.where(pieces.neighbours, pieces.apart, np.inf).astype(np.float32)
    usual = np.float32(steps.min(axis=1).mean())
    sums, largest = np.maximum(steps - usual, 0), steps
    np.fill_diagonal(sums, 0)
    np.fill_diagonal(largest, 0)
    for middle in range(len(sums)):
        np.minimum(sums, sums[:, middle, None] + sums[middle], out=sums)
        through = np.maximum(largest[:, middle, None], largest[middle])
        np.minimum(largest, through, out=largest)
    return sums, largest


def _lengths(pieces: Pieces, paths: Floats) -> dict[str, Floats]:
    top, left, right, bottom = (
        _to(paths, side)
        for side in (pieces.top, pieces.left, pieces.right, pieces.bottom)
    )
    return {
        "to border": np.minimum(np.minimum(top, left), right),
        "to bottom": bottom,
        "to nearer side": np.minimum(left, right),
        "to farther side": np.maximum(left, right),
    }


def _steepest(pieces: Pieces, largest: Floats) -> dict[str, Floats]:
    return {
        "steepest to border": _to(largest, pieces.sides),
        "steepest to bottom": _to(largest, pieces.bottom),
    }


def _to(paths: Floats, where: Indices) -> Floats:
    return np.log1p(paths[:, where].min(axis=1))


def _areas(pieces: Pieces, paths: Floats) -> dict[str, Floats]:
    """What is connected, how much of it lies along the borders, and the contrast to
    what then seems to be background."""
    connected = np.exp(-(paths**2) / (2 * CONNECTED_SIGMA**2))
    area, labels, count = connected @ pieces.areas, pieces.labels, len(paths)
    sides = _share_of([labels[0], labels[:, 0], labels[:, -1]], count)
    bottom = _share_of([labels[-1]], count)
    cut = connected @ sides / np.sqrt(area)
    below = BOTTOM_SHARE * connected @ bottom / np.sqrt(area)
    ground = 1 - np.exp(-(cut**2) / (2 * BACKGROUND_SIGMA**2))
    near = np.exp(-(distances(pieces.places) ** 2) / (2 * NEAR_SIGMA**2))
    contrast = (pieces.apart * near) @ (pieces.areas * ground) / (near @ pieces.areas)
    return {
        "connected area": np.log(area + 1e-3),
        "cut by borders": np.log(cut + 0.05),
        "cut by all borders": np.log(cut + below + 0.05),
        "contrast to background": np.log1p(contrast),
    }


def _share_of(borders: list[Labels], count: int) -> Floats:
    """How much of these borders belongs to each superpixel."""
    pixels = np.concatenate(borders)
    return (np.bincount(pixels, minlength=count) / len(pixels)).astype(np.float32)
