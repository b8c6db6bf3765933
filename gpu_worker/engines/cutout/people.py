"""What faces say about where people are: no statistics of colours knows that dark hair,
a face and a white shirt belong together.

The cues are weighed anew with an opinion that knows of no face, once before the trial
cuts and once after them (`fitted`: the models "... with a face").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout import cues
from gpu_worker.engines.cutout.faces import Face
from gpu_worker.engines.cutout.pieces import Floats, Pieces, distances

Mask = NDArray[np.bool_]
Sets = NDArray[np.bool_]

# How wide half a person is, from above the hair to the knees: heights below the face's
# centre, and widths, in widths of the face. Half of the drawn masks reached so far.
HALF_WIDTHS = (
    *((-1.35, 0.0), (-1.15, 0.35), (-0.9, 0.58), (-0.5, 0.7), (0.0, 0.72)),
    *((0.45, 0.66), (0.65, 0.8), (0.9, 1.15), (1.3, 1.45), (2.0, 1.65)),
    *((3.0, 1.7), (5.0, 1.55), (8.0, 1.3)),
)
# How far people differ from it: about the head, and more with each width below.
SOFT, SOFTER = 0.25, 0.12
# The log odds of being inside: a line across the outline, between two ends.
STEEP, OFFSET = 1.2, 0.3
LEAST, MOST = -2.2, 3.5
CORE, FAR = 0.8, 0.3
# How far a face reaches from its centre, in its widths.
FACE_SIGMA = 0.4


def first(pieces: Pieces, faces: Sequence[Face], opinion: Floats) -> dict[str, Floats]:
    """The cues of at least one face, beside an opinion of 0 to 1 per superpixel."""
    person, beside, below = _silhouettes(pieces, faces)
    likely = (1 / (1 + np.exp(-person))).astype(np.float32)
    areas, seen = pieces.areas, cues.logit(opinion)
    alike = np.exp(-(pieces.apart**2) / (2 * cues.OPINION_SIGMA**2))
    near = alike * np.exp(-(distances(pieces.places) ** 2) / (2 * cues.NEAR_SIGMA**2))
    core, far = areas * (likely > CORE), areas * (likely < FAR)
    widest = max(faces, key=lambda face: face.width)
    same = np.ones_like(person)
    return {
        "opinion": seen,
        "opinion near": cues.logit(_mean(near, opinion, areas)),
        "person": person,
        "person and opinion": person * seen,
        "person off centre": person * np.float32(abs(widest.x - 0.5) * 2),
        "person near": _mean(near, likely, areas),
        "colours of person": cues.sides_of(alike, areas * likely, areas * (1 - likely)),
        "colours of core": cues.sides_of(alike, core, far),
        "beside face": np.clip(beside, 0, 5),
        "below face": np.clip(below, -3, 8),
        "width of face": same * np.float32(widest.width),
        "clearness": same * np.float32(max(face.clearness for face in faces)),
    }


def second(
    pieces: Pieces,
    faces: Sequence[Face],
    opinion: Floats,
    before: Floats,
    masks: list[Mask],
) -> dict[str, Floats]:
    """The same of the opinion after the trial cuts, with that before and the cuts."""
    found = first(pieces, faces, opinion) | {"opinion before": cues.logit(before)}
    return found | {
        f"cut {number}": pieces.mean_of(mask) for number, mask in enumerate(masks)
    }


def held(pieces: Pieces, faces: Sequence[Face], sets: Sets) -> dict[str, Floats]:
    """How much of faces and of the people below them each set of superpixels holds; 0
    where no face is seen."""
    names = (
        "faces",
        "every face",
        "person agreed",
        "overlap with person",
        "person inside",
    )
    if not faces:
        return {name: np.zeros(len(sets), np.float32) for name in names}
    areas, person = pieces.areas, _silhouettes(pieces, faces)[0]
    each = sets @ np.stack([_face(pieces, face) for face in faces], axis=1)
    likely = (1 / (1 + np.exp(-person))).astype(np.float32)
    shared, size = sets @ (areas * likely), sets @ areas
    overlap = shared / (size + areas @ likely - shared)
    found = each.mean(axis=1), each.min(axis=1), sets @ (areas * person)
    return dict(zip(names, (*found, overlap, shared / size), strict=True))


def _face(pieces: Pieces, face: Face) -> Floats:
    """How much of a face each superpixel is; they sum to 1."""
    _, beside, below = _silhouette(pieces, face)
    part = pieces.areas * np.exp(-(beside**2 + below**2) / (2 * FACE_SIGMA**2))
    parts: Floats = (part / (part.sum() + 1e-9)).astype(np.float32)
    return parts


def _silhouettes(
    pieces: Pieces, faces: Sequence[Face]
) -> tuple[Floats, Floats, Floats]:
    """Of the person that a superpixel belongs to most likely: the log odds that it
    does, and how far it is beside and below the face, in its widths."""
    each = [_silhouette(pieces, face) for face in faces]
    inside, beside, below = (np.stack(some) for some in zip(*each, strict=True))
    likeliest = inside.argmax(axis=0)[None]
    found = (
        np.take_along_axis(some, likeliest, axis=0)[0]
        for some in (inside, beside, below)
    )
    person, beside, below = (some.astype(np.float32) for some in found)
    return np.clip(STEEP * person + OFFSET, LEAST, MOST), beside, below


def _silhouette(pieces: Pieces, face: Face) -> tuple[Floats, Floats, Floats]:
    height, width = pieces.labels.shape
    x, y = pieces.places.T
    beside = np.abs(x - face.x) / face.width
    below = (y - face.y) * height / (face.width * width)
    heights, widths = np.array(HALF_WIDTHS).T
    soft = SOFT + SOFTER * np.clip(below, 0, 4)
    above = np.maximum(heights[0] - below, 0) / SOFT
    return (np.interp(below, heights, widths) - beside) / soft - above, beside, below


def _mean(near: Floats, values: Floats, areas: Floats) -> Floats:
    mean: Floats = (near @ (areas * values) + 1e-5) / (near @ areas + 1e-5)
    return mean
