"""Superpixels of a small picture, and how far they are from each other.

What is decided of a picture's object is decided of some hundred superpixels: a whole
guess at it costs a few milliseconds, so that several can be made and compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.pixels import Pixels

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Indices = NDArray[np.intp]

COUNT = 500
LEAST_SIDE_PX = 5
ROUNDS = 5
LEAST_PART_PERCENT = 15
# Colours this far apart (CIE76) are hardly of one thing.
ALIKE = 7.0
# What looks alike at the other end of the picture is often something else.
NEAR = 0.35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """The superpixels of a picture: `labels` (H, W), then one row per superpixel.

    `places` are the centres, in shares of the longer side; `areas` are 1 on average.
    `kin` (N, N) says how far two are of the same colour and near. `ends` and `others`
    are the two sides of each border between two, sorted by `ends`, both ways; `apart`
    is the difference of their colours.
    """

    rgb: Pixels
    labels: Labels
    places: Floats
    areas: Floats
    kin: Floats
    ends: Indices
    others: Indices
    apart: Floats

    @property
    def count(self) -> int:
        return len(self.areas)

    def share(self, mask: NDArray[np.generic]) -> Floats:
        """The mean of a map (H, W) over each superpixel."""
        sums = np.bincount(self.labels.ravel(), mask.ravel(), self.count)
        sizes = np.bincount(self.labels.ravel(), minlength=self.count)
        return (sums / np.maximum(sizes, 1)).astype(np.float32)

    def at(self, x: int, y: int) -> int:
        return int(self.labels[y, x])

    def distance(self, start: Floats, *, step: float) -> Floats:
        """The least change of colour on the way to each, plus `step` for every border
        that is crossed. `start` is what each costs to begin at: inf for not at all."""
        reached = np.minimum(start, 1e9)
        if len(self.ends) == 0:
            return reached
        cost = self.apart + np.float32(step)
        first = np.searchsorted(self.ends, np.arange(self.count))
        while True:
            by_others = np.minimum.reduceat(reached[self.others] + cost, first)
            nearer = np.minimum(reached, by_others)
            if (nearer >= reached).all():
                return reached
            reached = nearer


def of(rgb: Pixels) -> Pieces:
    """The superpixels of an RGB picture of a few hundred pixels a side."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    labels, count = _superpixels(lab)
    flat, sizes = labels.ravel(), np.bincount(labels.ravel(), minlength=count)
    height, width = labels.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    planes = [*np.moveaxis(lab, 2, 0), columns, rows]
    sums = np.stack([np.bincount(flat, one.ravel(), count) for one in planes], axis=1)
    means = (sums / sizes[:, None]).astype(np.float32)
    colours, places = means[:, :3], means[:, 3:]
    ends, others = _borders(labels, count)
    return Pieces(
        rgb=rgb,
        labels=labels,
        places=places,
        areas=(sizes / sizes.mean()).astype(np.float32),
        kin=np.exp(
            -_squares(colours) / (2 * ALIKE**2) - _squares(places) / (2 * NEAR**2)
        ),
        ends=ends,
        others=others,
        apart=np.linalg.norm(colours[ends] - colours[others], axis=1),
    )


def _superpixels(lab: Floats) -> tuple[Labels, int]:
    side = max(LEAST_SIDE_PX, round((lab.shape[0] * lab.shape[1] / COUNT) ** 0.5))
    slic = cv2.ximgproc.createSuperpixelSLIC(lab, cv2.ximgproc.SLICO, side)
    slic.iterate(ROUNDS)
    slic.enforceLabelConnectivity(LEAST_PART_PERCENT)
    # Numbered anew: none may be without pixels.
    used, labels = np.unique(slic.getLabels(), return_inverse=True)
    return labels.reshape(lab.shape[:2]).astype(np.int32), len(used)


def _borders(labels: Labels, count: int) -> tuple[Indices, Indices]:
    """Both sides of every border between two, once each way, sorted."""
    pairs = np.concatenate(
        [
            np.stack([labels[:, :-1].ravel(), labels[:, 1:].ravel()]),
            np.stack([labels[:-1].ravel(), labels[1:].ravel()]),
        ],
        axis=1,
    ).astype(np.int64)
    pairs = pairs[:, pairs[0] != pairs[1]]
    keys = np.unique(
        np.concatenate([pairs[0] * count + pairs[1], pairs[1] * count + pairs[0]])
    )
    return keys // count, keys % count


def _squares(values: Floats) -> Floats:
    """The squared distances of all rows, (N, N)."""
    return ((values[:, None] - values[None]) ** 2).sum(axis=2)
