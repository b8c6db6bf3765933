"""Which pixels are the subject: a mask at a small size, and how sure it is.

A ground of one colour, as product shots have, is flooded from the border (`backdrop`).
In any other picture cues speak for and against each superpixel (`cues`), GrabCut
follows their opinion in two ways, the cues are weighed again with both cuts in hand,
whole sets of superpixels vote (`proposals`), and of the outlines that follow from all
this one is chosen (`choice`).

Deterministic: OpenCV's random numbers are seeded for each GrabCut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout import (
    backdrop,
    boundaries,
    certainty,
    choice,
    cues,
    faces,
    fitted,
    masks,
    people,
    pieces,
    proposals,
)
from gpu_worker.engines.cutout.faces import Face
from gpu_worker.engines.cutout.fitted import Model
from gpu_worker.engines.cutout.pieces import Floats, Pieces
from gpu_worker.engines.cutout.proposals import Known
from gpu_worker.engines.cutout.search import Search

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Plane = TypeVar("Plane", Pixels, Floats)
Route = Literal["uniform", "cues"]

WORK_SIDE_PX = 280
# OpenCV's superpixels crash on pictures of a few rows or columns.
LEAST_SIDE_PX = 32

BAR_RANGE = 8
LEAST_INSIDE = 0.3
SMOOTH_PX = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """How GrabCut takes an opinion: surely background below `least`, surely subject
    above `most`, and in between the likelier of both by `middle`."""

    least: float
    middle: float
    most: float
    rounds: int


TRIALS = (
    Seeds(least=0.05, middle=0.40, most=0.95, rounds=3),
    Seeds(least=0.02, middle=0.25, most=0.90, rounds=2),
)
FINAL = Seeds(least=0.10, middle=0.50, most=0.80, rounds=2)
# Two more looks, in coarser pieces and in a mirror: what is right is found again.
COARSER = 200
MIRRORED = 250
MIRRORED_SCALE = 5 / 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`mask` is True on the subject, at the working size of the whole picture.

    `confidence` is 0 to 1; 0 when there is no subject at all.
    """

    mask: Mask
    confidence: float
    route: Route


def find(rgb: Pixels) -> Subject:
    """The subject of an RGB picture of any size."""
    small, lab, focus = prepared(rgb)
    if product := backdrop.find(small, lab):
        return Subject(mask=product.mask, confidence=product.alike, route="uniform")
    inside = without_bars(small)
    seen = faces.within(faces.find(rgb), inside, small.shape)
    found = search(small[inside], lab[inside], focus[inside], seen)
    whole = np.zeros(small.shape[:2], np.bool_)
    whole[inside] = found.mask
    sure = certainty.of(found, small[inside]) if found.mask.any() else 0.0
    return Subject(mask=whole, confidence=sure, route="cues")


def opinion(rgb: Pixels) -> Floats:
    """How likely each pixel of an RGB picture is its subject, 0 to 1, at a small size:
    what the picture and its faces say, before any cut."""
    _, lab, focus = prepared(rgb)
    parts = pieces.find(lab, focus)
    seen = faces.find(rgb)
    return spread(thought(cues.first(parts), parts, seen, fitted.models()), parts)


def prepared(rgb: Pixels) -> tuple[Pixels, Floats, Floats]:
    """The picture at the working size, the same in CIE Lab, and its focus there."""
    middle = shrink(rgb, pieces.FOCUS_SIDE_PX)
    small = _working_size(middle)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return small, lab, pieces.focus_of(middle, lab.shape)


def search(rgb: Pixels, lab: Floats, focus: Floats, seen: Sequence[Face]) -> Search:
    """The subject of a small picture in which these faces were seen."""
    rgb, lab = np.ascontiguousarray(rgb), np.ascontiguousarray(lab)
    focus = np.ascontiguousarray(focus)
    models = fitted.models()
    parts, coarse = looks(lab, focus)
    weighed = weigh(rgb, parts, seen, models)
    rough = thought(cues.first(coarse), coarse, seen, models)
    cuts = [
        *weighed.trials,
        weighed.mask,
        outlined(rgb, rough, coarse),
        *mirrored(rgb, lab, focus, seen, models),
    ]
    there = known(lab, parts, weighed, cuts, models)
    return concluded(rgb, weighed, there, cuts, models)


