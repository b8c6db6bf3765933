"""Results that another program made of the same input: sizes equal, pictures close."""

import cv2
import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.base import Input, Item
from gpu_worker.engines.proxying import pipeline
from tests.gpu_worker.engines.pictures import DATA, FORMATS

EXPECTED = DATA / "operations"
LANDSCAPE = FORMATS / "jpeg_exif_orientation_6.jpg"
PORTRAIT = FORMATS / "jpeg_exif_orientation_8_portrait.jpg"
BIRD = EXPECTED / "input_embedgravitybird.png"
# Two good decoders and filters differ by 2 levels here; without the conversion to sRGB
# it would be 13.
MOST_APART = 3


def apart(ours, name):
    """The mean difference at a quarter of the size, in levels."""
    theirs = pixels.decode(EXPECTED / name)
    assert ours.shape == theirs.shape
    size = ours.shape[1] // 4, ours.shape[0] // 4
    ours, theirs = (
        cv2.resize(shown, size, interpolation=cv2.INTER_AREA).astype(int)
        for shown in (ours, theirs)
    )
    return np.abs(ours - theirs).mean()


@pytest.mark.parametrize(
    ("photo", "name"),
    [
        (LANDSCAPE, "op_orient_landscape_6.jpg"),
        (PORTRAIT, "op_orient_portrait_8.jpg"),
    ],
)
def test_a_turned_photo_is_resized_upright(desk, photo, name):
    assert apart(desk("resize", photo, width=320), name) < MOST_APART


@pytest.mark.parametrize(
    ("gravity", "name"),
    [
        ("center", "op_contain_transparent_center.png"),
        ("west", "op_contain_transparent_left.png"),
    ],
)
def test_a_picture_is_contained_in_clear_padding(desk, gravity, name):
    wanted = {"width": 200, "height": 100, "fit": "contain", "gravity": gravity}
    shown = desk("resize", BIRD, **wanted)
    assert apart(shown, name) < MOST_APART
    truth = pixels.decode(EXPECTED / name)
    assert ((shown[..., 3] > 0) == (truth[..., 3] > 0)).mean() > 0.99


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ({"rotate": 90}, "op_orient_rotate90_landscape_6.jpg"),
        ({"flip_vertical": True}, "op_orient_flip_landscape_6.jpg"),
    ],
)
def test_a_photo_on_the_fly_is_turned_upright_first(recipe, name):
    source = Input(role="image", path=LANDSCAPE)
    made = pipeline.make(Item(job_id="", parameters=recipe, inputs=(source,)))
    assert apart(pixels.decode(made.data), name) < MOST_APART
