"""Find how much each cue counts: `python -m bench.cutout.fit`.

Logistic regressions on the superpixels of photos with known alphas and of composites of
them, in three steps: the cues of the picture alone; the same with the cuts that the
first opinion leads to; and what the signs of a mask say about its overlap. In the first
two, photos with faces have a second regression of their own. The opinions that a later
step learns from are always of models that did not see the subject. Prints how good the
cut-outs are on subjects left out, then writes the coefficients.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.cutout import composites, photos
from bench.cutout.photos import Case
from gpu_worker.engines.cutout import certainty, cues, faces, fitted, people, subject
from gpu_worker.engines.cutout.faces import Face
from gpu_worker.engines.cutout.fitted import Line, Model
from gpu_worker.engines.cutout.pieces import Floats, Pieces
from gpu_worker.engines.cutout.search import Search
from gpu_worker.pixels import Pixels

FOLDS = 5
WEIGHTS = {"photo": 2.0, "added": 1.0, "composite": 0.6, "masked": 0.6, "people": 0.6}
# Where the lines of cues bend: at these shares of all values.
BENDS = (0.2, 0.5, 0.8)
RIDGE = 1e-3
RIDGE_OF_CERTAINTY = 5e-2
ROUNDS = 6
DIGITS = 5
# Overlaps from useless to good, as the likelihood that a mask is of use.
USELESS, GOOD = 0.45, 0.78

Cues = dict[str, Floats]
Doubles = NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class Example:
    """A case at the engine's working size, and what is learnt of it step by step."""

    case: Case
    rgb: Pixels
    lab: Floats
    focus: Floats
    truths: list[Pixels]
    pieces: Pieces
    coarse: Pieces
    faces: list[Face]
    first: Cues
    first_coarse: Cues
    opinion: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    opinion_coarse: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    trials: list[NDArray[np.bool_]] = field(default_factory=list)
    second: Cues = field(default_factory=dict)
    with_face: Cues = field(default_factory=dict)
    search: Search | None = None
    iou: float = 0.0

    @property
    def truth(self) -> Floats:
        """The share of each superpixel that is subject."""
        return self.pieces.mean_of(self.truths[0]) / np.float32(255)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.cutout.fit", description=__doc__)
    parser.add_argument("--data", type=Path, help="a folder with a MANIFEST.json")
    parser.add_argument(
        "--photos", type=Path, help="a folder of photos, each with <name>.alpha.png"
    )
    parser.add_argument(
        "--masked", type=Path, action="append", default=[], help="more such folders"
    )
    parser.add_argument(
        "--people",
        type=Path,
        action="append",
        default=[],
        help="such folders for the models with a face alone",
    )
    parser.add_argument("--out", type=Path, default=fitted.FILE)
    arguments = parser.parse_args()
    examples = [_example(case) for case in _cases(arguments)]
    arguments.out.write_text(_written(fit(examples)))


def fit(examples: Sequence[Example]) -> dict[str, Model]:
    """All models; the examples are filled in by models that did not see them."""
    folds = [
        {"first": _of_pieces(_seen(examples, fold), "first")} for fold in range(FOLDS)
    ]
    for fold, models in enumerate(folds):
        for one in _with_faces(_left_out(examples, fold)):
            opinion = fitted.likelihood(one.first, models["first"])
            one.with_face = people.first(one.pieces, one.faces, opinion)
    step = "first with a face"
    found = {step: _of_faces(examples)}
    for fold, models in enumerate(folds):
        models[step] = _of_faces(_seen(examples, fold))
        for one in _left_out(examples, fold):
            _try(one, models)
    for fold, models in enumerate(folds):
        models["second"] = _of_pieces(_seen(examples, fold), "second")
        for one in _with_faces(_left_out(examples, fold)):
            opinion = fitted.likelihood(one.second, models["second"])
            one.with_face = people.second(
                one.pieces, one.faces, opinion, one.opinion, one.trials
            )
    step = "second with a face"
    found[step] = _of_faces(examples)
    for fold, models in enumerate(folds):
        models[step] = _of_faces(_seen(examples, fold))
        for one in _left_out(examples, fold):
            _finish(one, models)
    _report(examples)
    return {
        "first": _of_pieces(examples, "first"),
        "second": _of_pieces(examples, "second"),
        **found,
        "certainty": _of_certainty(examples),
    }


