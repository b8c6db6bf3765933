"""The mask with a soft edge, moved and blurred as was asked, at the size of the image.

The work is done at the source's middle size, in a box around the object. In a narrow
band along the mask's edge a pixel's opacity is its place between the colours of both
sides near by, as far as those can be told apart; else it is the smoothed mask's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_worker.engines.edge_colours import depth_of, sides
from gpu_worker.engines.smart_mask.cutting import Cut
from gpu_worker.engines.smart_mask.pieces import Floats
from gpu_worker.engines.smart_mask.source import Source
from gpu_worker.pixels import Pixels

# The band reaches so many pixels of the small mask to both sides, and at least so many
# of the middle size.
BAND = 1.6
LEAST_BAND_PX = 2.0
SMOOTH = 0.7
NEAR = 3.0
NOISE = 15.0
STRETCH = 0.08
MARGIN_PX = 8

# CONTRACTS of the replaced editor: its stronger softening.
LEAST_BLUR_PX = 4.0
BLUR = 0.0075


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is done to the outline, in pixels of the image: moved outwards by `grow_px`
    (negative: inwards), and blurred or not."""

    grow_px: int = 0
    blur: bool = False


def drawn(source: Source, cuts: list[Cut], change: Change) -> Pixels:
    """(H, W) of the image's size: 255 on the objects, 0 beside them."""
    whole = np.zeros(source.rgb.shape[:2], np.uint8)
    for cut in cuts:
        left, top, right, bottom = cut.place
        part = whole[top:bottom, left:right]
        np.maximum(part, _soft(source, cut), out=part)
    return changed(source, whole, change)


def changed(source: Source, whole: Pixels, change: Change) -> Pixels:
    """An opacity of the source's middle size, moved and blurred, at the image's."""
    if change.grow_px:
        whole = _moved(whole, change.grow_px * _scale(source))
    if change.blur:
        sigma = max(LEAST_BLUR_PX, BLUR * min(source.size_px)) * _scale(source)
        whole = cv2.GaussianBlur(whole, (0, 0), sigma)
    return _enlarged(whole, source.size_px)


def _scale(source: Source) -> float:
    return (source.scale[0] * source.scale[1]) ** 0.5


def _enlarged(mask: Pixels, size: tuple[int, int]) -> Pixels:
    if mask.shape == size[::-1]:
        return mask
    return cv2.resize(mask, size, interpolation=cv2.INTER_CUBIC)


def _soft(source: Source, cut: Cut) -> Pixels:
    """The cut's mask at its place in the middle size, with a soft edge."""
    left, top, right, bottom = cut.place
    small, size = cut.mask.astype(np.float32), (right - left, bottom - top)
    factor = max(size[0] / small.shape[1], size[1] / small.shape[0])
    smooth = cv2.GaussianBlur(small, (0, 0), SMOOTH)
    prior = np.clip(cv2.resize(smooth, size, interpolation=cv2.INTER_CUBIC), 0, 1)
    band = max(LEAST_BAND_PX, BAND * factor)
    rows, columns = _around(prior, round((NEAR + 2) * band) + MARGIN_PX)
    soft = np.zeros(prior.shape, np.uint8)
    if rows.stop > rows.start:
        rgb = source.rgb[top:bottom, left:right][rows, columns]
        soft[rows, columns] = _edge(rgb, prior[rows, columns], band)
    return soft


def _around(prior: Floats, margin: int) -> tuple[slice, slice]:
    """Rows and columns of all that is not empty, and a margin."""
    seen = prior > 0.01
    sides = []
    for axis in (1, 0):
        used = np.flatnonzero(seen.any(axis=axis))
        if len(used) == 0:
            return slice(0, 0), slice(0, 0)
        sides.append(slice(max(0, int(used[0]) - margin), int(used[-1]) + margin + 1))
    return sides[0], sides[1]


def _edge(rgb: Pixels, prior: Floats, band: float) -> Pixels:
    depth = depth_of(prior > 0.5) / band
    seen = rgb.astype(np.float32)
    near = sides(seen, prior, depth, round(NEAR * band))
    line = near.subject - near.background
    length = (line**2).sum(axis=2)
    place = ((seen - near.background) * line).sum(axis=2) / np.maximum(length, 1)
    spread = near.subject_spread + near.background_spread
    trust = length / (length + spread + NOISE**2)
    opacity = trust * np.clip(place, 0, 1) + (1 - trust) * prior
    opacity = (opacity - STRETCH) / (1 - 2 * STRETCH)
    # Fades to what lies beyond the band, so that the band's limits cannot be seen.
    low, high = np.clip(2 * depth - 1, 0, 1), np.clip(2 * depth + 2, 0, 1)
    return (np.clip(opacity, low, high) * 255).round().astype(np.uint8)


def _moved(mask: Pixels, by_px: float) -> Pixels:
    """The outline moved outwards by so many pixels of the mask, its edge as soft as
    one pixel. The image's borders are no outline."""
    on_object = mask > 127
    if not on_object.any() or on_object.all():
        return mask
    depth = depth_of(on_object)
    # From pixel centres to the outline between them, and by the edge's own softness.
    depth += np.where(on_object, -0.5, 0.5)
    return (np.clip(depth + by_px + 0.5, 0, 1) * 255).round().astype(np.uint8)
