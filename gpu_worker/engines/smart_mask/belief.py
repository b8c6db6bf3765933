"""How likely each superpixel is the object.

A first guess comes from distances: to what was pointed at, and to where the object
ends. Then colours are learned from the guess, and each superpixel agrees on a
compromise between its colour, its first guess and its neighbours of alike colour: a
random walk with priors (Grady, CVPR 2005), repeated a few times. The first guess is
not forgotten meanwhile, so that the object does not run away into what has its colours
elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.smart_mask.pieces import Floats, Indices, Pieces

Doubles = NDArray[np.float64]

ROUNDS = 4
SURE = 100.0
STEPS, CLOSE = 40, 1e-5
ALIKE = 6.0
LEAST_LINK = 0.03
# In a box a point tells less: much of the object may be unlike it.
POINTS_WITHIN = 0.25
# Log odds of 0.02 and 0.98.
MOST_ODDS = 3.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """One way to guess: what a border between superpixels costs, and how much
    neighbours, colours and the first guess count."""

    step: float = 1.5
    smooth: float = 3.0
    colour: float = 0.6
    guess: float = 0.6


MANNERS = (
    Manner(),
    Manner(step=0.7),
    Manner(step=3.0),
    Manner(smooth=6.0, colour=0.9),
    Manner(smooth=1.5, colour=0.3),
    Manner(guess=1.2, colour=0.3),
    Manner(guess=0.3, colour=0.9),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """What is known: superpixels of the object, and others that are not.

    `ends` is what each superpixel costs as a place where the object has ended: inf for
    most, 0 at a limit, more where the object may well go on, cut by the image's border.
    `odds` are log odds of being the object, from what is not a distance. `within`: the
    object is known to lie within limits, those of a box.
    """

    on_object: Indices
    beside: Indices
    ends: Floats
    odds: Floats
    within: bool


def of(pieces: Pieces, seeds: Seeds, manner: Manner) -> Floats:
    """How likely each superpixel is the object, 0 to 1."""
    guess = _guess(pieces, seeds, manner)
    likely = _share(guess)
    links = _links(pieces) * np.float32(manner.smooth)
    for _ in range(ROUNDS):
        colour = _colour_odds(pieces, likely)
        wanted = _share(manner.colour * colour + manner.guess * guess)
        likely = _compromise(pieces, links, wanted, likely, seeds)
    return likely


def _guess(pieces: Pieces, seeds: Seeds, manner: Manner) -> Floats:
    """Log odds by distances: nearer to the object's seeds than to its ends."""
    ends = pieces.distance(_but(seeds), step=manner.step)
    odds = seeds.odds.copy()
    if seeds.within:
        usual = np.median(ends[ends > 0]) if (ends > 0).any() else 1.0
        odds += 0.5 * np.log((ends + 1e-3) / (usual + 1e-3))
    if len(seeds.on_object):
        start = np.full(pieces.count, np.inf, np.float32)
        start[seeds.on_object] = 0
        seen = pieces.distance(start, step=manner.step)
        weight = POINTS_WITHIN if seeds.within else 2.0
        nearer = weight * np.log((ends + 1e-3) / (seen + 1e-3))
        odds += np.clip(nearer, -MOST_ODDS, MOST_ODDS)
    return np.clip(odds, -MOST_ODDS, MOST_ODDS)


def _but(seeds: Seeds) -> Floats:
    """Where the object ends: at its limits and beside it, never at its own seeds."""
    ends = seeds.ends.copy()
    ends[seeds.beside] = 0
    ends[seeds.on_object] = np.inf
    return ends


def _share(odds: Floats) -> Floats:
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def _links(pieces: Pieces) -> Floats:
    """How much the two sides of each border want to be alike."""
    alike = np.exp(-(pieces.apart**2) / (2 * ALIKE**2)) + LEAST_LINK
    return alike.astype(np.float32)


def _colour_odds(pieces: Pieces, likely: Floats) -> Floats:
    """Log odds by how much of the object, and of the rest, has this colour near by."""
    inside, outside = pieces.areas * likely, pieces.areas * (1 - likely)
    as_object = pieces.kin @ inside / max(float(inside.sum()), 1e-6)
    as_rest = pieces.kin @ outside / max(float(outside.sum()), 1e-6)
    odds = np.log((as_object + 1e-6) / (as_rest + 1e-6))
    return odds.astype(np.float32)


def _compromise(
    pieces: Pieces, links: Floats, wanted: Floats, first: Floats, seeds: Seeds
) -> Floats:
    """The likelihoods x that keep sum(w (x - wanted)^2) + sum(links (x_i - x_j)^2)
    least, by conjugate gradients from `first`.

    Not by a dense solver: the system is sparse, and those use threads of their own.
    """
    weights, wanted = pieces.areas.copy(), wanted.copy()
    weights[seeds.beside], wanted[seeds.beside] = SURE, 0
    weights[seeds.on_object], wanted[seeds.on_object] = SURE, 1
    whole = weights + np.bincount(pieces.ends, links, pieces.count)

    def applied(to: Doubles) -> Doubles:
        near = np.bincount(pieces.ends, links * to[pieces.others], pieces.count)
        return whole * to - near

    likely = first.astype(np.float64)
    rest = weights * wanted - applied(likely)
    way = better = rest / whole
    left = float(rest @ better)
    for _ in range(STEPS):
        if left < CLOSE:
            break
        pushed = applied(way)
        length = left / float(way @ pushed)
        likely, rest = likely + length * way, rest - length * pushed
        better = rest / whole
        left, before = float(rest @ better), left
        way = better + left / before * way
    return np.clip(likely, 0, 1).astype(np.float32)