def _cases(arguments: argparse.Namespace) -> list[Case]:
    """Photos, and two sets of composites: of the known and of the added subjects."""
    known = photos.listed(arguments.data) if arguments.data else photos.own()
    more = photos.pairs(arguments.photos, "added") if arguments.photos else []
    mixed = composites.made(known) + composites.made(known, 2 * len(more), of=more)
    masked = [case for one in arguments.masked for case in photos.pairs(one, "masked")]
    others = [case for one in arguments.people for case in photos.pairs(one, "people")]
    return [*known, *more, *mixed, *masked, *others]


def _written(models: Mapping[str, Model]) -> str:
    """The file that `fitted` reads, a line for each cue."""
    return "{\n" + ",\n".join(map(_row, models.items())) + "\n}\n"


def _row(named: tuple[str, Model]) -> str:
    name, model = named
    lines = ",\n".join(
        f"  {json.dumps(cue)}: {json.dumps(_numbers(line))}"
        for cue, line in model.lines.items()
    )
    offset = round(model.offset, DIGITS)
    return f'"{name}": {{"offset": {offset}, "lines": {{\n{lines}\n}}}}'


def _numbers(line: Line) -> list[float]:
    """The slope, then place and slope of each bend."""
    flat = [line.slope, *(number for bend in line.bends for number in bend)]
    return [round(number, DIGITS) for number in flat]


def _example(case: Case) -> Example:
    small, lab, focus = subject.prepared(case.photo)
    size = small.shape[1], small.shape[0]
    inside = subject.without_bars(small)
    lab, focus = (np.ascontiguousarray(one[inside]) for one in (lab, focus))
    parts, coarse = subject.looks(lab, focus)
    truths = [
        cv2.resize(alpha, size, interpolation=cv2.INTER_AREA) for alpha in case.alphas
    ]
    return Example(
        case=case,
        rgb=np.ascontiguousarray(small[inside]),
        lab=lab,
        focus=focus,
        truths=[truth[inside] for truth in truths],
        pieces=parts,
        coarse=coarse,
        faces=faces.within(faces.find(case.photo), inside, small.shape),
        first=cues.first(parts),
        first_coarse=cues.first(coarse),
    )


def _try(one: Example, models: Mapping[str, Model]) -> None:
    one.opinion = subject.thought(one.first, one.pieces, one.faces, models)
    one.opinion_coarse = subject.thought(
        one.first_coarse, one.coarse, one.faces, models
    )
    one.trials = subject.tried(one.rgb, one.opinion, one.pieces)
    one.second = one.first | cues.second(one.pieces, one.opinion, one.trials)


def _finish(one: Example, models: Mapping[str, Model]) -> None:
    opinion = (
        fitted.likelihood(one.with_face, models["second with a face"])
        if one.faces
        else fitted.likelihood(one.second, models["second"])
    )
    coarser = subject.outlined(one.rgb, one.opinion_coarse, one.coarse)
    again = subject.mirrored(one.rgb, one.lab, one.focus, one.faces, models)
    one.search = Search(
        likely=subject.spread(opinion, one.pieces),
        mask=subject.outlined(one.rgb, opinion, one.pieces),
        others=[*one.trials, coarser, *again],
    )
    mask = one.search.mask
    one.iou = max(certainty.overlap(mask, truth > 127) for truth in one.truths)


def _of_pieces(examples: Sequence[Example], step: str) -> Model:
    """Of all but the photos for the models with a face."""
    examples = [one for one in examples if one.case.group != "people"]
    return _of_tables([getattr(one, step) for one in examples], examples)


def _of_faces(examples: Sequence[Example]) -> Model:
    examples = _with_faces(examples)
    return _of_tables([one.with_face for one in examples], examples)


def _of_tables(tables: Sequence[Cues], examples: Sequence[Example]) -> Model:
    weights = [one.pieces.areas * WEIGHTS[one.case.group] for one in examples]
    return _logistic(
        {name: _some([table[name] for table in tables]) for name in tables[0]},
        _some([one.truth for one in examples]),
        _some(weights),
        RIDGE,
        bent=True,
    )


def _with_faces(examples: Sequence[Example]) -> list[Example]:
    return [one for one in examples if one.faces]


def _some(columns: Sequence[Floats]) -> Floats:
    """Every other superpixel: the rest are much like their neighbours."""
    return np.concatenate([column[::2] for column in columns])


