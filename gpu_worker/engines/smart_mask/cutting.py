"""The object in one region of the image, by several beliefs that vote.

Their mean says what is sure and what is open; GrabCut (Rother, SIGGRAPH 2004) decides
what is open, pixel by pixel. How far the beliefs and the cut agree is the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from itertools import combinations

import cv2
import numpy as np

from gpu_worker.engines.smart_mask import belief, evidence, pieces
from gpu_worker.engines.smart_mask.belief import MANNERS, Manner, Seeds
from gpu_worker.engines.smart_mask.pieces import Floats, Indices
from gpu_worker.engines.smart_mask.prompts import Box, Mask, Point, Prompt, holds
from gpu_worker.engines.smart_mask.source import Source, work_size
from gpu_worker.pixels import Pixels

# A box is seen with so much around it, in shares of its sides.
AROUND = 0.35
# A point is sure within this share of the longer side.
DISC = 0.012
ROUNDS = 2
GRAIN = 2
OPEN_FROM, OPEN_TO = 0.15, 0.85
LEAST_PART = 0.2
LEAST_HOLE = 0.005
MOST_LOSS = 0.15
SLIT = np.ones((3, 3), np.uint8)

# What the image's borders cost as the object's end: objects are cut by them, and most
# by the lower one.
BORDER, LOWER_BORDER = 6.0, 12.0
# Nearer the middle of a box is likelier: log odds from there to its outline.
BOX_ODDS, BOX_SLOPE = 0.6, 3.0

# Who points once into the image's subject mostly means it: log odds for what is as
# salient as the place that was pointed at. Who points again has been misunderstood.
SALIENT_ODDS, MOST_SALIENT = 1.0, 2.5
CLEARLY = 1.5

# A guiding mask this compact and large is paint, on the object or over it; else it is
# strokes that lie within the object.
PAINTED_DEPTH, PAINTED_SHARE = 0.2, 0.01
# A painted object may reach beyond the paint, in shares of its size.
PAINT_REACH = 0.06
PAINT_ODDS = 1.0


class Guide(Enum):
    """What a guiding mask is taken for."""

    NONE = auto()
    STROKES = auto()
    """Lies within the object."""
    WHOLE = auto()
    """Is the object, roughly: it does not reach much beyond the paint."""
    PART = auto()
    """Its inner half is on the object, which may reach anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """`mask` is True on the object, for the region `place` (x_min, y_min, x_max,
    y_max) of the source's middle size. `score` is 0 to 1."""

    place: tuple[int, int, int, int]
    mask: Mask
    score: float


def cut(source: Source, prompt: Prompt, box: Box | None) -> Cut:
    """The object of a prompt, in a box or anywhere."""
    guide = prompt.guide
    if guide is None:
        return _cut(source, prompt, box, Guide.NONE)
    if not is_painted(guide):
        return _cut(source, prompt, box, Guide.STROKES)
    # Seen in both ways, unless the first leaves nothing open.
    whole = _cut(source, prompt, box or _box_of(guide, source.size_px), Guide.WHOLE)
    paint = evidence.Paint(work_size(source.rgb), guide, _of_image(source, whole))
    if paint.is_the_object():
        return whole
    part = _cut(source, prompt, box, Guide.PART)
    return part if paint.is_part_of(_of_image(source, part)) else whole


def _cut(source: Source, prompt: Prompt, box: Box | None, guide: Guide) -> Cut:
    view = _View(source, prompt, box, guide)
    beliefs = [belief.of(view.pieces, view.seeds(), one) for one in MANNERS]
    guesses = [(one > 0.5)[view.pieces.labels] for one in beliefs]
    voted = np.mean(beliefs, axis=0)[view.pieces.labels]
    mask = _cleaned(_grabcut(view, voted), view)
    whole = _cleaned(voted > 0.5, view)
    if box and _fills(mask, view.inside) < _fills(whole, view.inside) - MOST_LOSS:
        mask = whole
    score = np.mean([overlap(a, b) for a, b in combinations([*guesses, mask], 2)])
    return Cut(place=view.place, mask=mask, score=float(score))


