"""Photos, and what is the object in each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]
OUTLINES = Path(__file__).with_name("outlines.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`truths`: masks that are accepted, the best one counts. `is_subject`: the object
    is what the photo is of, so that `auto` should find it."""

    name: str
    photo: Path
    truths: tuple[Mask, ...]
    is_subject: bool

    def score(self, found: Mask) -> float:
        return max(overlap(found, truth) for truth in self.truths)

    def nearest(self, found: Mask) -> Mask:
        return max(self.truths, key=lambda truth: overlap(found, truth))


def read(folder: Path) -> list[Case]:
    """The cases of a folder with a MANIFEST.json: its own references, then ours."""
    items = json.loads((folder / "MANIFEST.json").read_text())["items"]
    known = {item["id"]: item for item in items}
    cases = [case for item in items if (case := _of_references(folder, item))]
    for name, one in json.loads(OUTLINES.read_text()).items():
        if item := known.get(one["photo"]):
            cases.append(_of_outline(folder, name, item, one["parts"]))
    return cases


def _of_references(folder: Path, item: dict[str, Any]) -> Case | None:
    accepted = [one for one in item.get("references", []) if one.get("accept")]
    if item["group"] != "photo" or not accepted:
        return None
    return Case(
        name=item["id"],
        photo=folder / item["file"],
        truths=tuple(_alpha(folder / one["file"]) for one in accepted),
        is_subject=True,
    )


def _of_outline(
    folder: Path, name: str, item: dict[str, Any], parts: list[Any]
) -> Case:
    truth = np.zeros((item["height"], item["width"]), np.uint8)
    for part in parts:
        cv2.fillPoly(truth, [np.array(part, np.int32)], 1)
    return Case(
        name=name,
        photo=folder / item["file"],
        truths=(truth > 0,),
        is_subject=False,
    )


def _alpha(path: Path) -> Mask:
    with Image.open(path) as image:
        grey = image.getchannel("A") if image.mode == "RGBA" else image.convert("L")
        return np.asarray(grey) > 127


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0
