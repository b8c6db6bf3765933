"""Faces, and the people whom the cut-out finds by them."""

import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.classical import Classical
from gpu_worker.engines.cutout import faces, fitted, people, pieces, removal, subject
from gpu_worker.engines.cutout.faces import Face
from gpu_worker.pixels import Pixels
from tests.gpu_worker.engines.pictures import FORMATS, LEMUR, PHOTOS

# Where her face is, in shares: centre, half of width and height.
FACE = (0.5, 0.42, 0.14, 0.18)


@pytest.fixture(scope="module")
def officer() -> Pixels:
    """A woman in black on a flag and a curtain, of 128 x 128 pixels."""
    return pixels.decode(FORMATS / "avif_plain.avif")[..., :3].copy()


@pytest.fixture(scope="module")
def in_grey(officer) -> Pixels:
    grey = cv2.cvtColor(officer, cv2.COLOR_RGB2GRAY)
    return np.dstack([grey] * 3)


@pytest.fixture
def old_processor(monkeypatch):
    monkeypatch.setattr(cv2, "checkHardwareSupport", lambda feature: False)
    monkeypatch.setattr(faces.platform, "machine", lambda: "x86_64")


@pytest.mark.parametrize("side", [128, 1600, 4000])
def test_a_face_is_found_at_its_place_whatever_the_size(officer, side):
    (face,) = faces.find(cv2.resize(officer, (side, side)))
    assert (face.x, face.y, face.width) == pytest.approx((0.49, 0.42, 0.41), abs=0.03)


def test_the_detector_is_there_once_the_engine_is_loaded(monkeypatch):
    faces._detector.cache_clear()
    Classical().load()
    monkeypatch.setitem(sys.modules, "dlib", None)  # the next import of it fails
    assert faces.find(np.zeros((40, 40, 3), np.uint8)) == []


def test_an_engine_is_loaded_where_the_detector_cannot_run(old_processor, monkeypatch):
    faces._detector.cache_clear()
    monkeypatch.setitem(sys.modules, "dlib", None)
    Classical().load()


def test_what_has_no_face_has_none():
    noise = np.random.default_rng(3).integers(0, 256, (300, 400, 3), np.uint8)
    assert [faces.find(one) for one in (pixels.decode(LEMUR), noise)] == [[], []]


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (40, 40)])
def test_a_picture_without_room_for_a_face_is_no_error(shape):
    assert faces.find(np.zeros((*shape, 3), np.uint8)) == []


def test_a_small_face_beside_a_large_one_is_left_out(officer):
    wide = np.full((512, 1024, 3), 90, np.uint8)
    wide[:, :512] = cv2.resize(officer, (512, 512))
    wide[100:260, 700:860] = cv2.resize(officer, (160, 160))
    alone = wide.copy()
    alone[:, :512] = 90
    assert [face.x < 0.5 for face in faces.find(wide)] == [True]
    assert [face.x > 0.5 for face in faces.find(alone)] == [True]


def test_a_face_stays_at_its_place_when_the_bars_are_left_out():
    face = Face(x=0.5, y=0.5, width=0.2, clearness=1.0)
    (inside,) = faces.within([face], np.s_[20:80, 50:150], (100, 200))
    assert inside == Face(x=0.5, y=0.5, width=0.4, clearness=1.0)
    (mirrored,) = faces.mirrored([Face(x=0.2, y=0.4, width=0.1, clearness=1.0)])
    assert mirrored.x == pytest.approx(0.8)


def test_faces_looked_for_at_once_are_the_same(officer):
    photos = [officer, officer[:, ::-1].copy(), pixels.decode(LEMUR)] * 4
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(faces.find, photos))
    assert found == [faces.find(photo) for photo in photos]


