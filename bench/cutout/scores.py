"""What a cut-out is worth beside an accepted alpha."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_worker.pixels import Pixels

FAILED = 0.5
GOOD = 0.8
EDGE_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """`iou`: intersection over union of what is more than half there. `error`: mean
    absolute difference of alpha, 0 to 1, over the whole picture; `edge_error`: over the
    pixels within a hundredth of the long side of the true edge."""

    iou: float
    error: float
    edge_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One method on one case. `cutout` is RGBA; `details` as the engine tells them."""

    name: str
    group: str
    subject: str
    score: Score
    cutout: Pixels
    details: dict[str, object]
    cpu_seconds: float

    @property
    def uncertain(self) -> bool:
        return bool(self.details.get("uncertain", False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A method on many cases. `unflagged` failures and `flagged` good ones are counts
    out of `failures` and `good`."""

    cases: int
    iou: float
    error: float
    edge_error: float
    failures: int
    unflagged: int
    good: int
    flagged: int
    cpu_seconds: float


def best(alpha: Pixels, accepted: Iterable[Pixels]) -> Score:
    """The score against the accepted alpha that fits best."""
    return max((_score(alpha, one) for one in accepted), key=lambda one: one.iou)


def summary(scored: Sequence[Scored]) -> Summary:
    failures = [one for one in scored if one.score.iou < FAILED]
    good = [one for one in scored if one.score.iou >= GOOD]
    return Summary(
        cases=len(scored),
        iou=float(np.mean([one.score.iou for one in scored])),
        error=float(np.mean([one.score.error for one in scored])),
        edge_error=float(np.mean([one.score.edge_error for one in scored])),
        failures=len(failures),
        unflagged=sum(not one.uncertain for one in failures),
        good=len(good),
        flagged=sum(one.uncertain for one in good),
        cpu_seconds=float(np.mean([one.cpu_seconds for one in scored])),
    )


def _score(alpha: Pixels, truth: Pixels) -> Score:
    a, b = alpha > 127, truth > 127
    union = int((a | b).sum())
    apart = np.abs(alpha.astype(np.float32) - truth) / 255
    edge = _edge(b)
    return Score(
        iou=int((a & b).sum()) / union if union else 0.0,
        error=float(apart.mean()),
        edge_error=float(apart[edge].mean()) if edge.any() else 0.0,
    )


def _edge(inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Pixels:
    side = 2 * max(1, round(EDGE_SHARE * max(inside.shape))) + 1
    window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_GRADIENT, window) > 0
