"""Find how much each cue counts: `python -m bench.cutout.fit`.

Logistic regressions on the superpixels of photos with known alphas and of composites of
them, in five steps: the cues of the picture alone; the same with the cuts that the
first opinion leads to; where outlines are; which proposals for the whole subject are
best; and what the signs of a mask say about its overlap. In the first two, photos with
faces have a second regression of their own. The opinions that a later step learns from
are always of models that did not see the subject. Prints how good the cut-outs are on
subjects left out, then writes the coefficients.
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
from gpu_worker.engines.cutout import (
    boundaries,
    certainty,
    cues,
    faces,
    fitted,
    people,
    proposals,
    subject,
)
from gpu_worker.engines.cutout.boundaries import Boundaries
from gpu_worker.engines.cutout.faces import Face
from gpu_worker.engines.cutout.fitted import Line, Model
from gpu_worker.engines.cutout.pieces import Floats, Pieces
from gpu_worker.engines.cutout.proposals import Known
from gpu_worker.engines.cutout.removal import CERTAIN
from gpu_worker.engines.cutout.search import Search
from gpu_worker.engines.cutout.subject import Weighed
from gpu_worker.pixels import Pixels

FOLDS = 5
WEIGHTS = {"photo": 2.0, "added": 1.0, "composite": 0.6, "masked": 0.6, "people": 0.6}
# Those of people are not for the opinions, and harder than everyday photos.
WEIGHTS_OF_WHOLES = WEIGHTS | {"people": 0.2}
# Where the lines of cues bend: at these shares of all values.
BENDS = (0.2, 0.5, 0.8)
# Nearer bends, in shares of all values' range, say nothing but how steep a line can be.
NARROWEST = 0.005
RIDGE = 1e-3
RIDGE_OF_CERTAINTY = 0.1
ROUNDS = 6
# Of a picture's proposals the best and some by chance are learnt from.
BEST_PROPOSALS, ANY_PROPOSALS = 30, 300
RANK_SHARPNESS = 10.0
RANK_ROUNDS, RANK_BATCH, RANK_RATE, RANK_RIDGE = 30, 16, 0.02, 1e-3
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
    boundaries: Boundaries
    first: Cues
    first_coarse: Cues
    opinion: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    opinion_coarse: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
    trials: list[NDArray[np.bool_]] = field(default_factory=list)
    second: Cues = field(default_factory=dict)
    with_face: Cues = field(default_factory=dict)
    cuts: list[NDArray[np.bool_]] = field(default_factory=list)
    weighed: Weighed | None = None
    known: Known | None = None
    proposals: Cues = field(default_factory=dict)
    overlaps: Floats = field(default_factory=lambda: np.zeros(0, np.float32))
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
        help="such folders for all but the opinions without a face",
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
        seen = _seen(examples, fold)
        models[step], models["boundary"] = _of_faces(seen), _of_boundaries(seen)
        for one in _left_out(examples, fold):
            _propose(one, models)
    for fold, models in enumerate(folds):
        models["proposal"] = _of_proposals(_seen(examples, fold))
        for one in _left_out(examples, fold):
            _finish(one, models)
    _report(examples)
    return {
        "first": _of_pieces(examples, "first"),
        "second": _of_pieces(examples, "second"),
        **found,
        "boundary": _of_boundaries(examples),
        "proposal": _of_proposals(examples),
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
        boundaries=boundaries.find(lab, parts),
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


def _propose(one: Example, models: Mapping[str, Model]) -> None:
    """The cuts, and what is learnt of proposals made with them."""
    opinion = (
        fitted.likelihood(one.with_face, models["second with a face"])
        if one.faces
        else fitted.likelihood(one.second, models["second"])
    )
    one.weighed = Weighed(
        faces=one.faces,
        cues=one.first,
        first=one.opinion,
        second=opinion,
        trials=one.trials,
        mask=subject.outlined(one.rgb, opinion, one.pieces),
    )
    one.cuts = [
        *one.trials,
        one.weighed.mask,
        subject.outlined(one.rgb, one.opinion_coarse, one.coarse),
        *subject.mirrored(one.rgb, one.lab, one.focus, one.faces, models),
    ]
    one.known = subject.known(one.lab, one.pieces, one.weighed, one.cuts, models)
    one.proposals, one.overlaps = _sample(one.known, one.truth)


def _sample(known: Known, truth: Floats) -> tuple[Cues, Floats]:
    """The cues of some proposals, the best among them, and their overlaps."""
    sets, areas = proposals.made(known), known.pieces.areas
    shared = sets @ (areas * truth)
    overlaps = shared / (sets @ areas + areas @ truth - shared + 1e-9)
    best = np.argsort(-overlaps, kind="stable")[:BEST_PROPOSALS]
    any_of = np.random.default_rng(0).permutation(len(sets))[:ANY_PROPOSALS]
    chosen = np.union1d(best, any_of)
    told = proposals.cues(known, sets[chosen])
    return told, overlaps[chosen].astype(np.float32)


def _finish(one: Example, models: Mapping[str, Model]) -> None:
    if one.weighed is None or one.known is None:
        raise ValueError("the example has no proposals yet")
    one.search = subject.concluded(one.rgb, one.weighed, one.known, one.cuts, models)
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


def _of_boundaries(examples: Sequence[Example]) -> Model:
    """Whether an outline runs between two superpixels that touch."""
    found = [one.boundaries for one in examples]
    parted = [
        np.abs(one.truth[there.one] - one.truth[there.other])
        for one, there in zip(examples, found, strict=True)
    ]
    weights = [
        there.lengths / there.lengths.sum() * WEIGHTS[one.case.group]
        for one, there in zip(examples, found, strict=True)
        if len(there.lengths)
    ]
    return _logistic(
        {name: _some([there.cues[name] for there in found]) for name in found[0].cues},
        _some(parted),
        _some(weights),
        RIDGE,
        bent=True,
    )


def _of_proposals(examples: Sequence[Example]) -> Model:
    """The ranking by which the vote in each picture overlaps most with the subject."""
    examples = [one for one in examples if len(one.overlaps)]
    tables = [one.proposals for one in examples]
    table = {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}
    overlaps = np.concatenate([one.overlaps for one in examples])
    counts = [len(one.overlaps) for one in examples]
    weights = np.array([WEIGHTS_OF_WHOLES[one.case.group] for one in examples])
    each = np.repeat(weights / counts, counts).astype(np.float32)
    rows = _Rows.of(table, each, bent=True)
    start = RANK_SHARPNESS * rows.logistic(overlaps, RIDGE)
    votes = np.split(np.arange(len(overlaps)), np.cumsum(counts)[:-1])
    return rows.model(_ranked(rows, overlaps, votes, weights / weights.mean(), start))


def _ranked(
    rows: _Rows,
    overlaps: Floats,
    votes: list[NDArray[np.intp]],
    weights: Doubles,
    start: Doubles,
) -> Doubles:
    """Coefficients that raise the expected overlap of each vote, by Adam (Kingma and
    Ba, 2015) with a rate that falls to nothing."""
    found, light = start.copy(), rows.rows.astype(np.float32)
    mean, square = np.zeros_like(found), np.zeros_like(found)
    chance, steps = np.random.default_rng(0), RANK_ROUNDS * (len(votes) // RANK_BATCH)
    for step in range(steps):
        gradient = RANK_RIDGE * (found - start)
        for number in chance.choice(len(votes), RANK_BATCH, replace=False):
            inner, there = light[votes[number]], overlaps[votes[number]]
            odds = inner @ found.astype(np.float32)
            shares = np.exp(odds - odds.max())
            shares /= shares.sum()
            up = (shares * (there - shares @ there)) @ inner
            gradient -= weights[number] / RANK_BATCH * up
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.99 * square + 0.01 * gradient**2
        unbiased = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.99 ** (step + 1))
        rate = RANK_RATE / 2 * (1 + np.cos(np.pi * step / steps))
        found -= rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-6)
    return found


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
        np.array([WEIGHTS_OF_WHOLES[one.case.group] for one in examples]),
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
    """The logistic regression, for truths of 0 to 1."""
    rows = _Rows.of(table, weights, bent=bent)
    return rows.model(rows.logistic(truth, ridge))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Cues and their bends, each column of mean 0 and deviation 1, and a last one for
    the offset."""

    rows: Doubles
    shares: Doubles
    mean: Doubles
    spread: Doubles
    places: Mapping[str, list[float]]

    @classmethod
    def of(cls, table: Cues, weights: Floats, *, bent: bool) -> _Rows:
        places = {
            name: _places(values) if bent else [] for name, values in table.items()
        }
        columns = [
            column
            for name, values in table.items()
            for column in (
                values,
                *(np.maximum(values - one, 0) for one in places[name]),
            )
        ]
        raw: Doubles = np.stack(columns, axis=1).astype(np.float64)
        shares = (weights / weights.sum())[:, None]
        mean = (raw * shares).sum(axis=0)
        spread = np.sqrt((shares * (raw - mean) ** 2).sum(axis=0)) + 1e-6
        rows = np.hstack([(raw - mean) / spread, np.ones((len(raw), 1))])
        return cls(
            rows=rows, shares=shares[:, 0], mean=mean, spread=spread, places=places
        )

    def logistic(self, truth: Floats, ridge: float) -> Doubles:
        """The coefficients of a logistic regression, by Newton's method."""
        light = self.rows.astype(np.float32)
        penalty = np.eye(self.rows.shape[1]) * ridge
        penalty[-1, -1] = 1e-9
        found = np.zeros(self.rows.shape[1])
        for _ in range(ROUNDS):
            likely = 1 / (1 + np.exp(-np.clip(self.rows @ found, -30, 30)))
            slope = self.shares * likely * (1 - likely) + 1e-9 * self.shares
            miss = self.rows.T @ (self.shares * (truth - likely))
            # Single precision is enough for the steps, and takes half the time.
            curved = (light * slope[:, None].astype(np.float32)).T @ light
            found += np.linalg.solve(
                curved.astype(np.float64) + penalty, miss - penalty @ found
            )
        return found

    def model(self, found: Doubles) -> Model:
        slopes = iter(map(float, found[:-1] / self.spread))
        lines = {
            name: Line(
                slope=next(slopes), bends=tuple((at, next(slopes)) for at in bends)
            )
            for name, bends in self.places.items()
        }
        offset = float(found[-1] - (found[:-1] * self.mean / self.spread).sum())
        return Model(offset=offset, lines=lines)


def _places(values: Floats) -> list[float]:
    """Where a cue's line bends: at no end and not where it bends already, so nowhere if
    the cue has two values only."""
    least, most = float(values.min()), float(values.max())
    width, found = NARROWEST * (most - least), [least]
    for one in np.quantile(values, BENDS).astype(np.float32):
        if found[-1] + width < one < most - width:
            found.append(float(one))
    return found[1:]


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
        for least in (0.6, 0.7, 0.75, CERTAIN, 0.85, 0.9):
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
