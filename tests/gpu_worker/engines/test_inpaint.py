"""inpaint/imaging: holes filled from around them, and nothing else touched."""

import cv2
import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.errors import InvalidParameters
from jobs.errors import BadFields
from tests.gpu_worker.engines.pictures import PHOTOS

BEDROOM = PHOTOS / "interior_bedroom.jpg"


@pytest.fixture(scope="module")
def photo():
    return pixels.decode(BEDROOM)[:200, 300:600]


def disc(picture, radius=12, level=255):
    """A mask: a disc in the middle."""
    height, width = picture.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    return cv2.circle(mask, (width // 2, height // 2), radius, level, -1)


@pytest.mark.parametrize("method", ["telea", "navier-stokes"])
def test_only_what_the_mask_marks_changes(desk, photo, method):
    mask = disc(photo)
    shown = desk("inpaint", photo, others={"mask": mask}, method=method)
    assert (shown[mask == 0] == photo[mask == 0]).all()
    assert (shown[mask > 0] != photo[mask > 0]).any(axis=1).mean() > 0.5


def test_a_blot_on_a_smooth_wall_disappears(desk):
    wall = np.repeat(np.linspace(60, 200, 120, dtype=np.uint8)[None, :, None], 90, 0)
    wall = np.repeat(wall, 3, 2)
    mask = disc(wall)
    blotted = np.where(mask[..., None] > 0, np.uint8(255), wall)
    shown = desk("inpaint", blotted, others={"mask": mask}).astype(int)
    assert np.abs(shown - wall)[mask > 0].mean() < 6


def test_looking_only_near_the_hole_gives_what_the_whole_picture_gives(desk, photo):
    mask = disc(photo)
    cv2.circle(mask, (70, 40), 5, 255, -1)
    whole = cv2.inpaint(photo.copy(), mask, 3, cv2.INPAINT_TELEA)
    shown = desk("inpaint", photo, others={"mask": mask})
    assert (shown == whole).all()


@pytest.mark.parametrize(("level", "fills"), [(127, False), (128, True)])
def test_a_mask_marks_above_the_middle(desk, photo, level, fills):
    mask = disc(photo, radius=40, level=level)
    cv2.circle(mask, (30, 30), 3, 255, -1)
    shown = desk("inpaint", photo, others={"mask": mask})
    assert (shown[100, 150] != photo[100, 150]).any() == fills


@pytest.mark.parametrize(("wanted", "grown"), [({}, 35), ({"dilation": 15}, 15)])
def test_a_brush_mask_is_widened_first(desk, wanted, grown):
    noise = np.random.default_rng(5).integers(0, 256, (200, 200, 3), np.uint8)
    mask = disc(noise, radius=4)
    shown = desk("inpaint", noise, others={"mask": mask}, mask_type="brush", **wanted)
    changed = (shown != noise).any(axis=2)
    rows = np.flatnonzero(changed.any(axis=1))
    assert (rows[0], rows[-1]) == (100 - 4 - grown, 100 + 4 + grown)
    assert not changed[rows[0] + 2, rows[0] + 2]  # round, not square


def test_a_cut_out_keeps_its_alpha_around_the_hole(desk, photo):
    cutout = np.dstack([photo, np.full(photo.shape[:2], 200, np.uint8)])
    shown = desk("inpaint", cutout, others={"mask": disc(photo)})
    assert np.abs(shown[..., 3].astype(int) - 200).max() <= 4


@pytest.mark.parametrize("level", [0, 255])
def test_a_mask_of_nothing_or_of_everything_is_refused(desk, photo, level):
    mask = np.full(photo.shape[:2], level, np.uint8)
    with pytest.raises(InvalidParameters, match="marks"):
        desk("inpaint", photo, others={"mask": mask})


@pytest.mark.parametrize(
    "wanted",
    [
        {"radius": 0},
        {"radius": 11},
        {"method": "lama"},
        {"dilation": 35},
        {"dilation": 35, "mask_type": "area"},
        {"dilation": 14, "mask_type": "brush"},
        {"dilation": 51, "mask_type": "brush"},
    ],
)
def test_the_schema_refuses(desk, photo, wanted):
    with pytest.raises(BadFields):
        desk("inpaint", photo, others={"mask": disc(photo)}, **wanted)
