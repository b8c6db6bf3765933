"""`python -m bench.smart_mask --data FOLDER`: overlaps by kind of prompt, as a table.

`--pictures FILE.png` draws every mask over its photo, to be looked at. The engine runs
in this process, with the parameters of a job.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bench.smart_mask import cases, prompts
from bench.smart_mask.cases import Case, Mask
from gpu_worker.engines.smart_mask import masking, outline, source
from gpu_worker.engines.smart_mask.outline import Change
from gpu_worker.engines.smart_mask.prompts import Point, Prompt

TILE_PX = 300
# Nobody clicks again on a mask that is right.
GOOD = 0.9
GREEN, RED = (0, 255, 0), (255, 0, 0)


class Asked:
    """One photo, asked again and again; `seconds` of CPU that each mask took."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.image = source.read(case.photo)
        self.seconds: list[float] = []
        self.tiles: list[Any] = []

    def mask(self, prompt: Prompt, *, named: str) -> Mask:
        began = time.process_time()
        found = masking.find(self.image, prompt)
        made = outline.drawn(self.image, found, Change()) > 127
        self.seconds.append(time.process_time() - began)
        label = f"{self.case.name[:16]} {named} {self.case.score(made):.2f}"
        self.tiles.append(self._tile(made, f"{label} ({found[0].score:.2f})"))
        return made

    def _tile(self, made: Mask, text: str) -> Any:
        scale = TILE_PX / max(made.shape)
        size = round(made.shape[1] * scale), round(made.shape[0] * scale)
        shown = cv2.resize(self.image.rgb, size, interpolation=cv2.INTER_AREA)
        small = [
            cv2.resize(one.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            for one in (made, self.case.nearest(made))
        ]
        tint = cv2.addWeighted(shown, 0.6, np.full_like(shown, GREEN), 0.4, 0)
        shown = np.where(small[0][..., None] > 0, tint, shown // 2)
        edge = cv2.morphologyEx(small[1], cv2.MORPH_GRADIENT, np.ones((2, 2)))
        shown[edge > 0] = RED
        tile = np.zeros((TILE_PX + 16, TILE_PX, 3), np.uint8)
        tile[: size[1], : size[0]] = shown
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(tile, text, (2, TILE_PX + 11), font, 0.38, (255, 255, 255))
        return tile


def points(places: list[tuple[tuple[int, int], int]]) -> Prompt:
    return Prompt(
        points=tuple(Point(x=x, y=y, on_object=label == 1) for (x, y), label in places)
    )


def by_point(asked: Asked) -> float:
    place = prompts.middle(asked.case.truths[0])
    return asked.case.score(asked.mask(points([(place, 1)]), named="point"))


def by_any_point(asked: Asked) -> float:
    place = prompts.anywhere(asked.case.truths[0], np.random.default_rng(3))
    return asked.case.score(asked.mask(points([(place, 1)]), named="off"))


def by_three_points(asked: Asked) -> float:
    given = [(prompts.middle(asked.case.truths[0]), 1)]
    found = asked.mask(points(given), named="1")
    for number in (2, 3):
        if asked.case.score(found) >= GOOD:
            break
        given.append(prompts.correction(found, asked.case.nearest(found)))
        found = asked.mask(points(given), named=str(number))
    return asked.case.score(found)


def by_box(asked: Asked) -> float:
    prompt = Prompt(boxes=(tuple(prompts.box(asked.case.truths[0])),))  # type: ignore[arg-type]
    return asked.case.score(asked.mask(prompt, named="box"))


def by_loose_box(asked: Asked) -> float:
    box = prompts.loose_box(asked.case.truths[0], np.random.default_rng(3))
    prompt = Prompt(boxes=(tuple(box),))  # type: ignore[arg-type]
    return asked.case.score(asked.mask(prompt, named="loose box"))


def by_box_and_point(asked: Asked) -> float:
    truth = asked.case.truths[0]
    prompt = Prompt(
        boxes=(tuple(prompts.box(truth)),),  # type: ignore[arg-type]
        points=points([(prompts.middle(truth), 1)]).points,
    )
    return asked.case.score(asked.mask(prompt, named="box+point"))


def by_strokes(asked: Asked) -> float:
    prompt = Prompt(guide=prompts.strokes(asked.case.truths[0]))
    return asked.case.score(asked.mask(prompt, named="strokes"))


def by_rough_mask(asked: Asked) -> float:
    prompt = Prompt(guide=prompts.rough(asked.case.truths[0]))
    return asked.case.score(asked.mask(prompt, named="rough"))


def by_paint(painted: Callable[[Mask], Mask], named: str) -> Callable[[Asked], float]:
    def scored(asked: Asked) -> float:
        prompt = Prompt(guide=painted(asked.case.truths[0]))
        return asked.case.score(asked.mask(prompt, named=named))

    return scored


def by_auto(asked: Asked) -> float:
    if not asked.case.is_subject:
        return float("nan")
    return asked.case.score(asked.mask(Prompt(), named="auto"))


KINDS: dict[str, Callable[[Asked], float]] = {
    "point": by_point,
    "any point": by_any_point,
    "3 points": by_three_points,
    "box": by_box,
    "loose box": by_loose_box,
    "box+point": by_box_and_point,
    "strokes": by_strokes,
    "rough mask": by_rough_mask,
    "small blob": by_paint(partial(prompts.blob, share=0.25), "small blob"),
    "blob": by_paint(partial(prompts.blob, share=0.5), "blob"),
    "large blob": by_paint(partial(prompts.blob, share=0.8), "large blob"),
    "shrunk": by_paint(partial(prompts.shrunk, share=0.15), "shrunk"),
    "shrunk more": by_paint(partial(prompts.shrunk, share=0.3), "shrunk more"),
    "much too small": by_paint(partial(prompts.shrunk, share=0.5), "much too small"),
    "exact mask": by_paint(np.copy, "exact"),
    "much too large": by_paint(partial(prompts.rough, share=0.06), "much too large"),
    "shifted": by_paint(prompts.shifted, "shifted"),
    "hull": by_paint(prompts.hull, "hull"),
    "auto": by_auto,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kinds", default=",".join(KINDS), help="comma list")
    parser.add_argument("--pictures", type=Path, help="a PNG to write")
    arguments = parser.parse_args()
    kinds = arguments.kinds.split(",")
    asked = [Asked(case) for case in cases.read(arguments.data)]
    print(f"{'IoU':26}", *[f"{kind:>14}" for kind in kinds])
    table = np.array([_row(one, kinds) for one in asked])
    for name, rows in {
        "mean of the references": table[[one.case.is_subject for one in asked]],
        "mean of all": table,
    }.items():
        _print(name, np.nanmean(rows, axis=0))
    seconds = [second for one in asked for second in one.seconds]
    print(f"CPU-s per mask: mean {np.mean(seconds):.2f}, most {max(seconds):.2f}")
    if arguments.pictures:
        _draw(arguments.pictures, [tile for one in asked for tile in one.tiles])


def _row(asked: Asked, kinds: list[str]) -> list[float]:
    row = [KINDS[kind](asked) for kind in kinds]
    _print(asked.case.name, row)
    return row


def _print(name: str, numbers: Any) -> None:
    print(f"{name:26}", *[f"{number:14.3f}" for number in numbers], flush=True)


def _draw(path: Path, tiles: list[Any]) -> None:
    columns = round(len(tiles) ** 0.5)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[n : n + columns]) for n in range(0, len(tiles), columns)]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
