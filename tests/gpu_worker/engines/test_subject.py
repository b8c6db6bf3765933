"""Where a subject may be and how many there may be; every case also mirrored."""

import cv2
import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.cutout import cues, fitted, paths, pieces, subject
from gpu_worker.pixels import Pixels
from tests.gpu_worker.engines.pictures import LEMUR, PHOTOS

HEIGHT, WIDTH = 400, 600


@pytest.fixture(scope="module")
def meadow() -> Pixels:
    """A real background out of focus: what is left of the lemur, without it."""
    photo = pixels.decode(LEMUR)[:, :120]
    return cv2.resize(photo, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def car() -> tuple[Pixels, Pixels]:
    """A sharp car and its mask, 160 pixels wide."""
    photo = pixels.decode(PHOTOS / "car_concept_with_person.jpg")
    alpha = pixels.decode(PHOTOS / "car_concept_with_person.alpha.png")[..., 0]
    rows, columns = np.nonzero(alpha > 127)
    box = np.s_[rows.min() : rows.max(), columns.min() : columns.max()]
    size = 220, round(220 * np.ptp(rows) / np.ptp(columns))
    return cv2.resize(photo[box], size), cv2.resize(alpha[box], size)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    "places", [[(190, 160)], [(60, 40)], [(350, 270)], [(20, 40), (340, 240)]]
)
def test_a_subject_is_found_wherever_it_is(meadow, car, places, mirrored):
    photo, truth = meadow.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
    for x, y in places:
        _paste(photo, truth, *car, x, y)
    if mirrored:
        photo, truth = photo[:, ::-1].copy(), truth[:, ::-1].copy()
    found = subject.find(photo)
    assert _overlap(found.mask, truth) > 0.75


@pytest.mark.parametrize("ground", [255, 235, 215])
def test_a_product_is_cut_out_without_its_shadow(car, ground):
    photo, truth = (
        np.full((HEIGHT, WIDTH, 3), ground, np.uint8),
        np.zeros((HEIGHT, WIDTH), np.uint8),
    )
    shadow = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.ellipse(shadow, (300, 225), (110, 18), 0, 0, 360, 0.4, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 12)
    photo = (photo * (1 - shadow[..., None])).astype(np.uint8)
    _paste(photo, truth, *car, 190, 150)
    found = subject.find(photo)
    assert found.route == "uniform"
    assert _overlap(found.mask, truth) > 0.85


@pytest.mark.parametrize("colour", [(235, 235, 235), (40, 70, 120), (230, 190, 195)])
@pytest.mark.parametrize("fall", [0.1, 0.2, 0.3])
def test_a_product_is_cut_out_where_the_light_falls_off_to_the_corners(
    car, colour, fall
):
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    light = 1 - fall * (rows**2 + columns**2) / 2
    photo, truth = _product(car, colour, light)
    found = subject.find(photo)
    assert found.route == "uniform"
    assert found.confidence > 0.9
    assert _overlap(found.mask, truth) > 0.9


def test_light_from_one_side_and_grain_are_no_subject(car):
    light = np.linspace(1, 0.6, WIDTH)[None] * np.linspace(0.9, 1, HEIGHT)[:, None]
    photo, truth = _product(car, (205, 205, 208), light)
    grain = np.random.default_rng(2).normal(0, 4, photo.shape)
    found = subject.find(np.clip(photo + grain, 0, 255).astype(np.uint8))
    assert found.route == "uniform"
    assert _overlap(found.mask, truth) > 0.9


def test_the_shadow_on_coloured_paper_is_no_subject(car):
    shadow = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.ellipse(shadow, (300, 225), (110, 18), 0, 0, 360, 0.5, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 10)
    photo, truth = _product(car, (200, 70, 60), 1 - shadow)
    found = subject.find(photo)
    assert found.route == "uniform"
    assert _overlap(found.mask, truth) > 0.9


