"""compose/imaging: cut-outs on colours, gradients and other pictures."""

import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.errors import InvalidParameters, LimitExceeded
from jobs.errors import BadFields
from tests.gpu_worker.engines.pictures import LEMUR, PHOTOS, plain

BEDROOM = PHOTOS / "interior_bedroom.jpg"
RED, BLUE = (200, 30, 30), (20, 40, 210)


@pytest.fixture
def block():
    """A red block of 40 x 20 in the middle of a clear ground of 100 x 60."""
    image = plain(60, 100, (0, 0, 0, 0))
    image[20:40, 30:70] = (*RED, 255)
    return image


def box(shown, colour=RED):
    """(left, top, right, bottom) of what has about this colour."""
    same = (np.abs(shown[..., :3].astype(int) - colour) < 12).all(axis=2)
    rows, columns = np.flatnonzero(same.any(axis=1)), np.flatnonzero(same.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def test_a_cut_out_on_a_colour_is_opaque_in_its_own_size(desk, block):
    shown = desk("compose", block, color="#1428d2")
    assert shown.shape == (60, 100, 3)
    assert shown[0, 0].tolist() == [20, 40, 210]
    assert box(shown) == (30, 20, 70, 40)


def test_a_soft_edge_is_mixed_by_its_alpha(desk):
    image = plain(10, 10, (200, 100, 0, 128))
    shown = desk("compose", image, color="#000064")
    assert shown[5, 5].tolist() == pytest.approx([100, 50, 50], abs=1)


@pytest.mark.parametrize(
    ("angle", "dark", "light"),
    [
        (180, (50, 2), (50, 97)),
        (0, (50, 97), (50, 2)),
        (90, (2, 50), (97, 50)),
        (270, (97, 50), (2, 50)),
        (135, (1, 1), (98, 98)),
    ],
)
def test_a_gradient_goes_where_its_angle_points(desk, angle, dark, light):
    wanted = {"colors": ["#000", "#808080", "#fff"], "angle": angle}
    image = plain(100, 100, (0, 0, 0, 0))
    shown = desk("compose", image, gradient=wanted)
    assert shown[dark[1], dark[0]].max() < 16
    assert shown[light[1], light[0]].min() > 239
    assert shown[50, 50].tolist() == pytest.approx([128] * 3, abs=4)


def test_a_radial_gradient_goes_from_the_middle_to_the_corners(desk):
    wanted = {"colors": ["#ffffff", "#000000"], "shape": "radial"}
    shown = desk("compose", plain(80, 80, (0, 0, 0, 0)), gradient=wanted)
    assert shown[40, 40].min() > 245
    assert shown[0, 0].max() < 10
    assert shown[40, 0].tolist() == pytest.approx([75] * 3, abs=6)


def test_on_another_picture_the_result_has_that_ones_size(desk, block):
    shown = desk("compose", block, others={"reference": BEDROOM})
    room = pixels.decode(BEDROOM)
    assert shown.shape == room.shape
    assert box(shown[200:340, 400:560]) == (60, 60, 100, 80)
    assert (shown[:200] == room[:200]).all()


@pytest.mark.parametrize(
    ("fit", "corner", "left"),
    [("cover", BLUE, BLUE), ("fill", BLUE, (0, 150, 0)), ("contain", (9, 9, 9), None)],
)
def test_a_picture_fills_its_background_by_fit(desk, block, fit, corner, left):
    """A wide picture, blue in its middle and green at its ends, on a high canvas."""
    wide = plain(100, 300, (0, 150, 0))
    wide[:, 100:200] = BLUE
    shown = desk(
        "compose", block, others={"reference": wide}, fit=fit, color="#090909",
        width=100, height=200, scale=0.01,
    )  # fmt: skip
    at = shown[2, 50]
    assert at.tolist() == pytest.approx(corner, abs=6)
    if left:
        assert shown[100, 5].tolist() == pytest.approx(left, abs=6)
    else:
        assert shown[100, 5].tolist() == pytest.approx((0, 150, 0), abs=6)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (0, 0, (0, 0, 40, 20)),
        (1, 1, (160, 80, 200, 100)),
        (0.5, 0.5, (80, 40, 120, 60)),
        (0.25, 1, (40, 80, 80, 100)),
    ],
)
def test_the_place_is_a_share_of_what_is_free(desk, block, x, y, expected):
    shown = desk(
        "compose", block, color="#fff", width=200, height=100, trim=True, x=x, y=y
    )
    assert box(shown) == expected


def test_scale_is_a_share_of_the_background(desk, block):
    shown = desk(
        "compose", block, color="#fff", width=400, height=400, trim=True, scale=0.5
    )
    left, top, right, bottom = box(shown)
    assert (right - left, bottom - top) == pytest.approx((200, 100), abs=2)


def test_without_a_scale_a_picture_keeps_its_size_or_is_shrunk_to_fit(desk, block):
    kept = desk("compose", block, color="#fff", width=300, height=300)
    assert box(kept) == (130, 140, 170, 160)
    shrunk = desk("compose", block, color="#fff", width=50, height=300)
    assert box(shrunk) == pytest.approx((15, 145, 35, 155), abs=1)


def test_one_side_keeps_the_proportions(desk, block):
    assert desk("compose", block, color="#fff", width=50).shape == (30, 50, 3)
    assert desk("compose", block, color="#fff", height=120).shape == (120, 200, 3)


def test_a_photo_without_alpha_is_laid_on_whole(desk):
    shown = desk("compose", LEMUR, color="#f0f", width=800, height=800, format="png")
    assert (shown[180:620, 60:740] == pixels.decode(LEMUR)[..., :3]).all()
    assert shown[0, 0].tolist() == [255, 0, 255]


def test_a_reference_with_holes_stays_clear_there(desk, block):
    ring = plain(60, 100, (*BLUE, 255))
    ring[:10] = 0
    shown = desk("compose", block, others={"reference": ring})
    assert shown.shape == (60, 100, 4)
    assert shown[5, 5].tolist() == [0, 0, 0, 0]
    assert shown[30, 50].tolist() == [*RED, 255]


def test_a_cut_out_gets_its_shadow_and_its_background_in_one_go(desk):
    desk.then("shadow", opacity=0.8, offset_y=20)
    desk.then("compose", color="#ffffff", format="webp")
    alpha = PHOTOS / "animal_lemur_fur.alpha.png"
    shown = desk("extract", LEMUR, others={"mask": alpha})
    assert desk.last.content_type == "image/webp"
    assert shown.shape == (440, 680, 3)
    assert shown[0, 0].min() > 250


def test_without_any_background_it_is_refused(desk, block):
    with pytest.raises(InvalidParameters, match="no color"):
        desk("compose", block)


def test_a_canvas_that_would_be_too_large_is_refused_before_it_is_made(desk):
    with pytest.raises(LimitExceeded, match="1600 x 16320"):
        desk("compose", plain(102, 10), color="#fff", width=1600)


@pytest.mark.parametrize(
    "wanted",
    [
        {"color": "#12345"},
        {"color": "red"},
        {"color": "#fff", "gradient": {"colors": ["#000", "#fff"]}},
        {"gradient": {"colors": ["#fff"]}},
        {"gradient": {"colors": ["#fff", "#000"], "angle": 361}},
        {"color": "#fff", "scale": 0},
        {"color": "#fff", "x": 1.1},
        {"color": "#fff", "width": 7001},
    ],
)
def test_the_schema_refuses(desk, block, wanted):
    with pytest.raises(BadFields):
        desk("compose", block, **wanted)
