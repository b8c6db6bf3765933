"""How sure the cut-out without a model is, on masks whose worth is known."""

import cv2
import numpy as np

from gpu_worker.engines.cutout import certainty, fitted, subject
from gpu_worker.engines.cutout.search import Search


def picture_of_a_disc() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:200, 0:280]
    disc = np.hypot(rows - 100, columns - 90) < 55
    picture = np.where(disc[..., None], [200, 60, 40], [60, 120, 70])
    noise = np.random.default_rng(3).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8), disc


def sure_of(
    others: list[np.ndarray], *, doubt: float = 0.02, support: float = 0.85
) -> float:
    picture, disc = picture_of_a_disc()
    likely = np.where(disc, 1 - doubt, doubt).astype(np.float32)
    search = Search(likely=likely, mask=disc, others=others, support=support)
    return certainty.of(search, picture)


def test_a_mask_that_every_cut_finds_is_certain():
    _, disc = picture_of_a_disc()
    assert sure_of([disc] * 6) > 0.8


def test_a_mask_unlike_what_is_likely_is_less_certain():
    _, disc = picture_of_a_disc()
    assert sure_of([disc] * 6, support=0.4) < sure_of([disc] * 6)


def test_one_cut_elsewhere_makes_a_mask_less_certain():
    _, disc = picture_of_a_disc()
    assert sure_of([*[disc] * 5, disc[:, ::-1]]) < sure_of([disc] * 6) - 0.05


def test_an_undecided_opinion_is_uncertain():
    _, disc = picture_of_a_disc()
    assert sure_of([disc] * 6, doubt=0.4) < 0.8


def test_the_mirrored_search_is_laid_back_on_the_picture():
    picture, disc = picture_of_a_disc()
    small, lab, focus = subject.prepared(picture)
    cuts = subject.mirrored(small, lab, focus, [], fitted.models())
    shown = cv2.resize(disc.astype(np.uint8), small.shape[1::-1]) > 0
    assert [certainty.overlap(cut, shown) > 0.9 for cut in cuts] == [True] * 3
