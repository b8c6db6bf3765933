"""removebg/classical on real photos: cut-outs, and what is told about them.

The least overlaps are what the engine reaches today less two hundredths: a fall is a
regression, a rise is a reason to raise them.
"""

import cv2
import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines import geometry
from gpu_worker.engines.classical import Classical
from gpu_worker.engines.cutout import edges, removal, subject
from gpu_worker.errors import InvalidImage
from gpu_worker.pixels import Pixels
from tests.gpu_worker.engines.pictures import (
    FORMATS,
    LEMUR,
    PHOTOS,
    Silent,
    item,
    plain,
    run,
    save,
    seen,
)

# (photo, accepted alpha, least intersection over union)
REFERENCES = [
    (LEMUR, "animal_lemur_fur", 0.96),
    (PHOTOS / "animal_white_tiger.jpg", "animal_white_tiger", 0.88),
    (PHOTOS / "person_arms_raised.jpg", "person_arms_raised", 0.93),
    (PHOTOS / "car_concept_with_person.jpg", "car_concept_with_person", 0.81),
]
WITHOUT_SUBJECT = [
    "mpo_stereo_frozen_pond.mpo",
    "png_16bit_grey.png",
    "apng_animated.png",
]


@pytest.fixture(scope="module")
def engine() -> Classical:
    made = Classical()
    made.load()
    return made


@pytest.fixture(scope="module")
def lemur(engine):
    """The RGBA cut-out of the demo photo."""
    return raw(run(engine, LEMUR).data)


@pytest.mark.parametrize(("photo", "name", "least"), REFERENCES)
def test_a_photo_is_cut_out_like_its_reference(engine, photo, name, least):
    alpha = seen(run(engine, photo, channels="alpha"))[..., 0]
    truth = pixels.decode(PHOTOS / f"{name}.alpha.png")[..., 0]
    assert alpha.shape == truth.shape
    assert overlap(alpha, truth) >= least


def test_a_clear_subject_is_certain_and_fur_has_a_soft_edge(engine, lemur):
    details = cut_out(pixels.decode(LEMUR))[1]
    assert details["confidence"] > 0.9
    assert details["uncertain"] is False
    soft = (lemur[..., 3] > 20) & (lemur[..., 3] < 235)
    assert 0.003 < soft.mean() < 0.05


def test_the_alpha_of_fur_is_close_to_a_hand_made_one(lemur):
    truth = pixels.decode(PHOTOS / "animal_lemur_fur.alpha.png")[..., 0]
    apart = np.abs(lemur[..., 3].astype(int) - truth).mean() / 255
    assert apart < 0.013  # two good alphas of this photo differ by 0.006


def test_corners_are_clear_and_nothing_is_hidden_under_alpha_zero(lemur):
    # The animal sits on the lower border; the upper corners are background.
    assert not lemur[0, 0].any()
    assert not lemur[0, -1].any()
    assert not lemur[lemur[..., 3] == 0].any()
    assert (lemur[..., 3] == 0).mean() > 0.5


def test_inside_the_subject_the_colours_are_the_photos_own(lemur):
    photo = pixels.decode(LEMUR)
    inside = lemur[..., 3] == 255
    same = (lemur[..., :3] == photo).all(axis=2)[inside].mean()
    assert same > 0.97


def test_soft_pixels_lose_the_colour_of_the_background():
    """A grey disc with a soft edge before green: no green may be left."""
    rows, columns = np.mgrid[0:400, 0:600]
    radius = np.hypot(rows - 200, columns - 300)
    share = np.clip((120 - radius) / 6 + 0.5, 0, 1)[..., None]
    photo = (share * [150, 150, 150] + (1 - share) * [20, 160, 20]).astype(np.uint8)
    cutout, _ = cut_out(photo)
    soft = (cutout[..., 3] > 25) & (cutout[..., 3] < 230)
    assert soft.sum() > 300
    greener = cutout[soft][:, 1].astype(int) - cutout[soft][:, 0]
    assert greener.mean() < 12
    assert np.abs(cutout[..., 3] / 255 - share[..., 0]).mean() < 0.004


