"""Photos with the alphas that are accepted for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2

from gpu_worker import pixels
from gpu_worker.pixels import Pixels

ROOT = Path(__file__).parents[2]
OURS = Path(__file__).parent / "photos"
FOLDERS = (ROOT / "tests/data/photos", OURS)
ELSEWHERE = {"animal_lemur_fur": ROOT / "nijika/local/photos/lemur.jpg"}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
ALPHA = ".alpha.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One photo to cut out. `subject` names what is on it: cases of one subject are
    left out together. Alphas are uint8 (H, W) of the photo's size; any of them is
    right."""

    name: str
    group: str
    subject: str
    photo: Pixels
    alphas: tuple[Pixels, ...]


def own() -> list[Case]:
    """The photos of this repository."""
    return [case for folder in FOLDERS for case in pairs(folder)]


def pairs(folder: Path, group: str = "photo") -> list[Case]:
    """Every photo of a folder that has a `<name>.alpha.png` beside it."""
    cases = []
    for alpha in sorted(folder.glob(f"*{ALPHA}")):
        name = alpha.name.removesuffix(ALPHA)
        if path := _photo(name, (folder, *FOLDERS)):
            cases.append(_case(name, path, [alpha], group))
    return cases


def listed(folder: Path) -> list[Case]:
    """The photos of a folder's MANIFEST.json that have an accepted reference there, or
    an alpha of ours."""
    cases = []
    for item in json.loads((folder / "MANIFEST.json").read_text())["items"]:
        if alphas := _accepted(folder, item):
            cases.append(_case(item["id"], folder / item["file"], alphas))
    return cases


def _accepted(folder: Path, item: dict[str, object]) -> list[Path]:
    references = item.get("references")
    if isinstance(references, list) and item["group"] == "photo":
        found = [folder / one["file"] for one in references if one["accept"]]
        if found:
            return found
    ours = OURS / f"{item['id']}{ALPHA}"
    return [ours] if ours.exists() else []


def _case(name: str, photo: Path, alphas: list[Path], group: str = "photo") -> Case:
    picture = pixels.decode(photo)[..., :3]
    size = picture.shape[1], picture.shape[0]
    planes = (cv2.resize(plane(one), size) for one in alphas)
    return Case(
        name=name, group=group, subject=name, photo=picture, alphas=tuple(planes)
    )


def plane(path: Path) -> Pixels:
    """The alpha channel of a cut-out, or a grey picture."""
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if read is None:
        raise ValueError(f"{path} is no picture")
    return read if read.ndim == 2 else read[..., 3 if read.shape[2] == 4 else 0]


def _photo(name: str, folders: tuple[Path, ...]) -> Path | None:
    places = [folder / f"{name}{end}" for folder in folders for end in SUFFIXES]
    places += [ELSEWHERE[name]] if name in ELSEWHERE else []
    return next((place for place in places if place.exists()), None)
