"""Whole sets of superpixels: what is proposed, what of it stands out, and the outline
that is chosen."""

import numpy as np
import pytest

from gpu_worker.engines.cutout import (
    choice,
    cues,
    fitted,
    pieces,
    proposals,
    subject,
)
from gpu_worker.engines.cutout.pieces import Pieces
from gpu_worker.engines.cutout.proposals import Known, Ranked

SHAPE = (180, 260)


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A subject in two colours on a plain ground, and its mask."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    disc = np.hypot(rows - 90, columns - 130) < 50
    lab = np.full((*SHAPE, 3), (55, -10, 12), np.float32)
    lab[disc & (rows < 90)] = (70, 30, 30)
    lab[disc & (rows >= 90)] = (25, 5, -30)
    noise = np.random.default_rng(2).normal(0, 1.5, lab.shape)
    return (lab + noise).astype(np.float32), disc


def known_of(lab: np.ndarray, doubt: float = 0.5) -> tuple[Known, Pieces, np.ndarray]:
    """What is known of a picture whose opinion is the same everywhere."""
    parts = pieces.find(lab, np.zeros(lab.shape[:2], np.float32))
    opinion = np.full(len(parts.areas), doubt, np.float32)
    nothing = [np.zeros(lab.shape[:2], np.bool_)] * 7
    weighed = subject.Weighed(
        faces=[],
        cues=cues.first(parts),
        first=opinion,
        second=opinion,
        trials=nothing[:2],
        mask=nothing[0],
    )
    known = subject.known(lab, parts, weighed, nothing, fitted.models())
    return known, parts, opinion


def overlaps(sets: np.ndarray, parts: Pieces, disc: np.ndarray) -> np.ndarray:
    truth = parts.mean_of(disc)
    shared = sets @ (parts.areas * truth)
    return shared / (sets @ parts.areas + parts.areas @ truth - shared)


def test_an_outline_is_likely_where_colours_part_and_nowhere_else():
    lab, disc = picture()
    known, parts, _ = known_of(lab)
    truth = parts.mean_of(disc) > 0.5
    edges = known.boundaries
    across = truth[edges.one] != truth[edges.other]
    upper = parts.mean_of(lab[..., 0]) > 62
    alike = ~across & (upper[edges.one] == upper[edges.other])
    assert known.parted[across].mean() > 5 * known.parted[alike].mean()


def test_boundaries_are_of_all_superpixels_that_touch():
    known, parts, _ = known_of(picture()[0])
    edges = known.boundaries
    touching = np.zeros_like(parts.neighbours)
    touching[edges.one, edges.other] = touching[edges.other, edges.one] = True
    assert (touching == parts.neighbours).all()
    assert (edges.one < edges.other).all()


def test_a_subject_of_two_colours_is_proposed_as_a_whole():
    lab, disc = picture()
    known, parts, _ = known_of(lab)
    assert overlaps(proposals.made(known), parts, disc).max() > 0.9


def test_no_proposal_is_made_twice_and_none_is_empty_or_everything():
    known, parts, _ = known_of(picture()[0])
    sets = proposals.made(known)
    assert len(np.unique(sets, axis=0)) == len(sets)
    areas = sets @ parts.areas
    assert (areas > 0).all()
    assert (areas < 1).all()


def voted(known: Known) -> np.ndarray:
    return choice.opinions(known, ranked(known))[-1]


def ranked(known: Known) -> Ranked:
    return proposals.ranked(known, fitted.models()["proposal"])


def test_the_vote_finds_a_whole_that_the_opinion_does_not_see():
    lab, disc = picture()
    known, parts, opinion = known_of(lab, doubt=0.3)
    assert overlaps((opinion > 0.5)[None], parts, disc)[0] == 0
    assert overlaps((voted(known) > 0.5)[None], parts, disc)[0] > 0.9


def test_the_vote_is_of_all_proposals_and_the_softer_the_more_alike():
    shares = ranked(known_of(picture()[0])[0]).shares
    assert shares().sum() == pytest.approx(1, abs=1e-4)
    assert shares(softness=3).sum() == pytest.approx(1, abs=1e-4)
    assert shares(softness=3).max() < shares().max()


def test_of_two_outlines_that_with_more_support_is_chosen():
    lab, disc = picture()
    known, parts, _ = known_of(lab, doubt=0.3)
    whole, half = disc, disc & (lab[..., 0] > 62)
    supports = [
        choice.support(known, ranked(known), parts.mean_of(one))
        for one in (half, whole)
    ]
    assert supports[1][1] > supports[0][1] + 0.1
    assert choice.best(supports) == 1


def test_another_outline_than_the_mean_s_has_to_be_clearly_better():
    assert choice.best([(0.7, 0.6), (0.7, 0.61), (0.5, 0.5)]) == 0
    assert choice.best([(0.7, 0.6), (0.7, 0.61), (0.7, 0.7)]) == 2


def test_every_cue_of_boundaries_and_proposals_has_a_weight_and_no_weight_is_over():
    known, _, _ = known_of(picture()[0])
    models, sets = fitted.models(), proposals.made(known)
    assert set(known.boundaries.cues) == set(models["boundary"].lines)
    assert set(proposals.cues(known, sets)) == set(models["proposal"].lines)


@pytest.mark.parametrize("shape", [(32, 32), (32, 280), (64, 48)])
def test_a_plain_picture_is_no_error(shape):
    known, _, opinion = known_of(np.full((*shape, 3), (50, 0, 0), np.float32))
    for one in choice.opinions(known, ranked(known)):
        assert one.shape == opinion.shape
        assert np.isfinite(one).all()


def test_without_any_proposal_the_opinion_stays(monkeypatch):
    known, parts, opinion = known_of(picture()[0])
    monkeypatch.setattr(proposals, "LEAST_AREA", 1.0)
    (only,) = choice.opinions(known, ranked(known))
    assert only.tolist() == opinion.tolist()
    everything = np.ones_like(parts.areas)
    assert choice.support(known, ranked(known), everything) == pytest.approx((0.5, 0.5))