def test_a_pattern_on_both_sides_of_an_edge_shows_on_no_ground():
    """What is near by, not what is usual, tells the colours of both sides."""
    rows, columns = np.mgrid[0:600, 0:800]
    radius = np.hypot(rows - 300, columns - 400)
    share = np.clip((200 - radius) / 4 + 0.5, 0, 1)[..., None]
    light = ((columns // 25 + rows // 25) % 2 == 0)[..., None]
    green = ((columns // 40 + rows // 40) % 2 == 0)[..., None]
    subject = np.where(light, [210, 170, 120], [120, 60, 30])
    ground = np.where(green, [40, 110, 60], [20, 40, 90])
    photo = (share * subject + (1 - share) * ground).astype(np.uint8)
    mask = cv2.resize(share[..., 0], (280, 210), interpolation=cv2.INTER_AREA) > 0.5
    cutout = edges.cut_out(photo, mask).astype(np.float32)
    alpha, band = cutout[..., 3:] / 255, np.abs(radius - 200) < 5
    on_white = alpha * cutout[..., :3] + (1 - alpha) * 255
    wanted = share * subject + (1 - share) * 255
    assert np.abs(on_white - wanted)[band].mean() < 15


def test_a_twelve_megapixel_photo_keeps_its_size_and_detail(engine, tmp_path):
    photo = geometry.resized(pixels.decode(LEMUR), 4312, 2790)
    result = run(engine, save(tmp_path, photo, "jpeg"))
    cutout = raw(result.data)
    assert cutout.shape == (2790, 4312, 4)
    truth = pixels.decode(PHOTOS / "animal_lemur_fur.alpha.png")
    assert overlap(cutout[..., 3], geometry.resized(truth, 4312, 2790)[..., 0]) > 0.96
    assert set(np.unique(cutout[..., 3])) == set(range(256))


def test_the_same_photo_gives_the_same_bytes(engine):
    photo = FORMATS / "tiff_lzw.tif"
    assert run(engine, photo).data == run(engine, photo).data


@pytest.mark.parametrize("name", WITHOUT_SUBJECT)
def test_a_picture_without_a_subject_is_uncertain(engine, name):
    details = run(engine, FORMATS / name).details
    assert details["uncertain"] is True
    assert details["confidence"] < 0.66


def test_a_cluttered_room_is_uncertain(engine):
    assert run(engine, PHOTOS / "interior_bedroom.jpg").details["uncertain"] is True


@pytest.mark.parametrize("background", [(255, 255, 255), (30, 60, 90), (0, 0, 0)])
def test_a_uniform_background_is_cut_away_exactly(background):
    photo = plain(300, 400, background)
    photo[100:200, 120:280] = (200, 40, 40)
    cutout, details = cut_out(photo)
    assert details == {"confidence": 1.0, "uncertain": False, "route": "uniform"}
    truth = np.zeros((300, 400), np.uint8)
    truth[100:200, 120:280] = 255
    assert overlap(cutout[..., 3], truth) > 0.98


def test_a_hole_in_the_subject_stays_solid_in_the_uniform_route():
    photo = plain(300, 400, (255, 255, 255))
    photo[60:240, 80:320] = (200, 40, 40)
    photo[120:180, 160:240] = (255, 255, 255)
    assert cut_out(photo)[0][150, 200, 3] == 255


def test_an_empty_picture_gives_an_empty_and_uncertain_cut_out():
    cutout, details = cut_out(plain(64, 64, (200, 200, 200)))
    assert details == {"confidence": 0.0, "uncertain": True, "route": "uniform"}
    assert not cutout[..., 3].any()


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (2, 2), (16, 9), (3, 900), (9000, 20)]
)
def test_pictures_of_odd_sizes_are_cut_out_at_their_size(shape):
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    assert cut_out(noise)[0].shape == (*shape, 4)


def test_an_alpha_that_separates_a_subject_is_kept(engine):
    result = run(engine, FORMATS / "webp_alpha.webp")
    assert result.details == {"confidence": 1.0, "uncertain": False, "route": "alpha"}
    given = pixels.decode(FORMATS / "webp_alpha.webp")
    assert (raw(result.data)[..., 3] == given[..., 3]).all()


def test_letterbox_bars_are_no_subject_and_no_background_colour():
    photo = pixels.decode(PHOTOS / "car_concept_with_person.jpg")
    found = subject.find(photo)
    assert not found.mask[:5].any()
    assert not found.mask[-5:].any()


def test_progress_tells_the_steps(engine):
    hooks = Silent()
    engine.run([item(FORMATS / "jpeg_grey.jpg")], hooks)
    assert hooks.seen == ["decoding", "finding the subject", "encoding"]


def test_a_damaged_image_is_refused_as_such(engine):
    with pytest.raises(InvalidImage):
        engine.run([item(FORMATS / "jpeg_truncated.jpg")], Silent())


def cut_out(photo: Pixels) -> tuple[Pixels, dict[str, object]]:
    return removal.cut_out(photo)


def raw(data: bytes) -> Pixels:
    """A PNG's own samples, hidden colours too."""
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if whole.ndim == 2 or whole.shape[2] != 4:
        return pixels.decode(data)
    return cv2.cvtColor(whole, cv2.COLOR_BGRA2RGBA)


def overlap(alpha: Pixels, truth: Pixels) -> float:
    a, b = alpha > 127, truth > 127
    return float((a & b).sum() / (a | b).sum())
