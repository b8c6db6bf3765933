"""A ground as product shots have it: one colour, on which the light may fall off.

Its colours are a smooth surface over the picture, a polynomial in CIE Lab: one of
second degree is fitted to the frame, then one of higher degree to all that is connected
to the border and lies on it, until the surface follows the light up to the subject.
What is off it is the subject, but for its shadow. Whether that can be relied on shows
in how little it changes with the limit of what is off.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout import certainty, masks
from gpu_worker.engines.cutout.masks import SQUARE, Mask
from gpu_worker.engines.cutout.pieces import Floats

Pixels = NDArray[np.uint8]
Doubles = NDArray[np.float64]

FRAME_SHARE = 0.02
# Of the frame a tenth may be farther off the surface than this. Backgrounds of everyday
# photos, also those out of focus, are farther.
MOST_OFF = 3.5
DEGREES = (2, 3, 4)
# The residual that a robust fit takes for usual at least.
USUAL = 1.5
RIDGE = 1e-4
ROUNDS = 8
FIT_PIXELS = 6000
# Off the surface: so many times what the frame is, within these limits.
OFF = 1.5
OFF_LIMITS = (3.0, 5.0)
# A mask that is sure is much the same with either of these limits.
STRICT, LOOSE = 0.6, 1.8
LEAST_ALIKE = 0.8
# The outline of a thing is sharp, that of its shadow or of light is not: of the mask's
# outline at most this share may change more slowly than this, delta E per pixel ...
MOST_SOFT, SOFT = 0.15, 2.0
# ... and what was taken for shadow may have a sharp outline, of at most this share of
# the mask's: with more it is a thing as dark as a shadow.
MOST_SHARP, SHARP = 0.2, 2.5
# A subject that spans the bottom from side to side is a table.
MOST_BOTTOM = 0.95

AROUND = np.ones((5, 5), np.uint8)

SHADOW_OFF = 5.0
# A shadow changes slowly, unless its colour tells it from a grey thing.
SHADOW_SLOPE, SHADOW_SLOPE_OF_COLOUR = 3.0, 2.0
COLOURED = 20.0
DARKEST_SHADOW = 0.35
LEAST_UNSHADED = 0.3

# Things that lie apart on such a ground are there, however small.
LEAST_PART = 0.02
# A hole shows the ground where it fits closely; not on white or black, which are also
# the colours of paper and print.
HOLE_OFF, SEEN_THROUGH_OFF = 1.2, 2.5
LEAST_HOLE = 0.001
HOLE_LIGHTNESS = (4.0, 97.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """What is not the ground, and how little that depends on the limit, 0 to 1."""

    mask: Mask
    alike: float


def find(rgb: Pixels, lab: Floats) -> Cutout | None:
    """The subject of a small picture on such a ground; none if it has no such ground
    or one from which the subject does not stand out."""
    smooth = cv2.GaussianBlur(lab, (0, 0), 1)
    frame = _frame(lab.shape)
    colours = _surface(smooth, frame, DEGREES[0])
    off = float(np.quantile(_apart(smooth, colours)[frame], 0.9))
    if off > MOST_OFF:
        return None
    limit = float(np.clip(OFF * off, *OFF_LIMITS))
    for degree in DEGREES:
        ground = masks.from_border(_apart(smooth, colours) < limit)
        colours = _surface(smooth, ground, degree, start=colours)
    shadow = _shadow(rgb, lab, colours)
    strict, mask, loose = (
        _flooded(lab, smooth, colours, shadow, factor * limit)
        for factor in (STRICT, 1, LOOSE)
    )
    if not strict.any():
        return Cutout(mask=strict, alike=0.0)
    alike = certainty.overlap(strict, loose)
    if alike < LEAST_ALIKE or mask[-1].mean() > MOST_BOTTOM:
        return None
    near = _apart(smooth, colours) < limit
    if not _is_thing(mask, masks.from_border(near), smooth):
        return None
    return Cutout(mask=mask, alike=alike)


def _frame(shape: tuple[int, ...]) -> Mask:
    """Along all borders but the bottom one, where subjects are cut off."""
    height, width = shape[:2]
    edge = max(1, round(FRAME_SHARE * max(height, width)))
    frame = np.ones((height, width), np.bool_)
    frame[edge:, edge:-edge] = False
    return frame


def _apart(lab: Floats, colours: Floats) -> Floats:
    """Each pixel's distance from the surface, CIE76 delta E."""
    return np.linalg.norm(lab - colours, axis=2).astype(np.float32)


def _surface(
    lab: Floats, where: Mask, degree: int, *, start: Floats | None = None
) -> Floats:
    """The polynomial nearest to most of the colours there, over the whole picture: what
    is far off, as a subject across the frame, counts little (Geman and McClure)."""
    terms = _terms(lab.shape, degree)
    rows, columns = np.nonzero(where)
    some = np.linspace(0, len(rows) - 1, min(len(rows), FIT_PIXELS)).astype(np.intp)
    at = rows[some], columns[some]
    known, wanted = terms[at].astype(np.float64), lab[at].astype(np.float64)
    begin = np.median(wanted, axis=0) if start is None else start[at]
    found = _fitted(known, wanted, np.linalg.norm(wanted - begin, axis=1))
    return terms @ found.astype(np.float32)


