"""What finding the subject went through: `subject` writes it, `certainty` reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.engines.cutout.pieces import Floats

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The maps are (H, W). `likely` is the opinion that `mask` follows; `others` are
    all other cuts that were made: what is right is in each of them."""

    likely: Floats
    mask: Mask
    others: list[Mask]