def _of_certainty(examples: Sequence[Example]) -> Model:
    examples = [one for one in examples if _is_found(one)]
    signs = [_signs(one) for one in examples]
    overlaps = np.array([one.iou for one in examples])
    return _logistic(
        {name: np.concatenate([table[name] for table in signs]) for name in signs[0]},
        np.clip((overlaps - USELESS) / (GOOD - USELESS), 0, 1),
        np.array([WEIGHTS[one.case.group] for one in examples]),
        RIDGE_OF_CERTAINTY,
        bent=False,
    )


def _is_found(one: Example) -> bool:
    """Where nothing is found, nothing is certain: no signs are needed."""
    return one.search is not None and bool(one.search.mask.any())


def _certainty(one: Example, model: Model) -> float:
    if not _is_found(one):
        return 0.0
    return float(fitted.likelihood(_signs(one), model)[0])


def _signs(one: Example) -> Cues:
    if one.search is None:
        raise ValueError("the example has not been cut out yet")
    return certainty.signs(one.search, one.rgb)


def _logistic(
    table: Cues, truth: Floats, weights: Floats, ridge: float, *, bent: bool
) -> Model:
    """Newton's method, on cues of mean 0 and deviation 1, for truths of 0 to 1."""
    places = {name: _places(values) if bent else [] for name, values in table.items()}
    columns = [
        column
        for name, values in table.items()
        for column in (values, *(np.maximum(values - one, 0) for one in places[name]))
    ]
    raw: Doubles = np.stack(columns, axis=1).astype(np.float64)
    shares = (weights / weights.sum())[:, None]
    mean = (raw * shares).sum(axis=0)
    spread = np.sqrt((shares * (raw - mean) ** 2).sum(axis=0)) + 1e-6
    rows = np.hstack([(raw - mean) / spread, np.ones((len(raw), 1))])
    light = rows.astype(np.float32)
    penalty = np.eye(rows.shape[1]) * ridge
    penalty[-1, -1] = 1e-9
    found = np.zeros(rows.shape[1])
    for _ in range(ROUNDS):
        likely = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = shares[:, 0] * likely * (1 - likely) + 1e-9 * shares[:, 0]
        gradient = rows.T @ (shares[:, 0] * (truth - likely)) - penalty @ found
        # Single precision is enough for the steps, and takes half the time.
        curved = (light * slope[:, None].astype(np.float32)).T @ light
        found += np.linalg.solve(curved.astype(np.float64) + penalty, gradient)
    slopes = iter(map(float, found[:-1] / spread))
    lines = {
        name: Line(slope=next(slopes), bends=tuple((at, next(slopes)) for at in bends))
        for name, bends in places.items()
    }
    offset = float(found[-1] - (found[:-1] * mean / spread).sum())
    return Model(offset=offset, lines=lines)


def _places(values: Floats) -> list[float]:
    """Where a cue's line bends; nowhere if it has two values only."""
    inner = np.unique(np.quantile(values, BENDS).astype(np.float32))
    return [float(one) for one in inner if values.min() < one < values.max()]


def _fold(one: Example, examples: Sequence[Example]) -> int:
    subjects = sorted({other.case.subject for other in examples})
    return subjects.index(one.case.subject) * 7 % FOLDS


def _seen(examples: Sequence[Example], fold: int) -> list[Example]:
    return [one for one in examples if _fold(one, examples) != fold]


def _left_out(examples: Sequence[Example], fold: int) -> list[Example]:
    return [one for one in examples if _fold(one, examples) == fold]


def _report(examples: Sequence[Example]) -> None:
    """Overlaps of the left out, and what a certainty fitted without them says."""
    sure = {}
    for fold in range(FOLDS):
        model = _of_certainty(_seen(examples, fold))
        for one in _left_out(examples, fold):
            sure[one.case.name] = _certainty(one, model)
    for group in WEIGHTS:
        chosen = [one for one in examples if one.case.group == group]
        if not chosen:
            continue
        overlaps = [one.iou for one in chosen]
        print(f"{group}: {len(chosen)} cases, mean IoU {np.mean(overlaps):.3f}")
        for least in (0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
            failed = [one for one in chosen if one.iou < 0.5]
            missed = sum(sure[one.case.name] >= least for one in failed)
            good = [one for one in chosen if one.iou >= 0.8]
            flagged = sum(sure[one.case.name] < least for one in good)
            print(
                f"  certain from {least}: {missed} of {len(failed)} failures missed, "
                f"{flagged} of {len(good)} good ones flagged"
            )


if __name__ == "__main__":
    main()