def _fills(mask: Mask, inside: Mask) -> float:
    """How near the mask comes to the sides of its box, 0 to 1: who draws a box draws it
    around the whole object (Lempitsky, ICCV 2009)."""
    mask = mask & inside
    if not mask.any():
        return 0.0
    shares = []
    for axis in (0, 1):
        used, wanted = (np.flatnonzero(one.any(axis=axis)) for one in (mask, inside))
        shares.append((used[-1] - used[0] + 1) / (wanted[-1] - wanted[0] + 1))
    return float(shares[0] * shares[1])


class _View:
    """The region that is looked at, and the prompt in its pixels."""

    def __init__(
        self, source: Source, prompt: Prompt, box: Box | None, taken: Guide
    ) -> None:
        self._source, self._box, self._taken = source, box, taken
        self.place = _region(source, box)
        left, top, right, bottom = self.place
        self.pieces = (
            pieces.of(work_size(source.rgb[top:bottom, left:right]))
            if box
            else source.pieces
        )
        self.shape = self.pieces.labels.shape
        self._points = [one for one in prompt.points if self._is_seen(one)]
        self.guide = self._guide(prompt.guide)
        self.inside = self._inside()
        self.on_object = self._discs(on_object=True)
        self.beside = self._discs(on_object=False) | ~self.inside

    def at(self, x: float, y: float) -> tuple[int, int]:
        """A place of the image as (x, y) here, not beyond the borders."""
        left, top, right, bottom = self.place
        height, width = self.shape
        across = (x * self._source.scale[0] - left) / (right - left) * width
        down = (y * self._source.scale[1] - top) / (bottom - top) * height
        return (
            int(np.clip(across, 0, width - 1)),
            int(np.clip(down, 0, height - 1)),
        )

    def places(self, *, on_object: bool) -> list[tuple[int, int]]:
        """Where the points of a kind are."""
        return [
            self.at(one.x, one.y) for one in self._points if one.on_object is on_object
        ]

    def nearer_beside(self) -> Mask:
        """What is nearer to a point beside the object than to one on it. There colours
        alone must not decide: the point was set because they are alike."""
        on_object, beside = self._at(on_object=True), self._at(on_object=False)
        if len(beside) == 0:
            return np.zeros(self.shape, np.bool_)
        near = self._distance(beside) < self._distance(on_object)
        return near[self.pieces.labels]

    def _distance(self, start: Indices) -> Floats:
        begin = np.full(self.pieces.count, np.inf, np.float32)
        begin[start] = 0
        return self.pieces.distance(begin, step=Manner().step)

    def seeds(self) -> Seeds:
        on_object, beside = self._at(on_object=True), self._at(on_object=False)
        if self.guide is not None:
            on_object = np.union1d(on_object, self._core())
        outside = np.flatnonzero(self.pieces.share(self.inside) < 0.5)
        beside = np.union1d(beside, outside)
        return Seeds(
            on_object=np.setdiff1d(on_object, beside),
            beside=beside,
            ends=self._ends(),
            odds=self._odds(),
            within=not self.inside.all(),
        )

    def _is_seen(self, point: Point) -> bool:
        if self._box is None or not point.on_object:
            return True
        return holds(self._box, point.x, point.y)

    def _inside(self) -> Mask:
        """The box; everything where there is none."""
        inside = np.ones(self.shape, np.bool_)
        if self._box is not None:
            inside[:] = False
            left, top = self.at(*self._box[:2])
            right, bottom = self.at(*self._box[2:])
            inside[top : bottom + 1, left : right + 1] = True
        if self._taken is Guide.WHOLE and self.guide is not None:
            reach = PAINT_REACH * float(self.guide.sum()) ** 0.5
            inside &= _depth(~self.guide) <= reach
        return inside

    def _core(self) -> Indices:
        """Superpixels of the guiding mask that are the object for certain: the inner
        half of what is painted, all along a stroke."""
        assert self.guide is not None
        strokes = self._taken is Guide.STROKES
        share = self.pieces.share(self.guide if strokes else core(self.guide))
        least = 0.3 if strokes else 0.5
        if self._taken is not Guide.WHOLE:
            # A thin stroke, or a blob in a large image, may cover none by much.
            least = min(least, float(share.max()) / 2)
        return np.flatnonzero((share >= least) & (share > 0))

    def _guide(self, guide: Mask | None) -> Mask | None:
        if guide is None:
            return None
        scale = guide.shape[1] / self._source.rgb.shape[1]
        left, top, right, bottom = (round(one * scale) for one in self.place)
        part = guide[top : max(bottom, top + 1), left : max(right, left + 1)]
        size = self.shape[1], self.shape[0]
        small = cv2.resize(
            part.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA
        )
        # A stroke may be thinner than a pixel here.
        return small > min(127, int(small.max()) // 2)

    def _discs(self, *, on_object: bool) -> Mask:
        discs = np.zeros(self.shape, np.uint8)
        radius = max(1, round(DISC * max(self.shape)))
        for place in self.places(on_object=on_object):
            cv2.circle(discs, place, radius, 1, -1)
        return discs > 0

    def _at(self, *, on_object: bool) -> Indices:
        places = self.places(on_object=on_object)
        return np.unique([self.pieces.at(*one) for one in places]).astype(np.intp)

    def _ends(self) -> Floats:
        """Around a box the object has ended; else at the image's borders, perhaps."""
        ends = np.full(self.pieces.count, np.inf, np.float32)
        if not self.inside.all():
            return ends
        labels = self.pieces.labels
        ends[labels[-1]] = LOWER_BORDER
        for border in (labels[0], labels[:, 0], labels[:, -1]):
            ends[border] = BORDER
        return ends

    def _odds(self) -> Floats:
        odds = np.zeros(self.pieces.count, np.float32)
        if self._taken is Guide.WHOLE and self.guide is not None:
            return PAINT_ODDS * (2 * self.pieces.share(self.guide) - 1)
        if self._box is not None:
            odds += BOX_ODDS * BOX_SLOPE * (1 - self._from_middle())
        elif self.guide is None and len(self._points) == 1:
            odds += self._as_salient()
        if self._taken is Guide.PART and self.guide is not None:
            odds += PAINT_ODDS * self.pieces.share(self.guide)
        return odds

    def _as_salient(self) -> Floats:
        """The image's subject is likely where it was pointed at, and unlikely where
        something else was."""
        size = self.shape[1], self.shape[0]
        likely = self.pieces.share(cv2.resize(self._source.salient, size))
        seen = likely[self._at(on_object=True)]
        pointed = float(np.clip(CLEARLY * (2 * seen.mean() - 1), -1, 1))
        odds = np.log((likely + 0.02) / (1.02 - likely)).clip(
            -MOST_SALIENT, MOST_SALIENT
        )
        if pointed < 0:  # beside the subject there may be anything
            odds = np.maximum(odds, 0)
        return (SALIENT_ODDS * pointed * odds).astype(np.float32)

    def _from_middle(self) -> Floats:
        """0 in the middle of the box, 1 on the ellipse that fills it."""
        rows, columns = np.nonzero(self.inside)
        longer = max(self.shape)
        low = np.array([columns.min(), rows.min()]) / longer
        high = np.array([columns.max() + 1, rows.max() + 1]) / longer
        half = (high - low) / 2
        return np.linalg.norm((self.pieces.places - low - half) / half, axis=1)


def _region(source: Source, box: Box | None) -> tuple[int, int, int, int]:
    """What is looked at, in pixels of the middle size."""
    height, width = source.rgb.shape[:2]
    if box is None:
        return 0, 0, width, height
    across, down = source.scale
    left, top, right, bottom = (
        box[0] * across, box[1] * down, box[2] * across, box[3] * down,
    )  # fmt: skip
    more_x, more_y = AROUND * (right - left), AROUND * (bottom - top)
    left, top = int(max(0, left - more_x)), int(max(0, top - more_y))
    right = int(min(width, np.ceil(right + more_x)))
    bottom = int(min(height, np.ceil(bottom + more_y)))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def is_painted(guide: Mask) -> bool:
    """Whether a guiding mask is a surface, rather than strokes."""
    compact = _depth(guide).max() / float(guide.sum()) ** 0.5
    return bool(compact >= PAINTED_DEPTH and guide.mean() >= PAINTED_SHARE)


def _of_image(source: Source, cut: Cut) -> Mask:
    """The cut's mask for the whole image, at the size that is worked on."""
    left, top, right, bottom = cut.place
    whole = np.zeros(source.rgb.shape[:2], np.uint8)
    size = right - left, bottom - top
    whole[top:bottom, left:right] = cv2.resize(
        cut.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST
    )
    return whole > 0


def _box_of(guide: Mask, size: tuple[int, int]) -> Box:
    """The box, in pixels of the image, in which a painted object lies."""
    reach = PAINT_REACH * float(guide.sum()) ** 0.5
    scale = size[0] / guide.shape[1], size[1] / guide.shape[0]
    rows, columns = np.flatnonzero(guide.any(axis=1)), np.flatnonzero(guide.any(axis=0))
    return (
        max(0.0, (columns[0] - reach) * scale[0]),
        max(0.0, (rows[0] - reach) * scale[1]),
        min(float(size[0]), (columns[-1] + 1 + reach) * scale[0]),
        min(float(size[1]), (rows[-1] + 1 + reach) * scale[1]),
    )


def core(guide: Mask) -> Mask:
    """The inner half of a mask, which is the object even if its outline is rough."""
    depth = _depth(guide)
    return depth > 0.5 * depth.max()


def _depth(mask: Mask) -> Floats:
    """How far inside a mask each pixel is; the image's border is no outline."""
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)


