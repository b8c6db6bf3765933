"""Which sets of superpixels might be the whole subject, and which of them stands out.

Judged one by one, superpixels cannot say that a connected thing as a whole stands out.
So some thousand sets are proposed (after Carreira and Sminchisescu, CPMC, TPAMI 2012):
what random walks from a superpixel mostly reach before they leave the picture, what
single cues and the opinion hold from some value on, and its cuts. Cues of the whole set
rank them: how clear its outline is, how alike it is inside, how unlike what surrounds
it, its shape and place, the faces in it, and what the opinion says of it. So they vote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout import fitted, people
from gpu_worker.engines.cutout.boundaries import Boundaries
from gpu_worker.engines.cutout.faces import Face
from gpu_worker.engines.cutout.fitted import Model
from gpu_worker.engines.cutout.pieces import Floats, Pieces, distances

Mask = NDArray[np.bool_]
Sets = NDArray[np.bool_]

LEAST_AREA, MOST_AREA = 0.004, 0.9
# A walk crosses a boundary the less, the likelier an outline is there.
SHARPNESS = (1.5, 1.0)
LEAVING = (1.0, 3.0)
REACHED = ((0.12, 0.2, 0.3, 0.4, 0.5, 0.65), (0.15, 0.3, 0.5))
BOTTOM_SHARE = 0.2
LIKELY = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SHARES = (0.3, 0.45, 0.6, 0.7, 0.8, 0.9)
TELLING = {
    "to border": 1,
    "contrast to background": 1,
    "common at sides": -1,
    "steepest to border": 1,
    "to farther side": 1,
    "cut by borders": -1,
    "contrast": 1,
}
WEAK, STRONG = 0.06, 0.25
ALIKE_SIGMA = 7.0
RARE = 0.003


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a picture's superpixels: the likelihood of an outline on each
    boundary, the first cues, the faces, opinions, the one that counts first, and how
    much of each superpixel is in which cut; all but cues and faces 0 to 1."""

    pieces: Pieces
    boundaries: Boundaries
    parted: Floats
    cues: Mapping[str, Floats]
    faces: Sequence[Face]
    opinions: Sequence[Floats]
    cuts: Sequence[Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The proposals, one row each, and the logarithm of their odds."""

    sets: Sets
    odds: Floats

    def shares(self, *, softness: float = 1.0) -> Floats:
        """The share of each proposal in the vote; the softer, the more alike."""
        weights = np.exp((self.odds - self.odds.max()) / np.float32(softness))
        shares: Floats = weights / weights.sum()
        return shares


def ranked(known: Known, model: Model) -> Ranked:
    sets = made(known)
    if not len(sets):
        return Ranked(sets=sets, odds=np.zeros(0, np.float32))
    return Ranked(sets=sets, odds=fitted.odds(cues(known, sets), model))


def made(known: Known) -> Sets:
    """The proposals: one row each, one column per superpixel, none twice."""
    sets = np.concatenate([_walks(known), _levels(known)])
    areas = sets @ known.pieces.areas
    sets = sets[(areas > LEAST_AREA) & (areas < MOST_AREA)]
    packed = np.packbits(sets, axis=1)
    _, first = np.unique(packed, axis=0, return_index=True)
    return sets[np.sort(first)]


def cues(known: Known, sets: Sets) -> dict[str, Floats]:
    """What speaks for and against each proposal, by name."""
    found = _outline(known, sets) | _shape(known.pieces, sets)
    found |= _borders(known, sets) | _colours(known.pieces, sets)
    found |= people.held(known.pieces, known.faces, sets)
    for number, opinion in enumerate([*known.opinions, *known.cuts]):
        found |= _overlap(known.pieces.areas, sets, opinion, number)
    return found | _agreement(known, sets)


def _walks(known: Known) -> Sets:
    """What is reached by random walks before they leave through the borders: columns of
    Green's function, cut at several values."""
    edges, labels = known.boundaries, known.pieces.labels
    sides = np.concatenate([labels[0], labels[:, 0], labels[:, -1]])
    count = len(known.pieces.areas)
    out = np.bincount(sides, minlength=count).astype(np.float64)
    out += BOTTOM_SHARE * np.bincount(labels[-1], minlength=count)
    found: list[Sets] = []
    for sharpness, leaving, values in zip(SHARPNESS, LEAVING, REACHED, strict=True):
        ease = edges.lengths * ((1 - known.parted) / (known.parted + 0.02)) ** sharpness
        ease = ease / ease.mean()
        system = np.zeros((count, count))
        system[edges.one, edges.other] = system[edges.other, edges.one] = -ease
        leave = out / 10 * leaving * np.median(ease)
        np.fill_diagonal(system, leave - system.sum(axis=1) + 1e-4)
        reached = np.linalg.inv(system)
        reached /= np.diag(reached)
        found += [value < reached.T for value in values]
    return np.concatenate(found)


def _levels(known: Known) -> Sets:
    """What has more than some value of a cue or of the opinions, and its parts, both
    also with their holes filled."""
    levels = [opinion > value for opinion in known.opinions for value in LIKELY]
    levels += [cut > 0.5 for cut in known.cuts]
    for name, sign in TELLING.items():
        cue = sign * known.cues[name]
        levels += [cue > value for value in np.quantile(cue, SHARES)]
    parts = [part for level in levels for part in _parts(level, known.pieces)]
    sets = np.array([*levels, *parts], np.bool_).reshape(-1, len(known.pieces.areas))
    return np.concatenate([sets, _filled(sets, known.pieces)])


def _parts(level: Mask, pieces: Pieces) -> list[Mask]:
    """The connected parts of a set that has several, but the smallest ones."""
    image = level[pieces.labels].astype(np.uint8)
    count, parts = cv2.connectedComponents(image, connectivity=4)
    if count < 3:
        return []
    of_piece = np.zeros(len(level), np.int64)
    of_piece[pieces.labels] = parts
    found = [of_piece == part for part in range(1, count)]
    return [part for part in found if pieces.areas[part].sum() > LEAST_AREA]


def _filled(sets: Sets, pieces: Pieces) -> Sets:
    """The sets with all that cannot reach a border around them."""
    at_border = np.zeros(len(pieces.areas), np.bool_)
    at_border[pieces.sides] = at_border[pieces.bottom] = True
    beside = pieces.neighbours.astype(np.float32)
    reached = ~sets & at_border
    while True:
        more = (reached @ beside > 0) & ~sets | reached
        if (more == reached).all():
            return ~reached
        reached = more


def _outline(known: Known, sets: Sets) -> dict[str, Floats]:
    """How clear the boundaries along the outline are, beside those inside and out."""
    edges = known.boundaries
    one, other = sets[:, edges.one], sets[:, edges.other]
    crossed, inner = (one != other).astype(np.float32), (one & other).astype(np.float32)
    outer = 1 - crossed - inner
    lengths = [part @ edges.lengths + 1e-3 for part in (crossed, inner, outer)]
    parted = known.parted
    found = {"outline": np.log(lengths[0])}
    planes = {
        "parted": parted,
        "odds": np.log(parted + 0.01),
        "apart": edges.cues["apart"],
        "mixed otherwise": edges.cues["mixed otherwise"],
        "apart around": edges.cues["apart around"],
    }
    for name, plane in planes.items():
        for where, part, length in zip(
            ("on", "in", "out"), (crossed, inner, outer), lengths, strict=True
        ):
            found[f"{name} {where}"] = part @ (plane * edges.lengths) / length
    weak, strong = edges.lengths * (parted < WEAK), edges.lengths * (parted > STRONG)
    found["weak"] = crossed @ weak / lengths[0]
    found["strong"] = crossed @ strong / lengths[0]
    within = (crossed + inner) @ (parted * edges.lengths) / (lengths[0] + lengths[1])
    found["beside within"] = np.log((found["parted on"] + 0.01) / (within + 0.01))
    found["parted in all"] = np.log(crossed @ (parted * edges.lengths) + 1)
    return found


def _shape(pieces: Pieces, sets: Sets) -> dict[str, Floats]:
    weights = sets * pieces.areas
    area = weights.sum(axis=1)
    centre = weights @ pieces.places / area[:, None]
    variance = weights @ pieces.places**2 / area[:, None] - centre**2
    spread = np.sqrt(np.maximum(variance, 1e-5))
    wide = np.stack([_extent(sets, one) for one in pieces.places.T], axis=1)
    beside, below = np.abs(centre[:, 0] - 0.5), centre[:, 1] - 0.5
    return {
        "area": area,
        "logarithm of area": np.log(area),
        "beside": beside,
        "below": below,
        "off centre": beside**2 + below**2,
        "spread across": spread[:, 0],
        "spread upwards": spread[:, 1],
        "width": wide[:, 0],
        "height": wide[:, 1],
        "of its ellipse": np.log(area / (4 * np.pi * spread.prod(axis=1) + 1e-4)),
        "of its box": area / (wide + 0.06).prod(axis=1),
    }


def _extent(sets: Sets, places: Floats) -> Floats:
    """From the first to the last of each set along one axis."""
    order = np.argsort(places)
    there, in_order = sets[:, order], places[order]
    last = there[:, ::-1].argmax(axis=1)
    return in_order[::-1][last] - in_order[there.argmax(axis=1)]


def _borders(known: Known, sets: Sets) -> dict[str, Floats]:
    """How much of each border a proposal takes, and of its outline lies there."""
    labels, edges = known.pieces.labels, known.boundaries
    borders = {
        "top": labels[0],
        "left": labels[:, 0],
        "right": labels[:, -1],
        "bottom": labels[-1],
    }
    found = {f"at {name}": sets[:, at].mean(axis=1) for name, at in borders.items()}
    crossed = sets[:, edges.one] != sets[:, edges.other]
    free = crossed @ edges.lengths + 1e-3
    along = sum(found[f"at {name}"] * len(at) for name, at in borders.items())
    area = sets @ known.pieces.areas
    return found | {
        "at most of a border": np.max(list(found.values()), axis=0),
        "at both sides": found["at left"] * found["at right"],
        "free": free / (free + along),
        "compact": np.log(free + along / 2) - np.log(area) / 2,
    }


def _colours(pieces: Pieces, sets: Sets) -> dict[str, Floats]:
    """How alike the colours are inside, and how unlike those outside and around."""
    areas, colours = pieces.areas, pieces.colours
    around = _around(sets, pieces)
    parts = [part.astype(np.float32) * areas for part in (sets, ~sets, around)]
    sizes = [part.sum(axis=1) + 1e-6 for part in parts]
    inner, outer, ring = (
        part @ colours / size[:, None] for part, size in zip(parts, sizes, strict=True)
    )
    squares = (colours**2).sum(axis=1)
    within, without = (
        np.maximum(part @ squares / size - (mean**2).sum(axis=1), 0)
        for part, size, mean in zip(parts[:2], sizes, (inner, outer), strict=False)
    )
    whole = max(0.0, float(areas @ squares - ((areas @ colours) ** 2).sum()))
    left = (within * sizes[0] + without * sizes[1]) / (whole + 1e-3)
    alike = np.exp(-(distances(colours) ** 2) / (2 * ALIKE_SIGMA**2))
    densities = (
        part @ alike / size[:, None] for part, size in zip(parts, sizes, strict=True)
    )
    of_inner, of_outer, of_ring = (np.log(one + RARE) for one in densities)
    return {
        "variance left": np.log(left + 0.05),
        "variance inside": np.log1p(within) / 2,
        "variance outside": np.log1p(without) / 2,
        "to the outside": np.log1p(np.linalg.norm(inner - outer, axis=1)),
        "to the ring": np.log1p(np.linalg.norm(inner - ring, axis=1)),
        "ring to the outside": np.log1p(np.linalg.norm(ring - outer, axis=1)),
        "own inside": (parts[0] * (of_inner > of_outer)).sum(axis=1) / sizes[0],
        "own outside": (parts[1] * (of_outer > of_inner)).sum(axis=1) / sizes[1],
        "unlike outside": (parts[0] * (of_inner - of_outer)).sum(axis=1) / sizes[0],
        "outside unlike": (parts[1] * (of_inner - of_outer)).sum(axis=1) / sizes[1],
        "unlike ring": (parts[0] * (of_inner - of_ring)).sum(axis=1) / sizes[0],
        "ring unlike": (parts[2] * (of_inner - of_ring)).sum(axis=1) / sizes[2],
    }


def _around(sets: Sets, pieces: Pieces) -> Sets:
    """What is around each set, two superpixels deep."""
    beside = pieces.neighbours.astype(np.float32)
    grown = sets
    for _ in range(2):
        grown = grown | (grown @ beside > 0)
    return grown & ~sets


def _overlap(
    areas: Floats, sets: Sets, opinion: Floats, number: int
) -> dict[str, Floats]:
    """How much of an opinion a proposal holds, and how much else."""
    shared, size = sets @ (areas * opinion), sets @ areas
    whole = float((areas * opinion).sum())
    return {
        f"overlap with {number}": shared / (size + whole - shared + 1e-6),
        f"held of {number}": shared / (whole + 1e-6),
        f"inside of {number}": shared / size,
    }


def _agreement(known: Known, sets: Sets) -> dict[str, Floats]:
    """The opinion's likelihood of the proposal, and the overlap with what it says."""
    areas, opinion = known.pieces.areas, np.clip(known.opinions[0], 0.02, 0.98)
    yes, no = areas * np.log(opinion), areas * np.log(1 - opinion)
    said = opinion > 0.5
    shared, whole = sets @ (areas * said), float(areas[said].sum())
    return {
        "agreed": sets @ (yes - no) + no.sum(),
        "overlap with what is said": shared / (sets @ areas + whole - shared + 1e-6),
    }
