"""What speaks for and against a superpixel being part of the subject.

Each cue is one number; none of them decides. How much each counts is fitted
(`fitted`). The first cues look at the picture alone: how a colour connects to the
border (after Wei et al., ECCV 2012), how common it is there and in the middle, how it
contrasts, where it is, whether it is in focus, and whether it is a colour that
backgrounds like to have. Some count as well by their rank in the picture, and by what
they are around a superpixel. The second look again with a first opinion in hand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout import paths
from gpu_worker.engines.cutout.pieces import Floats, Indices, Pieces, distances

COLOUR_SIGMA = 8.0
FOCUS_WEIGHT = 8.0
FOCUS_SIGMA = 10.0
OPINION_SIGMA = 7.0
NEAR_SIGMA = 0.2
RARE = 0.002
NEAREST = 3
# What counts by its rank in the picture too, and what around a superpixel.
RANKED = (
    "to border",
    "to farther side",
    "to bottom",
    "contrast",
    "common at sides",
    "common in middle",
    "common at sides with focus",
    "common in middle with focus",
    "sharp",
    "lightness",
    "chroma",
    "texture",
    "connected area",
    "cut by borders",
    "contrast to background",
    "steepest to border",
    "spread of colour",
)
AROUND = (
    "to border",
    "to farther side",
    "common at sides",
    "common in middle",
    "sharp",
    "skin",
    "contrast to background",
)
RANKED_AGAIN = ("opinion", "colours", "neighbours", "cut 0", "cut 1")
AROUND_AGAIN = ("colours", "cut 0", "cut 1")

Mask = NDArray[np.bool_]


def first(pieces: Pieces) -> dict[str, Floats]:
    """The cues of the picture alone, by name, one number per superpixel each."""
    found = paths.cues(pieces) | _commonness(pieces) | _nearest(pieces)
    found |= _compactness(pieces) | _places(pieces) | _looks(pieces)
    return found | _ranks(found, RANKED) | _around(found, AROUND, pieces)


def second(pieces: Pieces, opinion: Floats, masks: list[Mask]) -> dict[str, Floats]:
    """The cues of a first opinion (0 to 1 per superpixel) and of cuts made with it."""
    areas, apart = pieces.areas, pieces.apart
    inside, outside = areas * opinion, areas * (1 - opinion)
    alike = np.exp(-(apart**2) / (2 * OPINION_SIGMA**2))
    near = np.exp(-(distances(pieces.places) ** 2) / (2 * NEAR_SIGMA**2)) * alike
    beside = pieces.neighbours * np.exp(-(apart**2) / (2 * COLOUR_SIGMA**2))
    found = {
        "opinion": logit(opinion),
        "colours": sides_of(alike, inside, outside),
        "colours near": (near @ inside + 1e-5) / (near @ areas + 1e-5),
        "neighbours": (beside @ opinion) / (beside.sum(axis=1) + 1e-6),
        "focus": _focus_like(pieces.focus, inside, outside),
        "far off": _far_off(pieces.places, inside),
    }
    for number, mask in enumerate(masks):
        share = pieces.mean_of(mask)
        found[f"cut {number}"] = share
        found[f"colours of cut {number}"] = sides_of(
            alike, areas * share, areas * (1 - share)
        )
    return found | _ranks(found, RANKED_AGAIN) | _around(found, AROUND_AGAIN, pieces)


def table(cues: dict[str, Floats]) -> Floats:
    """The cues side by side: (superpixels, cues)."""
    return np.stack(list(cues.values()), axis=1).astype(np.float32)


def _commonness(pieces: Pieces) -> dict[str, Floats]:
    """How common a colour is in parts of the picture, and how it contrasts."""
    areas, apart, sides = pieces.areas, pieces.apart, pieces.sides
    alike = np.exp(-(apart**2) / (2 * COLOUR_SIGMA**2))
    unfocused = FOCUS_WEIGHT * (pieces.focus[:, None] - pieces.focus[None])
    alike_and_focus = np.exp(-(apart**2 + unfocused**2) / (2 * FOCUS_SIGMA**2))
    middle, everywhere = areas * _middle(pieces.places), np.arange(len(areas))
    borders = [
        _common(alike, areas, side) for side in (pieces.top, pieces.left, pieces.right)
    ]
    around = np.exp(-(distances(pieces.places) ** 2) / (2 * 0.4**2)) * areas
    return {
        "contrast": np.log1p((around * apart).sum(axis=1) / around.sum(axis=1)),
        "common at sides": _common(alike, areas, sides),
        "common": _common(alike, areas, everywhere),
        "common in middle": _common(alike, middle, everywhere),
        "common at one side": np.max(borders, axis=0),
        "common at all sides": np.min(borders, axis=0),
        "common at sides with focus": _common(alike_and_focus, areas, sides),
        "common in middle with focus": _common(alike_and_focus, middle, everywhere),
    }


def _nearest(pieces: Pieces) -> dict[str, Floats]:
    """The distance to the nearest colours of each border, and to the neighbours'."""
    beside = pieces.neighbours.astype(np.float32)
    edge = (beside * pieces.apart).sum(axis=1) / (beside.sum(axis=1) + 1e-6)
    borders = {
        "top": pieces.top,
        "left": pieces.left,
        "right": pieces.right,
        "bottom": pieces.bottom,
    }
    found = {"edge": np.log1p(edge)}
    for name, border in borders.items():
        nearest = np.sort(pieces.apart[:, border], axis=1)[:, :NEAREST]
        found[f"unlike {name}"] = np.log1p(nearest.mean(axis=1))
    return found