def test_the_ground_is_seen_through_a_ring():
    photo = np.full((HEIGHT, WIDTH, 3), (150, 180, 200), np.uint8)
    cv2.circle(photo, (300, 200), 100, (90, 20, 30), 20)
    found = subject.find(photo)
    height, width = found.mask.shape
    assert not found.mask[height // 2, width // 2]
    assert found.mask[height // 2, round(width * 400 / WIDTH)]


def test_a_table_before_a_wall_is_not_the_product(car):
    photo, truth = _product(car, (205, 205, 208), np.ones((HEIGHT, WIDTH)))
    below = (np.arange(HEIGHT) > 380)[:, None, None] & (truth < 1)[..., None]
    photo = np.where(below, np.array([120, 80, 50], np.uint8), photo)
    assert not subject.find(photo).mask[-4:].any()


def test_a_ground_with_a_spot_of_light_is_not_of_one_colour(car):
    rows, columns = np.mgrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    light = 0.8 + 0.2 * np.exp(-(rows**2 + (columns - 0.5) ** 2) / (2 * 0.1**2))
    photo, _ = _product(car, (120, 190, 200), light)
    assert subject.find(photo).route == "cues"


def test_a_thing_that_fades_into_the_ground_is_left_to_the_cues():
    photo = np.full((HEIGHT, WIDTH, 3), (205, 205, 208), np.uint8)
    thing = np.linspace((205, 205, 208), (235, 190, 180), 300)[None].round()
    photo[100:300, 150:450] = thing
    assert subject.find(photo).route == "cues"


def test_a_pale_thing_of_almost_the_ground_s_colour_is_left_to_the_cues():
    photo = np.full((HEIGHT, WIDTH, 3), (180, 180, 183), np.uint8)
    cv2.circle(photo, (420, 200), 90, (190, 190, 193), -1)
    for column in range(100, 300, 25):
        photo[80:320, column : column + 8] = (60, 20, 20)
    assert subject.find(photo).route == "cues"


def test_a_thing_as_dark_as_a_shadow_is_left_to_the_cues():
    photo = np.full((HEIGHT, WIDTH, 3), (60, 60, 62), np.uint8)
    cv2.circle(photo, (300, 200), 120, (42, 42, 44), -1)
    cv2.rectangle(photo, (240, 120), (360, 280), (150, 40, 30), -1)
    assert subject.find(photo).route == "cues"


def test_a_shadow_whose_colour_is_not_the_paper_s_is_left_to_the_cues(car):
    shadow = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.ellipse(shadow, (300, 225), (180, 60), 0, 0, 360, 0.5, -1)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 20)[..., None]
    photo, truth = _product(car, (255, 250, 235), np.ones((HEIGHT, WIDTH)))
    tinted = photo * (1 - np.clip(shadow * (0.3, 1.0, 2.0), 0, 1))
    photo = np.where(truth[..., None] > 0, photo, tinted).astype(np.uint8)
    assert subject.find(photo).route == "cues"


@pytest.mark.parametrize("name", ["car_concept_with_person", "interior_bedroom"])
def test_an_everyday_photo_has_no_ground_of_one_colour(name):
    photo = pixels.decode(PHOTOS / f"{name}.jpg")
    assert subject.find(photo).route == "cues"


def test_noise_has_no_sure_subject():
    noise = np.random.default_rng(3).integers(0, 256, (300, 400, 3), np.uint8)
    assert subject.find(noise).confidence < 0.8


def test_every_cue_has_a_weight_and_no_weight_is_without_a_cue():
    lab = np.random.default_rng(1).random((60, 90, 3), np.float32) * 50
    parts = pieces.find(lab, np.zeros((60, 90), np.float32))
    first = cues.first(parts)
    second = cues.second(
        parts, np.full(len(parts.areas), 0.5, np.float32), [lab[..., 0] > 25] * 2
    )
    models = fitted.models()
    assert set(first) == set(models["first"].lines)
    assert {*first, *second} == set(models["second"].lines)


def test_what_an_outline_encloses_is_farther_from_the_border_than_what_it_does_not():
    lab = np.full((120, 120, 3), (60, 0, 0), np.float32)
    lab[40:80, 40:80] = (30, 40, 20)
    parts = pieces.find(lab, np.zeros((120, 120), np.float32))
    inside = parts.mean_of(lab[..., 1]) > 30
    found = paths.cues(parts)
    for name in ("to border", "steepest to border", "contrast to background"):
        assert found[name][inside].min() > found[name][~inside].max()
    assert found["cut by borders"][inside].max() < found["cut by borders"].max()


def test_a_line_bends_where_it_is_said_to():
    line = fitted.Line(slope=1, bends=((0.5, -1),))
    told = line.of(np.array([0, 0.5, 2], np.float32))
    assert told.tolist() == [0, 0.5, 0.5]


def test_a_picture_in_one_piece_or_two_colours_is_no_error():
    halves = np.zeros((64, 64, 3), np.uint8)
    halves[:, 32:] = 255
    assert subject.find(halves).mask.shape == (64, 64)


def _product(
    car: tuple[Pixels, Pixels], colour: tuple[int, int, int], light: np.ndarray
) -> tuple[Pixels, Pixels]:
    """The car on paper of that colour in that light, and its mask."""
    photo = (np.array(colour) * light[..., None]).astype(np.uint8)
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    _paste(photo, truth, *car, 190, 150)
    return photo, truth


def _paste(
    photo: Pixels, truth: Pixels, car: Pixels, alpha: Pixels, x: int, y: int
) -> None:
    at = np.s_[y : y + car.shape[0], x : x + car.shape[1]]
    share = alpha[..., None] / 255
    photo[at] = (share * car + (1 - share) * photo[at]).astype(np.uint8)
    truth[at] = np.maximum(truth[at], alpha)


def _overlap(mask: Pixels, truth: Pixels) -> float:
    size = truth.shape[1], truth.shape[0]
    large = cv2.resize(mask.astype(np.uint8), size) > 0
    return float((large & (truth > 127)).sum() / (large | (truth > 127)).sum())
