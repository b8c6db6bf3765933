"""What finding the subject went through: `subject` writes it, `certainty` reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout.pieces import Floats

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The maps are (H, W). `likely` is the last opinion; `others` are all cuts that
    were made: what is right is in each of them. `support` is how much `mask` overlaps
    with the opinion before proposals or with these, whichever is less, 0 to 1."""

    likely: Floats
    mask: Mask
    others: list[Mask]
    support: float
