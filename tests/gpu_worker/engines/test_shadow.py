"""shadow/imaging: soft, below the object, never on it, on a backdrop or on nothing."""

import cv2
import numpy as np
import pytest

from gpu_worker.engines import limits
from gpu_worker.errors import InvalidParameters, LimitExceeded
from jobs.errors import BadFields
from tests.gpu_worker.engines.pictures import plain

BACKDROP = "#f5f5f5"


def cutout(rows=slice(60, 140), columns=slice(70, 130)):
    """A red block on a clear ground of 200 x 200."""
    image = plain(200, 200, (0, 0, 0, 0))
    image[rows, columns] = (200, 30, 30, 255)
    return image


def darkness(shown):
    """How far each pixel of a picture on the backdrop is darker than it."""
    return 245 - shown.astype(int).max(axis=2)


def test_the_shadow_is_what_the_steps_of_the_preview_give(desk):
    """Mask moved by (3, 5), faded from the foot up, blurred by 21, times 0.4."""
    mask = cutout()[..., 3]
    moved = np.roll(mask, (5, 3), (0, 1)).astype(np.float32)
    moved[65:145] *= np.linspace(0, 1, 80)[:, None]
    soft = cv2.GaussianBlur(moved.astype(np.uint8), (21, 21), 0) / 255
    expected = 245 * (1 - 0.4 * soft)
    shown = desk("shadow", cutout(), backdrop=BACKDROP)
    ground = mask == 0
    assert np.abs(shown[..., 0].astype(int) - expected)[ground].max() <= 2
    assert darkness(shown)[ground].max() > 60


def test_the_object_itself_is_never_darkened(desk):
    image = cutout()
    shown = desk("shadow", image, opacity=1, blur_radius=60)
    assert (shown[image[..., 3] == 255] == (200, 30, 30, 255)).all()


def test_without_a_backdrop_the_shadow_is_black_under_alpha(desk):
    shown = desk("shadow", cutout())
    below = shown[142, 100]
    assert desk.last.content_type == "image/png"
    assert below[:3].max() == 0
    assert 50 < below[3] <= 102
    assert not shown[40].any()


def test_a_backdrop_appears_behind_what_is_cut_out(desk):
    """The preview of the replaced system flattened too early: it was never seen."""
    shown = desk("shadow", cutout(), backdrop=BACKDROP)
    assert shown.shape == (200, 200, 3)
    assert shown[5, 5].tolist() == [245, 245, 245]


def test_an_object_on_white_is_found_without_a_mask(desk):
    image = plain(200, 200, (252, 251, 255))
    image[60:140, 70:130] = (30, 30, 200)
    image[90:110, 90:110] = 255  # a white label on it is no hole
    shown = desk("shadow", image, backdrop=BACKDROP)
    assert shown[5, 5].tolist() == [245, 245, 245]
    assert shown[100, 100].tolist() == [255, 255, 255]
    assert darkness(shown)[143, 100] > 40


def test_a_mask_says_what_the_object_is(desk):
    mask = np.zeros((200, 200), np.uint8)
    mask[20:60, 20:60] = 255
    shown = desk("shadow", plain(200, 200), others={"mask": mask}, backdrop=BACKDROP)
    assert shown[40, 40].tolist() == [200, 30, 30]
    assert shown[150, 150].tolist() == [245, 245, 245]


def test_a_floating_object_has_a_lower_and_softer_shadow(desk):
    near = darkness(desk("shadow", cutout(), backdrop=BACKDROP))[150:, 100]
    far = darkness(desk("shadow", cutout(), backdrop=BACKDROP, floating_height=40))[
        150:, 100
    ]
    assert near.max() < 25
    assert far.argmax() > 15
    assert np.abs(np.diff(far)).max() < 12


def test_without_ground_bias_the_top_casts_its_shadow_too(desk):
    wanted = {"offset_x": 30, "backdrop": BACKDROP}
    faded = darkness(desk("shadow", cutout(), **wanted))
    whole = darkness(desk("shadow", cutout(), ground_bias=False, **wanted))
    assert whole[85, 140] > 2 * faded[85, 140]
    assert abs(whole[130, 140] - faded[130, 140]) < 20


def test_a_picture_grows_for_its_shadow_only_where_asked(desk):
    image = cutout(slice(100, 200), slice(140, 200))
    wanted = {"offset_x": 40, "offset_y": 30}
    assert desk("shadow", image, **wanted).shape == (200, 200, 4)
    grown = desk("shadow", image, expand=True, **wanted)
    assert grown.shape == (200 + 30 + 10, 200 + 40 + 10, 4)
    assert (grown[100:200, 140:200] == (200, 30, 30, 255)).all()
    assert grown[-1, :, 3].max() < 8  # it has faded out before the new edge


def test_a_wide_blur_looks_like_a_gaussian(desk):
    image = cutout()
    shown = desk("shadow", image, blur_radius=151, opacity=1, ground_bias=False)
    moved = np.roll(image[..., 3], (5, 3), (0, 1))
    exact = cv2.GaussianBlur(moved, (151, 151), 0, borderType=cv2.BORDER_CONSTANT)
    ground = image[..., 3] == 0
    assert np.abs(shown[..., 3].astype(int) - exact)[ground].max() < 10


@pytest.mark.parametrize(
    "image", [plain(50, 50, (255, 255, 255)), plain(50, 50, (9, 9, 9, 0))]
)
def test_an_image_without_an_object_is_refused(desk, image):
    with pytest.raises(InvalidParameters, match="marks nothing"):
        desk("shadow", image)


def test_no_picture_is_made_that_is_larger_than_any_may_be():
    limits.check(16_000, 3_125)
    for size in [(16_001, 10), (16_000, 3_126)]:
        with pytest.raises(LimitExceeded, match="at most 50 megapixels"):
            limits.check(*size)


@pytest.mark.parametrize(
    "wanted",
    [{"opacity": 1.1}, {"blur_radius": 201}, {"backdrop": "grey"}, {"offset_x": 501}],
)
def test_the_schema_refuses(desk, wanted):
    with pytest.raises(BadFields):
        desk("shadow", cutout(), **wanted)
