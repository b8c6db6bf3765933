"""Which of several outlines is the subject's.

The mean of unlike opinions may be right nowhere: half of one thing and half of another.
So GrabCut follows the mean and each of them, and that outline is chosen which overlaps
most with all that is likely, the opinion and each proposal as its rank says (the mask
of least expected loss, as Premachandran, Tarlow and Batra choose it, CVPR 2014).
"""

from __future__ import annotations

import numpy as np

from gpu_worker.engines.cutout.pieces import Floats
from gpu_worker.engines.cutout.proposals import Known, Ranked, Sets

# The ranking is surer of its best proposals than it is right.
SOFTNESS = 3.0
# The mean is mostly the best: another has to be better by so much.
MARGIN = 0.03


def opinions(known: Known, ranked: Ranked) -> list[Floats]:
    """What an outline may follow: the mean of opinion and vote, and the vote."""
    opinion = known.opinions[0]
    if not len(ranked.sets):
        return [opinion]
    vote: Floats = ranked.shares() @ ranked.sets.astype(np.float32)
    mean: Floats = (opinion + vote) / np.float32(2)
    return [mean, vote]


def best(supports: list[tuple[float, float]]) -> int:
    """Which outline to choose; the first is that of the mean."""
    together = [sum(support) for support in supports]
    together[0] += MARGIN
    return int(np.argmax(together))


def support(known: Known, ranked: Ranked, mask: Floats) -> tuple[float, float]:
    """How much a mask overlaps with the opinion, and with what the proposals hold for
    likely, 0 to 1. `mask` is how much of each superpixel it holds."""
    areas = known.pieces.areas
    with_opinion = float(_overlaps(known.opinions[0][None], areas, mask)[0])
    if not len(ranked.sets):
        return with_opinion, with_opinion
    overlaps = _overlaps(ranked.sets, areas, mask)
    return with_opinion, float(ranked.shares(softness=SOFTNESS) @ overlaps)


def _overlaps(sets: Sets | Floats, areas: Floats, mask: Floats) -> Floats:
    shared = sets @ (areas * mask)
    overlaps = shared / (sets @ areas + areas @ mask - shared + 1e-9)
    return overlaps.astype(np.float32)