def thought(
    found: dict[str, Floats],
    parts: Pieces,
    seen: Sequence[Face],
    models: Mapping[str, Model],
) -> Floats:
    """The opinion on superpixels of their first cues and the faces."""
    opinion = fitted.likelihood(found, models["first"])
    if not seen:
        return opinion
    again = people.first(parts, seen, opinion)
    return fitted.likelihood(again, models["first with a face"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What the cues and the faces say of superpixels, alone and again with the trial
    cuts in hand, and the outline that follows."""

    faces: Sequence[Face]
    cues: dict[str, Floats]
    first: Floats
    second: Floats
    trials: list[Mask]
    mask: Mask


def weigh(
    rgb: Pixels, parts: Pieces, seen: Sequence[Face], models: Mapping[str, Model]
) -> Weighed:
    found = cues.first(parts)
    before = thought(found, parts, seen, models)
    trials = tried(rgb, before, parts)
    again = found | cues.second(parts, before, trials)
    opinion = fitted.likelihood(again, models["second"])
    if seen:
        person = people.second(parts, seen, opinion, before, trials)
        opinion = fitted.likelihood(person, models["second with a face"])
    return Weighed(
        faces=seen,
        cues=found,
        first=before,
        second=opinion,
        trials=trials,
        mask=outlined(rgb, opinion, parts),
    )


def known(
    lab: Floats,
    parts: Pieces,
    weighed: Weighed,
    cuts: list[Mask],
    models: Mapping[str, Model],
) -> Known:
    """What proposals are made of and judged by."""
    found = boundaries.find(lab, parts)
    return Known(
        pieces=parts,
        boundaries=found,
        parted=fitted.likelihood(found.cues, models["boundary"]),
        cues=weighed.cues,
        faces=weighed.faces,
        opinions=[weighed.second, weighed.first],
        cuts=[parts.mean_of(one) for one in cuts],
    )


def concluded(
    rgb: Pixels,
    weighed: Weighed,
    known: Known,
    cuts: list[Mask],
    models: Mapping[str, Model],
) -> Search:
    """The outline that is chosen, and what speaks for it."""
    ranked = proposals.ranked(known, models["proposal"])
    opinions = choice.opinions(known, ranked)
    found = [outlined(rgb, one, known.pieces) for one in opinions] + [weighed.mask]
    supports = [
        choice.support(known, ranked, known.pieces.mean_of(one)) for one in found
    ]
    best = choice.best(supports)
    return Search(
        likely=spread(opinions[0], known.pieces),
        mask=found[best],
        others=[*cuts, *found],
        support=min(supports[best]),
    )


def mirrored(
    rgb: Pixels,
    lab: Floats,
    focus: Floats,
    seen: Sequence[Face],
    models: Mapping[str, Model],
) -> list[Mask]:
    """The cuts of a second search, in the picture mirrored and smaller, laid back on
    the first."""
    parts = pieces.find(_mirror(lab), _mirror(focus), about=MIRRORED)
    there, size = _mirror(rgb), (rgb.shape[1], rgb.shape[0])
    weighed = weigh(there, parts, faces.mirrored(seen), models)
    cuts = [*weighed.trials, weighed.mask]
    return [cv2.resize(cut[:, ::-1].astype(np.float32), size) > 0.5 for cut in cuts]


def _mirror(plane: Plane) -> Plane:
    """The plane smaller, left and right exchanged."""
    height, width = (
        max(LEAST_SIDE_PX, round(MIRRORED_SCALE * side)) for side in plane.shape[:2]
    )
    small = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(small[:, ::-1])


def looks(lab: Floats, focus: Floats) -> tuple[Pieces, Pieces]:
    """The picture's superpixels, and coarser ones."""
    return pieces.find(lab, focus), pieces.find(lab, focus, about=COARSER)


def tried(rgb: Pixels, opinion: Floats, parts: Pieces) -> list[Mask]:
    """The trial cuts of a first opinion."""
    likely = spread(opinion, parts)
    return [cut(rgb, likely, seeds) for seeds in TRIALS]


def outlined(rgb: Pixels, opinion: Floats, parts: Pieces) -> Mask:
    """The mask of an opinion."""
    likely = spread(opinion, parts)
    return masks.cleaned(cut(rgb, likely, FINAL), likely)


def shrink(pixels: Pixels, side_px: int) -> Pixels:
    """The picture with its long side at most `side_px`, by averaging."""
    height, width = pixels.shape[:2]
    scale = side_px / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def spread(opinion: Floats, parts: Pieces) -> Floats:
    """An opinion on superpixels as a smooth map."""
    likely = opinion[parts.labels].astype(np.float32)
    return cv2.GaussianBlur(likely, (0, 0), SMOOTH_PX)


def cut(rgb: Pixels, likely: Floats, seeds: Seeds) -> Mask:
    """GrabCut from a map of likelihoods."""
    guess = np.full(likely.shape, cv2.GC_PR_BGD, np.uint8)
    guess[likely > seeds.middle] = cv2.GC_PR_FGD
    guess[likely > seeds.most] = cv2.GC_FGD
    guess[likely < seeds.least] = cv2.GC_BGD
    subject = likely > min(seeds.middle, seeds.most)
    if not subject.any() or subject.all():  # GrabCut needs pixels of both
        return subject
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    cv2.grabCut(rgb, guess, None, *models, seeds.rounds, cv2.GC_INIT_WITH_MASK)
    return (guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)


def _working_size(rgb: Pixels) -> Pixels:
    """Small enough to be quick, and no side too short; proportions may suffer."""
    small = shrink(rgb, WORK_SIDE_PX)
    size = max(LEAST_SIDE_PX, small.shape[1]), max(LEAST_SIDE_PX, small.shape[0])
    return cv2.resize(small, size, interpolation=cv2.INTER_NEAREST)


def without_bars(small: Pixels) -> tuple[slice, slice]:
    """The picture inside its letterbox: outer rows and columns of one colour."""
    rows = _inner(np.ptp(small, axis=1).max(axis=1) > BAR_RANGE)
    columns = _inner(np.ptp(small[rows], axis=0).max(axis=1) > BAR_RANGE)
    return rows, columns


def _inner(varied: Mask) -> slice:
    used, least = np.flatnonzero(varied), max(LEAST_INSIDE * len(varied), LEAST_SIDE_PX)
    if len(used) == 0 or used[-1] + 1 - used[0] < least:
        return slice(0, len(varied))
    return slice(int(used[0]), int(used[-1]) + 1)
