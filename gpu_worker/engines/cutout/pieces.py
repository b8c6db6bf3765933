"""A small picture as superpixels: their colours, places, focus, and who is beside whom.

Arrays have one row per superpixel. Colours are CIE Lab, places shares of width and
height.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Indices = NDArray[np.intp]

COUNT = 350
FOCUS_SIDE_PX = 640
NOISE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """`labels` (H, W) says which superpixel a pixel belongs to. `areas` sum to 1.
    `focus` is the logarithm of the finest detail's energy, `texture` of the coarser's.
    `apart` (N, N) is the distance of the colours, CIE76 delta E. The borders are the
    indices of the superpixels along them."""

    labels: Labels
    areas: Floats
    colours: Floats
    places: Floats
    focus: Floats
    texture: Floats
    neighbours: NDArray[np.bool_]
    apart: Floats
    top: Indices
    left: Indices
    right: Indices
    bottom: Indices

    @property
    def sides(self) -> Indices:
        """The borders but the bottom one, which cuts people and animals off."""
        return np.unique(np.concatenate([self.top, self.left, self.right]))

    def mean_of(self, plane: NDArray[np.generic]) -> Floats:
        """The mean of a plane (H, W) over each superpixel."""
        return _means(self.labels, [plane])[0][:, 0]


def find(lab: Floats, focus: Floats, *, about: int = COUNT) -> Pieces:
    """About so many superpixels of a picture in CIE Lab, float32 (H, W, 3)."""
    labels, count = _superpixels(lab, about)
    height, width = labels.shape
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [*np.moveaxis(lab, 2, 0), columns / width, rows / height]
    means, sizes = _means(labels, [*planes, focus, _texture(lab)])
    colours = means[:, :3]
    return Pieces(
        labels=labels,
        areas=(sizes / sizes.sum()).astype(np.float32),
        colours=colours,
        places=means[:, 3:5],
        focus=means[:, 5],
        texture=means[:, 6],
        neighbours=_neighbours(labels, count),
        apart=distances(colours),
        top=np.unique(labels[0]),
        left=np.unique(labels[:, 0]),
        right=np.unique(labels[:, -1]),
        bottom=np.unique(labels[-1]),
    )


def focus_of(rgb: Pixels, shape: tuple[int, ...]) -> Floats:
    """How sharp each place of a picture is, at a smaller `shape`: a subject is mostly
    in focus. Measured at one size, so that the photo's own size does not count."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = (grey - cv2.GaussianBlur(grey, (0, 0), 1.2)) ** 2
    size = shape[1], shape[0]
    energy = cv2.resize(detail, size, interpolation=cv2.INTER_AREA)
    return np.log(cv2.GaussianBlur(energy, (0, 0), 3) + NOISE).astype(np.float32)


def distances(some: Floats) -> Floats:
    """The distance of every row to every row."""
    apart = np.linalg.norm(some[:, None] - some[None], axis=2)
    return apart.astype(np.float32)


def _texture(lab: Floats) -> Floats:
    rough = (lab - cv2.GaussianBlur(lab, (0, 0), 2)) ** 2
    energy = cv2.GaussianBlur(rough, (0, 0), 4).sum(axis=2)
    return np.log1p(np.sqrt(energy)).astype(np.float32)


def _superpixels(lab: Floats, about: int) -> tuple[Labels, int]:
    side = max(4, round((lab.shape[0] * lab.shape[1] / about) ** 0.5))
    slic = cv2.ximgproc.createSuperpixelSLIC(lab, cv2.ximgproc.SLICO, side)
    slic.iterate(6)
    slic.enforceLabelConnectivity(20)
    return slic.getLabels(), slic.getNumberOfSuperpixels()


def _means(labels: Labels, planes: list[NDArray[np.generic]]) -> tuple[Floats, Floats]:
    flat = labels.ravel()
    sizes = np.bincount(flat)
    sums = [np.bincount(flat, plane.ravel()) for plane in planes]
    means = np.stack(sums, axis=1) / np.maximum(sizes, 1)[:, None]
    return means.astype(np.float32), sizes.astype(np.float32)


def _neighbours(labels: Labels, count: int) -> NDArray[np.bool_]:
    touch = np.zeros((count, count), np.bool_)
    touch[labels[:, :-1], labels[:, 1:]] = True
    touch[labels[:-1], labels[1:]] = True
    touch |= touch.T
    np.fill_diagonal(touch, val=False)
    return touch
