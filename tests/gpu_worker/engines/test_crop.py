"""crop/imaging: boxes in pixels and fractions, gravity, focus, trim."""

import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.imaging.engine import Crop
from gpu_worker.errors import InvalidParameters
from tests.gpu_worker.engines.pictures import FORMATS, plain, refuses, run, save, seen

# The pixel at (x, y) of the 100 x 80 picture is (2 x, 3 y, 0).
PLACES = [
    ({"x": 10, "y": 20, "width": 30, "height": 40}, (10, 20, 30, 40)),
    ({"x": 10, "y": 20}, (10, 20, 90, 60)),
    ({"x": 90}, (90, 0, 10, 80)),
    ({"width": 30, "height": 20}, (35, 30, 30, 20)),
    ({"width": 30}, (35, 0, 30, 80)),
    ({"width": 30, "height": 20, "gravity": "north-west"}, (0, 0, 30, 20)),
    ({"width": 30, "height": 20, "gravity": "south-east"}, (70, 60, 30, 20)),
    ({"width": 30, "height": 20, "gravity": "west"}, (0, 30, 30, 20)),
    ({"width": 30, "height": 20, "focus_x": 0.9, "focus_y": 0.5}, (70, 30, 30, 20)),
    ({"width": 30, "height": 20, "focus_x": 0.4, "focus_y": 0}, (25, 0, 30, 20)),
    (
        {"unit": "fraction", "x": 0.25, "y": 0.5, "width": 0.5, "height": 0.25},
        (25, 40, 50, 20),
    ),
    ({"unit": "fraction", "width": 0.001, "height": 1}, (49, 0, 1, 80)),
]


@pytest.fixture(scope="module")
def engine() -> Crop:
    made = Crop()
    made.load()
    return made


@pytest.fixture
def picture(tmp_path):
    ramp = np.zeros((80, 100, 3), np.uint8)
    ramp[..., 0] = 2 * np.arange(100)
    ramp[..., 1] = 3 * np.arange(80)[:, None]
    return save(tmp_path, ramp)


@pytest.mark.parametrize(("wanted", "box"), PLACES)
def test_a_box_is_cut_where_it_was_asked_for(engine, picture, wanted, box):
    left, top, width, height = box
    shown = seen(run(engine, picture, "image/png", **wanted))
    assert shown.shape[:2] == (height, width)
    assert shown[0, 0].tolist() == [2 * left, 3 * top, 0]
    assert shown[-1, -1].tolist() == [2 * (left + width - 1), 3 * (top + height - 1), 0]


@pytest.mark.parametrize(
    "wanted",
    [
        {"x": 80, "width": 21},
        {"x": 100},
        {"y": 80, "height": 1},
        {"width": 101},
        {"width": 10, "height": 81, "gravity": "east"},
        {"unit": "fraction", "x": 0.6, "width": 0.5},
    ],
)
def test_a_box_that_reaches_beyond_the_picture_is_refused(engine, picture, wanted):
    with pytest.raises(InvalidParameters, match="100 x 80") as refusal:
        run(engine, picture, **wanted)
    assert refusal.value.code == "invalid_parameters"


def test_thirds_side_by_side_leave_no_gap(engine, picture):
    third = 1 / 3
    widths = [
        run(engine, picture, unit="fraction", x=n * third, width=third).width_px
        for n in range(3)
    ]
    assert sum(widths) == 100


def test_trim_cuts_away_the_colour_of_the_corner(engine, tmp_path):
    picture = plain(60, 80, (250, 250, 250))
    picture[20:30, 10:50] = (10, 90, 10)
    picture[40, 70] = (245, 250, 250)  # noise of the border
    shown = seen(run(engine, save(tmp_path, picture), "image/png", trim=True))
    assert shown.shape[:2] == (10, 40)
    assert (shown == (10, 90, 10)).all()


def test_trim_cuts_away_what_is_transparent(engine, tmp_path):
    picture = plain(60, 80, (250, 0, 0, 0))
    picture[20:30, 10:50, 3] = 255
    result = run(engine, save(tmp_path, picture), "image/png", trim=True)
    assert (result.width_px, result.height_px) == (40, 10)


def test_trim_threshold_says_what_is_border(engine, tmp_path):
    picture = plain(60, 80, (200, 200, 200))
    picture[20:30, 10:50] = (170, 200, 200)
    picture[22:24, 20:24] = (0, 0, 0)
    wanted = {"trim": True, "trim_threshold": 40}
    result = run(engine, save(tmp_path, picture), **wanted)
    assert (result.width_px, result.height_px) == (4, 2)


def test_a_picture_of_one_colour_has_nothing_to_trim(engine, tmp_path):
    with pytest.raises(InvalidParameters, match="the same all over"):
        run(engine, save(tmp_path, plain(9, 9)), trim=True)


def test_trim_comes_before_the_box(engine, tmp_path):
    picture = plain(60, 80, (255, 255, 255))
    picture[20:40, 10:50] = (10, 90, 10)
    wanted = {"trim": True, "width": 20, "height": 20, "gravity": "west"}
    shown = seen(run(engine, save(tmp_path, picture), "image/png", **wanted))
    assert (shown == (10, 90, 10)).all()


def test_an_animation_is_trimmed_to_what_any_frame_shows(engine, tmp_path):
    frames = [plain(40, 40, (255, 255, 255)) for _ in range(2)]
    frames[0][10:20, 10:20] = (200, 0, 0)
    frames[1][15:30, 5:15] = (0, 0, 200)
    file = pixels.encode(frames[0], "webp", lossless=True, frames=frames[1:])
    path = tmp_path / "moving.webp"
    path.write_bytes(file.data)
    result = run(engine, path, "image/webp", trim=True)
    assert (result.width_px, result.height_px) == (15, 20)
    assert len(pixels.read(result.data, frames=True).frames) == 1


def test_a_turned_photo_is_cropped_upright(engine):
    photo = FORMATS / "jpeg_exif_orientation_6.jpg"  # 600 x 450 upright
    whole = pixels.decode(photo)
    shown = seen(run(engine, photo, "image/png", x=500, y=100, width=100, height=300))
    assert (shown == whole[100:400, 500:600]).all()


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"trim": False},
        {"gravity": "west"},
        {"width": 0},
        {"width": 1.5},
        {"width": 10, "unit": "fraction"},
        {"unit": "percent", "width": 10},
        {"width": 10, "x": -1},
        {"width": 10, "focus_x": 0.5},
        {"width": 10, "focus_x": 0.5, "focus_y": 1.1},
        {"x": 3, "focus_x": 0.5, "focus_y": 0.5},
        {"width": 10, "trim_threshold": 9},
        {"width": 10, "gravity": "centre"},
    ],
)
def test_the_schema_refuses(wanted):
    assert refuses(Crop, **wanted)