def _fitted(known: Doubles, wanted: Doubles, off: Doubles) -> Doubles:
    """Least squares, weighted again and again by how far off each is."""
    ridge = RIDGE * len(known) * np.eye(known.shape[1])
    ridge[0, 0] = 0
    for _ in range(ROUNDS):
        usual = max(USUAL, OFF * float(np.median(off)))
        weights = 1 / (1 + (off / usual) ** 2) ** 2
        weighted = known.T * weights
        found: Doubles = np.linalg.solve(
            weighted @ known + ridge * weights.mean(), weighted @ wanted
        )
        off = np.linalg.norm(wanted - known @ found, axis=1)
    return found


def _terms(shape: tuple[int, ...], degree: int) -> Floats:
    """The terms of a polynomial at every pixel, the constant first: (H, W, terms)."""
    height, width = shape[:2]
    y = ((np.arange(height, dtype=np.float32) + 0.5) * (2 / height) - 1)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) * (2 / width) - 1)[None]
    powers = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.stack([x**i * y**j for i, j in powers], axis=2).astype(np.float32)


def _flooded(
    lab: Floats, smooth: Floats, colours: Floats, shadow: Mask, limit: float
) -> Mask:
    """Everything but what lies on the surface, or is the subject's shadow, and is
    connected to the border; and but what is seen through holes."""
    off, off_smooth = _apart(lab, colours), _apart(smooth, colours)
    ground = masks.from_border(np.minimum(off, off_smooth) < limit)
    # Thick parts only: a thin leak into the subject is closed by it.
    thick = cv2.erode(shadow.astype(np.uint8), SQUARE) > 0
    shaded = masks.grown(masks.from_border(ground | thick)) & (ground | shadow)
    # A subject that fades into the ground would go with its shadow.
    if (~shaded).sum() > LEAST_UNSHADED * (~ground).sum():
        ground = _without_rims(shaded, shaded & ~ground)
    every = np.ones(ground.shape, np.float32)
    mask = masks.cleaned(~ground, every, least=LEAST_PART)
    mask = _without_mixed(mask, off)
    return _without_holes(mask, off_smooth, colours[..., 0])


def _without_rims(ground: Mask, shaded: Mask) -> Mask:
    """The ground with the thin rims that a shadow's steep edge leaves."""
    opened = cv2.morphologyEx((~ground).astype(np.uint8), cv2.MORPH_OPEN, SQUARE) > 0
    return ground | (~opened & masks.grown(masks.grown(shaded)))


def _without_mixed(mask: Mask, off: Floats) -> Mask:
    """The mask without pixels of its outline that are ground for the larger part: less
    than half as far off the surface as what is inside near them."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8))
    weights = inner.astype(np.float32)
    near = cv2.boxFilter(weights, -1, (9, 9)) + 1e-4
    within = cv2.boxFilter(off * weights, -1, (9, 9)) / near
    outline = mask & ~masks.shrunk(mask) & (near > 0.05)
    return mask & ~(outline & (off < within / 2))


def _without_holes(mask: Mask, off: Floats, lightness: Floats) -> Mask:
    within = (mask & (off < HOLE_OFF)).astype(np.uint8)
    opened = cv2.morphologyEx(within, cv2.MORPH_OPEN, SQUARE)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    areas = stats[:, cv2.CC_STAT_AREA]
    light = np.bincount(parts.ravel(), lightness.ravel(), count) / np.maximum(areas, 1)
    darkest, lightest = HOLE_LIGHTNESS
    holes = (areas > LEAST_HOLE * mask.size) & (light > darkest) & (light < lightest)
    holes[0] = False
    return mask & ~(masks.grown(holes[parts]) & (off < SEEN_THROUGH_OFF))


def _shadow(rgb: Pixels, lab: Floats, colours: Floats) -> Mask:
    """What has the surface's colour in less light, and changes slowly."""
    lit = np.clip(cv2.cvtColor(colours, cv2.COLOR_Lab2RGB), 1e-3, 1)
    seen = cv2.GaussianBlur(rgb.astype(np.float32) / 255, (0, 0), 0.8)
    share = np.clip((seen * lit).sum(axis=2) / (lit * lit).sum(axis=2), 0, 1.2)
    unlit = cv2.cvtColor(lit * share[..., None], cv2.COLOR_RGB2Lab)
    off = _apart(cv2.cvtColor(seen, cv2.COLOR_RGB2Lab), unlit)
    light, usual = cv2.GaussianBlur(lab[..., 0], (0, 0), 1), colours[..., 0]
    across = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    coloured = np.minimum(np.hypot(colours[..., 1], colours[..., 2]) / COLOURED, 1)
    slow = np.hypot(*across) / 8 < SHADOW_SLOPE + SHADOW_SLOPE_OF_COLOUR * coloured
    darker = (light < usual + 2) & (light > DARKEST_SHADOW * usual)
    return (off < SHADOW_OFF) & slow & darker


def _is_thing(mask: Mask, ground: Mask, smooth: Floats) -> bool:
    """Whether the outlines are those of a thing and of its shadow: `ground` is all that
    lies on the surface, without the shadow."""
    change = _change(smooth)
    outline = mask & ~masks.shrunk(mask)
    soft = np.count_nonzero(cv2.dilate(change, AROUND)[outline] < SOFT)
    apart = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    rim = masks.grown(ground) & ~ground & apart
    beside = np.where(apart, change, 0).astype(np.float32)
    sharp = np.count_nonzero(cv2.dilate(beside, AROUND)[rim] > SHARP)
    length = np.count_nonzero(outline)
    return bool(soft <= MOST_SOFT * length and sharp <= MOST_SHARP * length)


def _change(smooth: Floats) -> Floats:
    """How fast the colour changes, delta E per pixel."""
    across = [cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx) / 8 for dx in (0, 1)]
    return np.linalg.norm(np.dstack(across), axis=2).astype(np.float32)
