"""extract/imaging: what a mask marks, in its place or alone on white."""

import cv2
import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.errors import InvalidParameters
from tests.gpu_worker.engines.pictures import LEMUR, PHOTOS, plain

ALPHA = PHOTOS / "animal_lemur_fur.alpha.png"


def marked(height, width, rows, columns):
    """A black mask, white in some rows and columns."""
    mask = np.zeros((height, width), np.uint8)
    mask[rows, columns] = 255
    return mask


def test_the_mask_becomes_the_alpha_of_the_whole_image(desk):
    shown = desk("extract", LEMUR, others={"mask": ALPHA})
    photo, truth = pixels.decode(LEMUR), pixels.decode(ALPHA)[..., 0]
    assert (shown[..., 3] == truth).all()
    assert (shown[truth == 255][:, :3] == photo[truth == 255]).all()
    assert not shown[truth == 0].any()


def test_the_result_of_a_jpeg_is_a_png(desk):
    photo = PHOTOS / "person_arms_raised.jpg"
    desk("extract", photo, others={"mask": PHOTOS / "person_arms_raised.alpha.png"})
    assert desk.last.content_type == "image/png"


def test_a_mask_of_another_size_is_stretched_and_stays_hard(desk):
    mask = marked(10, 20, slice(0, 10), slice(0, 10))
    shown = desk("extract", plain(100, 100), others={"mask": mask})
    assert (shown[:, :50, 3] == 255).all()
    assert (shown[:, 50:, 3] == 0).all()


def test_a_mask_with_transparency_marks_by_its_alpha(desk):
    mask = plain(40, 40, (0, 0, 0, 0))
    mask[10:30, 10:30] = (0, 0, 0, 255)  # black strokes on a clear layer
    shown = desk("extract", plain(40, 40), others={"mask": mask})
    assert shown[20, 20, 3] == 255
    assert shown[5, 5, 3] == 0


def test_what_was_transparent_stays_so(desk):
    image = plain(40, 40, (9, 9, 9, 255))
    image[:, :20, 3] = 0
    image[:, 20:30, 3] = 128
    mask = marked(40, 40, slice(0, 20), slice(0, 40))
    alpha = desk("extract", image, others={"mask": mask})[..., 3]
    assert alpha[5, [5, 25, 35]].tolist() == [0, 128, 255]
    assert not alpha[20:].any()


@pytest.mark.parametrize(
    ("side", "expected"), [(30, 512), (512, 512), (513, 1024), (1500, 1024)]
)
def test_the_square_has_512_pixels_or_1024_for_what_is_larger(desk, side, expected):
    mask = marked(1600, 1600, slice(20, 20 + side), slice(20, 20 + side // 2))
    image = np.zeros((1600, 1600, 3), np.uint8)
    shown = desk("extract", image, others={"mask": mask}, mode="square")
    assert shown.shape == (expected, expected, 3)


def test_the_object_fills_the_square_and_stands_in_its_middle(desk):
    image = plain(300, 300, (10, 120, 10))
    mask = marked(300, 300, slice(100, 200), slice(250, 300))
    shown = desk("extract", image, others={"mask": mask}, mode="square")
    object_ = (shown < 200).any(axis=2)
    columns = np.flatnonzero(object_.any(axis=0))
    assert object_.any(axis=1).all()
    assert (columns[0], columns[-1]) == (128, 383)
    assert shown[256, 256].tolist() == [10, 120, 10]
    assert shown[256, 20].tolist() == [255, 255, 255]


def test_a_soft_edge_fades_into_white(desk):
    shown = desk("extract", LEMUR, others={"mask": ALPHA}, mode="square")
    seen = cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY)
    assert seen[0, 0] == 255
    assert len(np.unique(seen[60:110])) > 100


def test_an_image_with_alpha_needs_no_mask_so_that_a_cut_out_can_be_squared(desk):
    desk.then("extract", mode="square", format="jpg")
    shown = desk("extract", LEMUR, others={"mask": ALPHA})
    assert shown.shape == (512, 512, 3)
    assert desk.last.content_type == "image/jpeg"


@pytest.mark.parametrize("mode", ["transparent", "square"])
def test_an_opaque_image_without_a_mask_cannot_be_extracted(desk, mode):
    with pytest.raises(InvalidParameters, match="no mask"):
        desk("extract", plain(20, 20), mode=mode)


def test_a_mask_that_marks_nothing_gives_no_object(desk):
    mask = np.full((20, 20), 128, np.uint8)
    with pytest.raises(InvalidParameters, match="marks nothing"):
        desk("extract", plain(20, 20), others={"mask": mask}, mode="square")
