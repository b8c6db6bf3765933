"""white-balance/imaging: casts taken away, and given by temperature and tint."""

import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.imaging import white_balance
from jobs.errors import BadFields
from tests.gpu_worker.engines.pictures import LEMUR, PHOTOS, plain

PHOTO = PHOTOS / "interior_bedroom.jpg"
CASTS = [(1.5, 1, 0.55), (0.7, 1, 1.4), (0.9, 1.2, 0.8)]


def cast(picture, gains):
    """The picture as under another light, a little darker so that nothing clips."""
    return white_balance.lit(picture, np.array(gains) * 0.6)


def apart(one, other):
    """The angle between the mean colours of two pictures, in degrees."""
    one, other = (shown.reshape(-1, 3).mean(axis=0) for shown in (one, other))
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    return np.degrees(np.arccos(min(1, cosine)))


@pytest.mark.parametrize("path", [PHOTO, LEMUR, PHOTOS / "animal_white_tiger.jpg"])
@pytest.mark.parametrize("gains", CASTS)
def test_the_colour_of_the_light_is_taken_away(desk, path, gains):
    photo = pixels.decode(path)[..., :3]
    before = cast(photo, gains)
    assert apart(before, photo) > 4
    assert apart(desk("white-balance", before), photo) < apart(before, photo) / 2


@pytest.mark.parametrize("name", ["interior_bedroom", "animal_white_tiger"])
def test_a_photo_in_good_light_hardly_changes(desk, name):
    photo = PHOTOS / f"{name}.jpg"
    shown = desk("white-balance", photo)
    assert apart(shown, pixels.decode(photo)) < 1.5
    assert max(abs(gain - 1) for gain in desk.last.details["gains"]) < 0.08


def test_what_was_too_bright_to_measure_stays_white(desk):
    photo = pixels.decode(PHOTO)
    warm = white_balance.lit(photo, np.array((1.6, 1.1, 0.75)))
    warm[:60, :60] = (255, 255, 205)
    corner = desk("white-balance", warm)[10:50, 10:50].reshape(-1, 3).astype(int)
    assert (corner.max(axis=1) - corner.min(axis=1)).mean() < 15


@pytest.mark.parametrize(
    ("wanted", "more", "less"),
    [
        ({"temperature": 60}, 0, 2),
        ({"temperature": -60}, 2, 0),
        ({"tint": 60}, 0, 1),
        ({"tint": -60}, 1, 0),
        ({"tint": 60}, 2, 1),
    ],
)
def test_each_shift_goes_its_way_and_keeps_the_lightness(desk, wanted, more, less):
    shown = desk("white-balance", plain(9, 9, (120, 120, 120)), mode="manual", **wanted)
    colour = shown[0, 0].astype(int)
    assert colour[more] > 120 > colour[less]
    linear = white_balance._LINEAR[colour] @ white_balance.LUMINANCE
    assert linear == pytest.approx(white_balance._LINEAR[120], abs=0.01)


def test_one_unit_of_temperature_is_one_mired():
    """Grey shifted by 100 has the chromaticity of a black body of 3940 K."""
    gains = white_balance.gains_of_shift(100, 0)
    light = gains * white_balance._rgb(white_balance.NEUTRAL_MIRED, 0)
    x, y, z = np.linalg.inv(white_balance.TO_RGB) @ light
    assert (x / (x + y + z), y / (x + y + z)) == pytest.approx(
        (0.383, 0.380), abs=0.003
    )


def test_shifts_in_auto_are_added(desk):
    plainly = desk("white-balance", PHOTO).astype(int)
    warmer = desk("white-balance", PHOTO, temperature=40).astype(int)
    assert warmer[..., 0].mean() > plainly[..., 0].mean() + 3
    assert warmer[..., 2].mean() < plainly[..., 2].mean() - 3


def test_no_shift_changes_no_pixel_and_alpha_is_kept(desk):
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 4), np.uint8)
    image[..., 3] |= 1
    shown = desk("white-balance", image, mode="manual", temperature=0)
    assert (shown == image).all()
    assert (desk("white-balance", image)[..., 3] == image[..., 3]).all()


@pytest.mark.parametrize("colour", [(200, 30, 30), (0, 0, 0), (255, 255, 255)])
def test_a_plain_image_says_nothing_of_its_light(desk, colour):
    shown = desk("white-balance", plain(30, 30, colour))
    assert (shown == colour).all()
    assert desk.last.details == {"gains": [1.0, 1.0, 1.0]}


def test_what_is_transparent_does_not_count():
    photo = cast(pixels.decode(PHOTO), (1, 1, 1))
    clear = np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])
    stripes = np.where(np.arange(300) // 9 % 2, 250, 5)[:, None]
    clear[:300, :, 0] = stripes  # a strong red pattern that nobody sees
    clear[:300, :, 3] = 0
    gains = white_balance.gains_of_light(white_balance.light_of(clear))
    assert gains == pytest.approx([1, 1, 1], abs=0.06)


@pytest.mark.parametrize(
    "wanted",
    [
        {"mode": "ai"},
        {"mode": "manual"},
        {"temperature": 101},
        {"mode": "manual", "tint": -101},
    ],
)
def test_the_schema_refuses(desk, wanted):
    with pytest.raises(BadFields):
        desk("white-balance", plain(9, 9), **wanted)