def _grabcut(view: _View, voted: Floats) -> Mask:
    guess = np.where(voted > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    guess[voted >= OPEN_TO] = cv2.GC_FGD
    guess[voted <= OPEN_FROM] = cv2.GC_BGD
    guess[(voted < 0.5) & view.nearer_beside()] = cv2.GC_BGD
    guess[view.beside] = cv2.GC_BGD
    guess[view.on_object] = cv2.GC_FGD
    likely = (guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)
    if not likely.any():
        # Nothing is likely: then the likeliest, rather than nothing at all.
        return view.inside & (voted >= 0.9 * voted[view.inside].max())
    if likely.all():
        return likely
    labels, models = guess.copy(), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(1)
    rgb = _grainy(view.pieces.rgb)
    cv2.grabCut(rgb, labels, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)


def _grainy(rgb: Pixels) -> Pixels:
    """The picture with a grain that nobody sees. OpenCV 5.0's cut can run for ever
    where all pixels are of one colour: then all cuts are equally good."""
    grain = np.random.default_rng(1).integers(-GRAIN, GRAIN + 1, rgb.shape)
    return np.clip(rgb + grain, 0, 255).astype(np.uint8)


def _cleaned(mask: Mask, view: _View) -> Mask:
    """The parts that were pointed at, else those that are not small beside the
    largest; without slits and tiny holes."""
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, SLIT)
    mask = (closed > 0) & ~view.beside
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count < 2:
        return mask
    pointed = {int(parts[y, x]) for x, y in view.places(on_object=True)} - {0}
    if view.guide is not None:
        pointed |= set(np.unique(parts[core(view.guide)]).tolist()) - {0}
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    kept = areas >= LEAST_PART * areas.max()
    if pointed:
        kept = np.isin(np.arange(count), list(pointed))
    kept[0] = False
    mask = kept[parts]
    _, holes, stats, _ = cv2.connectedComponentsWithStats(
        (~mask).astype(np.uint8), connectivity=4
    )
    tiny = stats[:, cv2.CC_STAT_AREA] < LEAST_HOLE * mask.sum()
    tiny[np.unique(holes[view.beside])] = False
    return mask | tiny[holes]


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
