"""How much each cue counts: the coefficients of logistic regressions.

No network and nothing downloaded: 26, 36 and a few more numbers that
`python -m bench.cutout.fit` finds from photos with known alphas and from composites
of them (docs/cutout.md says which, and how good it is on photos left out).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FILE = Path(__file__).with_name("fitted.json")


@cache
def models() -> dict[str, dict[str, float]]:
    """Model name -> cue name -> weight; `offset` is a weight of its own."""
    found: dict[str, dict[str, float]] = json.loads(FILE.read_text())
    return found


def likelihood(cues: dict[str, Floats], model: dict[str, float]) -> Floats:
    """0 to 1 for every row of the cues. Raises KeyError for a cue without weight."""
    total = np.full_like(next(iter(cues.values())), model["offset"], np.float32)
    for name, values in cues.items():
        total = total + np.float32(model[name]) * values
    likely: Floats = (1 / (1 + np.exp(-np.clip(total, -30, 30)))).astype(np.float32)
    return likely