def _compactness(pieces: Pieces) -> dict[str, Floats]:
    """Where a colour's centre is and how far it spreads: a subject's is compact."""
    weights = np.exp(-(pieces.apart**2) / (2 * COLOUR_SIGMA**2)) * pieces.areas
    weights /= weights.sum(axis=1)[:, None]
    centre = weights @ pieces.places
    variance = (weights @ pieces.places**2 - centre**2).sum(axis=1)
    return {
        "spread of colour": np.sqrt(np.maximum(variance, 0)),
        "colour beside": np.abs(centre[:, 0] - 0.5) * 2,
        "colour below": centre[:, 1] - 0.5,
    }


def _middle(places: Floats) -> Floats:
    x, y = places.T
    return np.exp(-((x - 0.5) ** 2) / (2 * 0.2**2) - (y - 0.52) ** 2 / (2 * 0.22**2))


def _common(alike: Floats, weights: Floats, where: Indices) -> Floats:
    share = (alike[:, where] @ weights[where]) / weights[where].sum()
    return np.log(share + RARE)


def _places(pieces: Pieces) -> dict[str, Floats]:
    beside, below = np.abs(pieces.places[:, 0] - 0.5) * 2, pieces.places[:, 1] - 0.5
    at_sides, at_bottom = np.zeros_like(beside), np.zeros_like(beside)
    at_sides[pieces.sides] = 1
    at_bottom[pieces.bottom] = 1
    x, y = pieces.places.T
    to_corner = np.minimum(np.hypot(x, y), np.hypot(1 - x, y))
    return {
        "beside": beside,
        "below": below,
        "off centre": np.hypot(beside, 2 * below),
        "at sides": at_sides,
        "at bottom": at_bottom,
        "beside squared": beside**2,
        "below squared": below**2,
        "beside and below": beside * below,
        "near centre": np.exp(-2 * beside**2 - 8 * (y - 0.52) ** 2),
        "to upper corner": np.minimum(to_corner, 0.5),
    }


def _looks(pieces: Pieces) -> dict[str, Floats]:
    """Focus, texture, and the colours of skin, plants and sky."""
    lightness, red, yellow = pieces.colours.T
    focus = pieces.focus
    skin = np.exp(-((red - 15) ** 2) / (2 * 8**2) - (yellow - 18) ** 2 / (2 * 9**2))
    plants = (yellow > 5) / (1 + np.exp((red + 8) / 4))
    sky = (1 - pieces.places[:, 1]) / (1 + np.exp((yellow + 6) / 3))
    return {
        "sharper than usual": (focus - np.median(focus)) / (focus.std() + 1e-3),
        "sharp": focus,
        "texture": pieces.texture,
        "lightness": lightness / 100,
        "lightness squared": (lightness / 100 - 0.5) ** 2,
        "chroma": np.hypot(red, yellow) / 50,
        "red": red / 50,
        "yellow": yellow / 50,
        "skin": skin * (lightness > 20),
        "plants": plants,
        "sky": sky,
    }


def _ranks(found: dict[str, Floats], names: tuple[str, ...]) -> dict[str, Floats]:
    """The same as shares of the picture's superpixels that have less: -0.5 to 0.5."""
    return {f"rank of {name}": _rank(found[name]) for name in names}


def _rank(values: Floats) -> Floats:
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return (ranks / max(1, len(values) - 1) - 0.5).astype(np.float32)


def _around(
    found: dict[str, Floats], names: tuple[str, ...], pieces: Pieces
) -> dict[str, Floats]:
    """The means over a superpixel's neighbours and theirs."""
    beside = pieces.neighbours.astype(np.float32)
    beside /= beside.sum(axis=1)[:, None] + 1e-6
    return {f"{name} around": beside @ (beside @ found[name]) for name in names}


def logit(share: Floats) -> Floats:
    inner = np.clip(share, 0.01, 0.99)
    return np.log(inner / (1 - inner))


def sides_of(alike: Floats, inside: Floats, outside: Floats) -> Floats:
    """How much more common a colour is inside than outside; 0 if one is empty."""
    if min(inside.sum(), outside.sum()) <= 1e-3:
        return np.zeros_like(inside)
    shares = (alike @ part / part.sum() for part in (inside, outside))
    inner, outer = (np.log(share + RARE) for share in shares)
    return inner - outer


def _focus_like(focus: Floats, inside: Floats, outside: Floats) -> Floats:
    inner = float((focus * inside).sum() / inside.sum())
    outer = float((focus * outside).sum() / outside.sum())
    return (focus - outer) * np.sign(inner - outer) * min(abs(inner - outer), 2)


def _far_off(places: Floats, inside: Floats) -> Floats:
    """The distance from the opinion's centre, in its own widths and heights."""
    weights = (inside / inside.sum())[:, None]
    centre = (places * weights).sum(axis=0)
    spread = np.sqrt((((places - centre) ** 2) * weights).sum(axis=0)) + 0.05
    return np.log1p((((places - centre) / spread) ** 2).sum(axis=1))
