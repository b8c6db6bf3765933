"""How much each cue counts: the coefficients of logistic regressions.

No network and nothing downloaded: some hundred coefficients that `python -m
bench.cutout.fit` finds from photos with known alphas and from composites of them
(docs/cutout.md says which, and how good it is on photos left out). What a cue says is a
line with three bends, so that it may count from some value on, or up to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FILE = Path(__file__).with_name("fitted.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a cue adds: `slope` times its value, and from each of `bends` on, a place
    and a slope, so much more."""

    slope: float
    bends: tuple[tuple[float, float], ...] = ()

    def of(self, values: Floats) -> Floats:
        total = np.float32(self.slope) * values
        for place, more in self.bends:
            total = total + np.float32(more) * np.maximum(values - np.float32(place), 0)
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The log odds of a yes: `offset` and the lines of all cues, by name."""

    offset: float
    lines: Mapping[str, Line]


@cache
def models() -> dict[str, Model]:
    """The models by name: `first`, `second`, both `with a face`, `boundary`,
    `proposal`, `certainty`."""
    return {name: _read(model) for name, model in json.loads(FILE.read_text()).items()}


def likelihood(cues: dict[str, Floats], model: Model) -> Floats:
    """0 to 1 for every row of the cues. Raises KeyError for a cue without a line."""
    total = np.clip(odds(cues, model), -30, 30)
    likely: Floats = (1 / (1 + np.exp(-total))).astype(np.float32)
    return likely


def odds(cues: dict[str, Floats], model: Model) -> Floats:
    """The logarithm of the odds. Raises KeyError for a cue without a line."""
    total = np.full_like(next(iter(cues.values())), model.offset, np.float32)
    for name, values in cues.items():
        total = total + model.lines[name].of(values)
    return total


def _read(model: dict[str, Any]) -> Model:
    """Of a cue's numbers the first is the slope, then come places and slopes."""
    lines = {
        cue: Line(slope=slope, bends=tuple(zip(rest[::2], rest[1::2], strict=True)))
        for cue, (slope, *rest) in model["lines"].items()
    }
    return Model(offset=model["offset"], lines=lines)