def test_a_set_with_the_face_and_the_body_holds_more_of_the_person():
    lab = np.random.default_rng(1).uniform(0, 60, (120, 160, 3)).astype(np.float32)
    parts = pieces.find(lab, np.zeros(lab.shape[:2], np.float32))
    face = Face(x=0.5, y=0.3, width=0.15, clearness=1.0)
    beside, below = np.abs(parts.places[:, 0] - 0.5), parts.places[:, 1]
    sets = np.stack([beside < 0.2, (beside < 0.2) & (below > 0.6), beside > 0.4])
    held = people.held(parts, [face], sets)
    assert held["faces"] == pytest.approx([1, 0, 0], abs=0.1)
    whole, body, wall = held["overlap with person"]
    assert whole > body > wall


def test_without_a_face_no_set_holds_any_person():
    lab = np.zeros((60, 80, 3), np.float32)
    parts = pieces.find(lab, np.zeros(lab.shape[:2], np.float32))
    held = people.held(parts, [], np.ones((3, len(parts.areas)), np.bool_))
    assert all(values.tolist() == [0, 0, 0] for values in held.values())


def test_a_face_comes_with_its_clothes_though_they_have_other_colours(in_grey):
    assert _share_of_face(subject.find(in_grey).mask) > 0.9


def test_where_the_processor_is_too_old_people_are_cut_out_as_before(
    in_grey, old_processor
):
    assert faces.find(in_grey) == []
    assert _share_of_face(subject.find(in_grey).mask) < 0.5
    cutout, _ = removal.cut_out(in_grey)
    assert cutout.shape == (128, 128, 4)


def test_a_person_between_bars_is_found_as_without(in_grey):
    barred = cv2.copyMakeBorder(in_grey, 0, 0, 30, 30, cv2.BORDER_CONSTANT)
    mask = cv2.resize(subject.find(barred).mask.astype(np.uint8), (188, 128)) > 0
    assert _share_of_face(mask[:, 30:-30]) > 0.9
    assert not mask[:, :30].any()


def test_raised_arms_are_part_of_the_person():
    photo = pixels.decode(PHOTOS / "person_arms_raised.jpg")
    truth = pixels.decode(PHOTOS / "person_arms_raised.alpha.png")[..., 0] > 127
    mask = subject.find(photo).mask.astype(np.uint8)
    mask = cv2.resize(mask, truth.shape[::-1]) > 0
    assert (mask & truth).sum() > 0.9 * (mask | truth).sum()


def test_the_likeliest_of_two_people_counts():
    parts = pieces.find(
        np.random.default_rng(1).random((200, 280, 3), np.float32) * 50,
        np.zeros((200, 280), np.float32),
    )
    some = [Face(x=x, y=0.3, width=0.1, clearness=1.0) for x in (0.25, 0.75)]
    opinion = np.full(len(parts.areas), 0.5, np.float32)
    both = people.first(parts, some, opinion)["person"]
    each = [people.first(parts, [one], opinion)["person"] for one in some]
    assert np.array_equal(both, np.maximum(*each))


def test_every_cue_of_faces_has_a_weight_and_no_weight_is_without_a_cue():
    lab = np.random.default_rng(1).random((60, 90, 3), np.float32) * 50
    parts = pieces.find(lab, np.zeros((60, 90), np.float32))
    opinion = np.full(len(parts.areas), 0.5, np.float32)
    some = [Face(x=0.5, y=0.3, width=0.2, clearness=1.0)]
    cuts = [lab[..., 0] > 25] * 2
    first = people.first(parts, some, opinion)
    second = people.second(parts, some, opinion, opinion, cuts)
    models = fitted.models()
    assert set(first) == set(models["first with a face"].lines)
    assert set(second) == set(models["second with a face"].lines)


def _share_of_face(mask: Pixels) -> float:
    """How much of her face is in a mask of the whole picture."""
    rows, columns = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    x, y, half_width, half_height = FACE
    across = (columns / mask.shape[1] - x) / half_width
    down = (rows / mask.shape[0] - y) / half_height
    return float(mask[np.hypot(across, down) < 1].mean())
