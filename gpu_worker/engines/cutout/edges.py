"""A small mask as an alpha at full size, and colours free of the background.

Only a narrow band along the mask's edge is worked on, pixel by pixel at full size: the
colours of subject and background near by are smooth, so they are estimated at a middle
size. A pixel's alpha is its place on the line between the two colours, as far as they
can be told apart there; the rest is the smoothed edge of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout.pieces import Floats
from gpu_worker.engines.cutout.subject import Mask, Pixels, shrink
from gpu_worker.engines.edge_colours import depth_of, sides

MIDDLE_SIDE_PX = 1024
BAND = 0.0055
LEAST_BAND_PX = 4
NEAR = 2.0
NOISE = 15.0
VARIANCE_WEIGHT = 6.0
STRETCH = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The edge at the middle size: float32 maps, colours 0 to 255.

    `depth` is -1 at the band's outer limit and less beyond, 0 on the mask's edge, 1 at
    the inner limit and more beyond. `trust` says how far subject and background can be
    told apart by colour.
    """

    prior: Floats
    depth: Floats
    subject: Floats
    background: Floats
    trust: Floats


def cut_out(rgb: Pixels, mask: Mask) -> Pixels:
    """RGBA (H, W, 4) of a picture and a mask of any smaller size.

    Alpha is 255 inside, 0 outside and soft only along the edge.
    """
    edge = _edge(rgb, mask)
    size = rgb.shape[1], rgb.shape[0]
    inside = (edge.depth > 0).astype(np.uint8) * 255
    rgba = cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA)
    rgba[..., 3] = cv2.resize(inside, size, interpolation=cv2.INTER_NEAREST)
    band = (np.abs(edge.depth) < 1).astype(np.uint8)
    rows, columns = np.nonzero(cv2.resize(band, size, interpolation=cv2.INTER_NEAREST))
    if len(rows):
        rgba[rows, columns] = _band_pixels(rgb, edge, rows, columns)
    return rgba


def _edge(rgb: Pixels, mask: Mask) -> Edge:
    middle = shrink(rgb, MIDDLE_SIDE_PX).astype(np.float32)
    size = middle.shape[1], middle.shape[0]
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.8)
    prior = np.clip(cv2.resize(soft, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    width = max(LEAST_BAND_PX, round(BAND * max(size)))
    depth = depth_of(prior > 0.5) / width
    near = sides(middle, prior, depth, round(NEAR * width))
    apart = ((near.subject - near.background) ** 2).sum(axis=2)
    spread = VARIANCE_WEIGHT * (near.subject_spread + near.background_spread) + NOISE**2
    return Edge(
        prior=prior,
        depth=depth,
        subject=near.subject,
        background=near.background,
        trust=apart / (apart + spread),
    )


def _band_pixels(
    rgb: Pixels, edge: Edge, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> Pixels:
    """RGBA, (N, 4), of the pixels at these places of the full-size picture."""
    places = _Places(rgb.shape, edge.prior.shape, rows, columns)
    seen = rgb[rows, columns].astype(np.float32)
    subject, background = places.of(edge.subject), places.of(edge.background)
    line = subject - background
    length = np.maximum((line**2).sum(axis=1), 1)
    by_colour = np.clip(((seen - background) * line).sum(axis=1) / length, 0, 1)
    trust, prior = places.of(edge.trust), places.of(edge.prior)
    alpha = trust * by_colour + (1 - trust) * prior
    alpha = (alpha - STRETCH) / (1 - 2 * STRETCH)
    # Fades to what lies beyond the band, so that the band's limits cannot be seen.
    depth = 2 * places.of(edge.depth)
    alpha = np.clip(alpha, np.clip(depth - 1, 0, 1), np.clip(depth + 2, 0, 1))[:, None]
    rest = seen - alpha * subject - (1 - alpha) * background
    # Squared, because a soft pixel's own colour is still mostly background.
    colours = np.clip(subject + alpha**2 * rest, 0, 255)
    return np.hstack([colours, alpha * 255]).round().astype(np.uint8)


class _Places:
    """Places of the full-size picture, looked up in maps of the middle size."""

    ROW = 1024

    def __init__(
        self,
        full: tuple[int, ...],
        middle: tuple[int, ...],
        rows: NDArray[np.intp],
        columns: NDArray[np.intp],
    ) -> None:
        self.count = len(rows)
        self.x = self._scaled(columns, middle[1] / full[1])
        self.y = self._scaled(rows, middle[0] / full[0])

    def of(self, values: Floats) -> Floats:
        found = cv2.remap(
            values, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        shape = (-1, *found.shape[2:])
        return found.reshape(shape)[: self.count]

    def _scaled(self, places: NDArray[np.intp], scale: float) -> Floats:
        """Pixel centres; in rows, because OpenCV takes no side above 32767."""
        scaled = (places + 0.5) * scale - 0.5
        padded = np.pad(scaled, (0, -len(scaled) % self.ROW))
        return padded.reshape(-1, self.ROW).astype(np.float32)
