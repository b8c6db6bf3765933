"""What stands out: robust background detection (Zhu et al., CVPR 2014).

A superpixel is background as far as the region of its colour touches the border, and
salient as far as its colour differs from the background near it. Several sizes of
superpixels are averaged.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

SUPERPIXELS = (150, 300, 500)
COLOUR_SIGMA = 10.0
CONNECTION_SIGMA = 1.0
NEAR_SIGMA = 0.25
SMOOTH_SIGMA = 7.0
LEAST_SMOOTHNESS = 0.1
CENTRE_SHARE = 0.8
BOTTOM_CORNERS = 0.12
BOTTOM_WEIGHT = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Saliency:
    """Both float32 (H, W), 0 to 1."""

    salient: Floats
    background: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The superpixels of a picture: `labels` (H, W), then one row per superpixel.

    `border` is how much of the picture's border each stands for.
    """

    labels: Labels
    colours: Floats
    places: Floats
    areas: Floats
    neighbours: NDArray[np.bool_]
    border: Floats


def find(lab: Floats) -> Saliency:
    """The saliency of a small picture in CIE Lab, float32 (H, W, 3)."""
    maps = [_one_size(lab, count) for count in SUPERPIXELS]
    return Saliency(
        salient=np.mean([one.salient for one in maps], axis=0),
        background=np.mean([one.background for one in maps], axis=0),
    )


def _one_size(lab: Floats, count: int) -> Saliency:
    pieces = _pieces(lab, count)
    distances = _between(pieces.colours)
    background = _background(pieces, distances)
    salient = _smooth(pieces, distances, background, _contrast(pieces, background))
    return Saliency(
        salient=salient[pieces.labels], background=background[pieces.labels]
    )


def _pieces(lab: Floats, count: int) -> Pieces:
    labels, number = _superpixels(lab, count)
    flat, sizes = labels.ravel(), np.bincount(labels.ravel(), minlength=number)
    height, width = labels.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [*np.moveaxis(lab, 2, 0), columns / width, rows / height]
    sums = [np.bincount(flat, plane.ravel(), number) for plane in planes]
    means = (np.stack(sums, axis=1) / sizes[:, None]).astype(np.float32)
    colours, places = means[:, :3], means[:, 3:]
    return Pieces(
        labels=labels,
        colours=colours,
        places=places,
        areas=(sizes / sizes.mean()).astype(np.float32),
        neighbours=_neighbours(labels, number),
        border=_border(labels, colours, number),
    )


def _superpixels(lab: Floats, count: int) -> tuple[Labels, int]:
    side = max(4, round((lab.shape[0] * lab.shape[1] / count) ** 0.5))
    slic = cv2.ximgproc.createSuperpixelSLIC(lab, cv2.ximgproc.SLICO, side)
    slic.iterate(6)
    slic.enforceLabelConnectivity(20)
    return slic.getLabels(), slic.getNumberOfSuperpixels()


def _neighbours(labels: Labels, number: int) -> NDArray[np.bool_]:
    touch = np.zeros((number, number), np.bool_)
    touch[labels[:, :-1], labels[:, 1:]] = True
    touch[labels[:-1], labels[1:]] = True
    touch |= touch.T
    np.fill_diagonal(touch, val=False)
    return touch


def _border(labels: Labels, colours: Floats, number: int) -> Floats:
    """1 for superpixels on the border, less in the middle of the bottom.

    People and animals are cut by the bottom of a photo; it counts only where its colour
    is that of the other borders too.
    """
    border = np.zeros(number, np.float32)
    bottom, corner = labels[-1], int(BOTTOM_CORNERS * labels.shape[1])
    others = np.unique(np.concatenate([labels[0], labels[:, 0], labels[:, -1]]))
    middle = np.unique(bottom[corner : len(bottom) - corner])
    unlike = _between(colours[middle], colours[others]).min(axis=1)
    border[middle] = np.where(unlike < COLOUR_SIGMA, 1, BOTTOM_WEIGHT)
    border[others] = 1
    return border


def _background(pieces: Pieces, distances: Floats) -> Floats:
    """How likely each superpixel is background, by its connection to the border."""
    reach = np.exp(-(_geodesic(pieces, distances) ** 2) / (2 * COLOUR_SIGMA**2))
    area = reach @ pieces.areas
    length = reach @ pieces.border
    connected = length / np.sqrt(area)
    likely = 1 - np.exp(-(connected**2) / (2 * CONNECTION_SIGMA**2))
    return likely.astype(np.float32)


def _geodesic(pieces: Pieces, distances: Floats) -> Floats:
    """The least change of colour on the way between any two superpixels.

    The border is one place: all its superpixels are neighbours.
    """
    on_border = pieces.border > 0
    linked = pieces.neighbours | (on_border[:, None] & on_border)
    np.fill_diagonal(linked, val=False)
    steps = np.where(linked, distances, np.inf)
    usual = float(steps.min(axis=1).mean())
    paths = np.where(linked, np.maximum(steps - usual, 0), np.inf).astype(np.float32)
    np.fill_diagonal(paths, 0)
    for middle in range(len(paths)):
        np.minimum(paths, paths[:, middle, None] + paths[middle], out=paths)
    return paths


def _contrast(pieces: Pieces, background: Floats) -> Floats:
    """How much each superpixel differs from the background, most of that near it."""
    apart = _between(pieces.places)
    near = np.exp(-(apart**2) / (2 * NEAR_SIGMA**2))
    weights = near * (background * pieces.areas)
    contrast = _unit((weights * _between(pieces.colours)).sum(axis=1))
    off_centre = np.linalg.norm(pieces.places - 0.5, axis=1)
    centred = np.exp(-(off_centre**2) / (2 * NEAR_SIGMA**2))
    return contrast * (1 - CENTRE_SHARE + CENTRE_SHARE * centred)


def _smooth(
    pieces: Pieces, distances: Floats, background: Floats, salient: Floats
) -> Floats:
    """The least-squares compromise of both beliefs and of likeness to neighbours."""
    alike = np.exp(-(distances**2) / (2 * SMOOTH_SIGMA**2)) + LEAST_SMOOTHNESS
    alike = np.where(pieces.neighbours, alike, 0)
    system = np.diag(alike.sum(axis=1) + background + salient) - alike
    return _unit(np.linalg.solve(system, salient))


def _between(some: Floats, others: Floats | None = None) -> Floats:
    others = some if others is None else others
    apart = np.linalg.norm(some[:, None] - others[None], axis=2)
    return apart.astype(np.float32)


def _unit(values: NDArray[np.floating]) -> Floats:
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else values * 0
    return scaled.astype(np.float32)
