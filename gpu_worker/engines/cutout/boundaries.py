"""Where superpixels touch, and what speaks for an outline running between them.

Colours alone say little where all is colourful: what counts is also how the colours
around both are mixed, and whether others in the picture differ as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpu_worker.engines.cutout.pieces import Floats, Indices, Labels, Pieces

# Bins of lightness, red and yellow.
BINS = 8
LIGHTNESS_STEP, COLOUR_STEP, COLOUR_FROM = 12.5, 10.0, -40.0
AROUND_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundaries:
    """One row for every two superpixels, `one` and `other`, that touch. `lengths` are
    in pixels; `cues` have names."""

    one: Indices
    other: Indices
    lengths: Floats
    cues: dict[str, Floats]


def find(lab: Floats, pieces: Pieces) -> Boundaries:
    """The boundaries of a picture in CIE Lab, float32 (H, W, 3)."""
    one, other, lengths = _touching(pieces.labels, len(pieces.areas))
    cues = _apart(pieces, one, other) | _mixtures(lab, pieces, one, other)
    cues |= _looks(pieces, one, other)
    shortest = np.sqrt(np.minimum(pieces.areas[one], pieces.areas[other]))
    cues["length"] = np.log(lengths / shortest)
    return Boundaries(one=one, other=other, lengths=lengths, cues=cues)


def _touching(labels: Labels, count: int) -> tuple[Indices, Indices, Floats]:
    before = np.concatenate([labels[:, :-1].ravel(), labels[:-1].ravel()])
    after = np.concatenate([labels[:, 1:].ravel(), labels[1:].ravel()])
    crossed = before != after
    before, after = before[crossed], after[crossed]
    codes = np.minimum(before, after).astype(np.int64) * count
    codes += np.maximum(before, after)
    found, lengths = np.unique(codes, return_counts=True)
    return found // count, found % count, lengths.astype(np.float32)


def _apart(pieces: Pieces, one: Indices, other: Indices) -> dict[str, Floats]:
    """How far the colours are apart, also beside how far others are."""
    apart = pieces.apart[one, other]
    steps = np.where(pieces.neighbours, pieces.apart, np.nan)
    usual, most, least = (
        of(steps, axis=1) for of in (np.nanmean, np.nanmax, np.nanmin)
    )
    colours = np.abs(pieces.colours[one] - pieces.colours[other])
    both = pieces.neighbours | np.eye(len(usual), dtype=np.bool_)
    weights = both * pieces.areas
    wide = weights @ pieces.colours / weights.sum(axis=1)[:, None]
    return {
        "apart": np.log1p(apart),
        "lightness apart": np.log1p(colours[:, 0]),
        "colours apart": np.log1p(np.hypot(colours[:, 1], colours[:, 2])),
        "apart around": np.log1p(np.linalg.norm(wide[one] - wide[other], axis=1)),
        "rank of apart": np.argsort(np.argsort(apart, kind="stable")) / len(apart),
        "beside the usual": np.log((apart + 1) / (usual[one] + usual[other] + 2)),
        "beside the most": np.log((apart + 1) / (most[one] + most[other] + 2)),
        "usual": np.log1p(usual[one] + usual[other]),
        "least": np.log1p(least[one] + least[other]),
        "usual in the picture": np.full_like(apart, np.log1p(np.median(apart))),
    }


def _mixtures(
    lab: Floats, pieces: Pieces, one: Indices, other: Indices
) -> dict[str, Floats]:
    """How unlike the histograms of colours are, and those of a wider area."""
    count = len(pieces.areas)
    low = np.array([0, COLOUR_FROM, COLOUR_FROM], np.float32)
    step = np.array([LIGHTNESS_STEP, COLOUR_STEP, COLOUR_STEP], np.float32)
    bins = np.clip((lab - low) / step, 0, BINS - 1).astype(np.int64)
    codes = (bins[..., 0] * BINS + bins[..., 1]) * BINS + bins[..., 2]
    codes += pieces.labels * BINS**3
    counts = np.bincount(codes.ravel(), minlength=count * BINS**3)
    counts = counts.reshape(count, -1).astype(np.float32)
    counts = counts[:, counts.any(axis=0)]
    wide = counts + AROUND_WEIGHT * pieces.neighbours @ counts
    narrow, wide = (part / part.sum(axis=1, keepdims=True) for part in (counts, wide))
    a, b = narrow[one], narrow[other]
    return {
        "mixed otherwise": ((a - b) ** 2 / (a + b + 1e-6)).sum(axis=1) / 2,
        "mixed alike around": np.minimum(wide[one], wide[other]).sum(axis=1),
    }


def _looks(pieces: Pieces, one: Indices, other: Indices) -> dict[str, Floats]:
    focus, texture = pieces.focus, pieces.texture
    return {
        "focus apart": np.abs(focus[one] - focus[other]),
        "sharper": np.maximum(focus[one], focus[other]),
        "texture apart": np.abs(texture[one] - texture[other]),
        "more texture": np.maximum(texture[one], texture[other]),
        "less texture": np.minimum(texture[one], texture[other]),
    }
