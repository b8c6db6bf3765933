"""What finding the subject went through: `subject` writes it, `certainty` reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout.pieces import Floats, Pieces

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The maps are (H, W)."""

    pieces: Pieces
    first: Floats
    trials: list[Mask]
    second: Floats
    likely: Floats
    mask: Mask
    coarser: Mask
