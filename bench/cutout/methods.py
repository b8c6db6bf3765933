"""What is scored."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

from bench.cutout import scores
from bench.cutout.photos import Case
from bench.cutout.scores import Scored
from gpu_worker.engines.cutout import removal
from gpu_worker.pixels import Pixels

Method = Callable[[Pixels], tuple[Pixels, dict[str, object]]]

MARGIN = 0.02
ROUNDS = 5
SIDE_PX = 400


def classical(photo: Pixels) -> tuple[Pixels, dict[str, object]]:
    """The engine itself, without reading and writing files."""
    return removal.cut_out(photo)


def rectangle(photo: Pixels) -> tuple[Pixels, dict[str, object]]:
    """OpenCV's GrabCut, told that the subject is inside the picture's border."""
    scale = min(1.0, SIDE_PX / max(photo.shape[:2]))
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    x, y = max(1, round(MARGIN * width)), max(1, round(MARGIN * height))
    labels = np.zeros((height, width), np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(1)
    inside = (x, y, width - 2 * x, height - 2 * y)
    cv2.grabCut(small, labels, inside, *models, ROUNDS, cv2.GC_INIT_WITH_RECT)
    mask = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    size = photo.shape[1], photo.shape[0]
    alpha = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR)
    return np.dstack([photo, alpha]), {}


METHODS: dict[str, Method] = {"classical": classical, "rectangle": rectangle}


def run(method: str, case: Case) -> Scored:
    start = time.process_time()
    cutout, details = METHODS[method](case.photo)
    seconds = time.process_time() - start
    return Scored(
        name=case.name,
        group=case.group,
        subject=case.subject,
        score=scores.best(cutout[..., 3], case.alphas),
        cutout=cutout,
        details=details,
        cpu_seconds=seconds,
    )
