"""resize/imaging: sizes by every fit, formats, and pixels that are right."""

import tracemalloc

import numpy as np
import pytest

from gpu_worker import pixels
from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging import resize
from gpu_worker.engines.imaging.engine import Resize
from gpu_worker.errors import InvalidImage, LimitExceeded
from tests.gpu_worker.engines.pictures import (
    DATA,
    FORMATS,
    Silent,
    item,
    plain,
    refuses,
    run,
    save,
    seen,
)

# What becomes of 400 x 200, by (fit, width, height).
SIZES = [
    ("cover", 100, 100, (100, 100)),
    ("contain", 100, 100, (100, 100)),
    ("fill", 100, 100, (100, 100)),
    ("inside", 100, 100, (100, 50)),
    ("outside", 100, 100, (200, 100)),
    ("cover", 100, None, (100, 50)),
    ("contain", None, 100, (200, 100)),
    ("fill", 100, None, (100, 50)),
    ("inside", None, 30, (60, 30)),
    ("outside", 40, None, (40, 20)),
    ("inside", 1, 1, (1, 1)),
]
# The same for a box that is larger than the picture, without and with `enlarge`.
LARGER = [
    ("cover", 800, 100, (400, 100), (800, 100)),
    ("cover", 800, 800, (400, 200), (800, 800)),
    ("contain", 800, 800, (800, 800), (800, 800)),
    ("fill", 800, 100, (400, 100), (800, 100)),
    ("inside", 800, 800, (400, 200), (800, 400)),
    ("outside", 800, 800, (400, 200), (1600, 800)),
    ("inside", 800, None, (400, 200), (800, 400)),
]


@pytest.fixture(scope="module")
def engine() -> Resize:
    made = Resize()
    made.load()
    return made


@pytest.fixture
def picture(tmp_path):
    """400 x 200, the left half red, the right half blue."""
    halves = plain(200, 400, (220, 20, 20))
    halves[:, 200:] = (20, 20, 220)
    return save(tmp_path, halves)


@pytest.mark.parametrize(("fit", "width", "height", "size"), SIZES)
def test_each_fit_gives_its_size(engine, picture, fit, width, height, size):
    box = {"width": width, "height": height}
    wanted = {name: side for name, side in box.items() if side}
    result = run(engine, picture, fit=fit, **wanted)
    assert (result.width_px, result.height_px) == size
    assert seen(result).shape[1::-1] == size


@pytest.mark.parametrize(("fit", "width", "height", "kept", "enlarged"), LARGER)
def test_only_enlarge_makes_a_picture_larger(
    engine, picture, fit, width, height, kept, enlarged
):
    box = {"width": width, "height": height}
    wanted = {"fit": fit} | {name: side for name, side in box.items() if side}
    for enlarge, size in ((False, kept), (True, enlarged)):
        result = run(engine, picture, enlarge=enlarge, **wanted)
        assert (result.width_px, result.height_px) == size


def test_cover_crops_from_the_centre(engine, picture):
    shown = seen(run(engine, picture, width=100, height=200))
    assert shown[100, 10].tolist() == pytest.approx([220, 20, 20], abs=3)
    assert shown[100, 90].tolist() == pytest.approx([20, 20, 220], abs=3)


def test_contain_pads_with_nothing_and_a_jpeg_with_white(engine, picture):
    clear = seen(run(engine, picture, width=100, height=100, fit="contain"))
    assert clear[5, 50].tolist() == [0, 0, 0, 0]
    assert clear[50, 10].tolist() == pytest.approx([220, 20, 20, 255], abs=3)
    wanted = {"width": 100, "height": 100, "fit": "contain", "format": "jpg"}
    assert seen(run(engine, picture, **wanted))[5, 50].tolist() == [255, 255, 255]


def test_dpr_multiplies_the_box(engine, picture):
    result = run(engine, picture, width=100, dpr=1.5)
    assert (result.width_px, result.height_px) == (150, 75)
    tiny = run(engine, picture, width=1, height=1, fit="fill", dpr=0.2)
    assert (tiny.width_px, tiny.height_px) == (1, 1)


@pytest.mark.parametrize(
    ("gravity", "colour"), [("west", [220, 20, 20]), ("north-east", [20, 20, 220])]
)
def test_gravity_says_what_cover_keeps(engine, picture, gravity, colour):
    wanted = {"width": 50, "height": 100, "gravity": gravity}
    shown = seen(run(engine, picture, "image/png", **wanted))
    assert shown.shape[:2] == (100, 50)
    assert shown[50, 25].tolist() == pytest.approx(colour, abs=3)


def test_gravity_says_where_contain_puts_the_picture(engine, picture):
    wanted = {"width": 100, "height": 100, "fit": "contain", "gravity": "south"}
    shown = seen(run(engine, picture, "image/png", **wanted))
    assert (shown[:50, :, 3] == 0).all()
    assert (shown[50:, :, 3] == 255).all()


def test_background_fills_the_padding_without_alpha(engine, picture):
    wanted = {"width": 100, "height": 100, "fit": "contain", "background": "#0a0"}
    shown = seen(run(engine, picture, "image/png", **wanted))
    assert shown.shape == (100, 100, 3)
    assert shown[10, 50].tolist() == [0, 170, 0]
    assert shown[50, 10].tolist() == pytest.approx([220, 20, 20], abs=3)


def test_greyscale_has_no_colour_and_keeps_alpha(engine, tmp_path):
    picture = plain(40, 40, (200, 100, 0, 255))
    picture[:, :20, 3] = 0
    shown = seen(run(engine, save(tmp_path, picture), width=20, greyscale=True))
    assert shown[10, 15].tolist() == [119, 119, 119, 255]
    assert shown[10, 5, 3] == 0


def test_blur_softens_and_takes_no_colour_from_what_is_hidden(engine, tmp_path):
    picture = plain(40, 40, (250, 250, 250, 255))
    picture[:, :20] = (255, 0, 255, 0)
    wanted = {"width": 40, "blur": 3}
    shown = seen(run(engine, save(tmp_path, picture), "image/png", **wanted))
    assert 100 < shown[20, 20, 3] < 160
    visible = shown[shown[..., 3] > 20].astype(int)
    assert (visible[:, 1] > 235).all()


def test_sharpen_raises_the_contrast_of_an_edge(engine, tmp_path):
    picture = plain(40, 40, (100, 100, 100))
    picture[:, 20:] = 150
    path = save(tmp_path, picture)
    plainly, sharp = (
        seen(run(engine, path, "image/png", width=40, **wanted))[20]
        for wanted in ({}, {"sharpen": 1})
    )
    assert plainly.min() == 100
    assert sharp.min() < 95
    assert sharp.max() > 155
    assert sharp[2].tolist() == [100] * 3


def test_an_animation_is_resized_frame_by_frame(engine):
    path = FORMATS / "gif_animated_transparent.gif"
    result = run(engine, path, "image/gif", width=40, format="webp")
    made = pixels.read(result.data, frames=True)
    assert made.pixels.shape[:2] == (40, 40)
    assert len(made.frames) > 3
    assert sum(made.delays_ms) == 900


@pytest.mark.parametrize(
    "wanted",
    [
        {"width": 100},
        {"width": 100, "fit": "inside"},
        {"height": 37, "fit": "outside"},
        {"width": 61, "height": 83},
        {"width": 61, "height": 83, "fit": "inside"},
        {"width": 61, "height": 83, "fit": "outside"},
        {"width": 61, "height": 83, "fit": "contain", "enlarge": True},
        {"width": 77, "fit": "fill"},
    ],
)
@pytest.mark.parametrize("size", [(1000, 34), (403, 201), (640, 480), (299, 1201)])
def test_what_was_shrunk_while_decoding_is_not_scaled_again(size, wanted):
    first = resize.plan(size, wanted)
    again = resize.plan(first.scaled_px, wanted)
    assert again == first
    if "width" in wanted and "height" not in wanted:
        assert first.result_px[0] == min(wanted["width"], size[0])


def test_a_turned_photo_is_resized_upright_like_libvips_does(engine):
    photo = FORMATS / "jpeg_exif_orientation_6.jpg"
    ours = seen(run(engine, photo, "image/jpeg", width=320)).astype(int)
    theirs = pixels.decode(DATA / "operations" / "op_orient_landscape_6.jpg")
    assert ours.shape == theirs.shape == (240, 320, 3)
    assert np.abs(_quarter(ours) - _quarter(theirs.astype(int))).mean() < 3


def test_what_is_hidden_under_alpha_zero_does_not_bleed_into_the_edge(engine, tmp_path):
    picture = plain(200, 200, (255, 255, 255, 255))
    picture[:, :100] = (255, 0, 255, 0)
    shown = seen(run(engine, save(tmp_path, picture), width=37))
    visible = shown[shown[..., 3] > 40]
    assert (visible[:, 1] > 240).all()


def test_a_fine_pattern_becomes_its_mean_without_moire(engine, tmp_path):
    picture = plain(400, 400, (0, 0, 0))
    picture[:, ::2] = 254
    shown = seen(run(engine, save(tmp_path, picture), width=50))
    assert np.abs(shown.astype(int) - 127).max() < 6


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ("image/png", {}, "image/png"),
        ("image/jpeg", {}, "image/jpeg"),
        ("image/heic", {}, "image/jpeg"),
        ("image/heic", {"fit": "contain"}, "image/png"),
        ("image/png", {"format": "webp", "quality": 20}, "image/webp"),
        ("image/png", {"format": "jpg"}, "image/jpeg"),
    ],
)
def test_the_format_is_the_wanted_or_the_inputs_own(
    engine, picture, given, wanted, expected
):
    result = run(engine, picture, given, width=90, height=90, **wanted)
    assert result.content_type == expected
    assert pixels.decode(result.data).shape[:2] == (90, 90)


def test_quality_decides_about_the_bytes(engine):
    photo = FORMATS / "jpeg_icc_photo.jpg"
    low, high = (
        run(engine, photo, width=200, format="jpg", quality=quality)
        for quality in (20, 95)
    )
    assert len(low.data) * 3 < len(high.data)


@pytest.mark.parametrize("gravity", ["center", "north", "south-east", "west"])
@pytest.mark.parametrize(
    "filters", [{}, {"blur": 3}, {"sharpen": 2}, {"blur": 1, "sharpen": 1}]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_covers_an_enlarged_box_is_cut_from_the_whole(gravity, filters, channels):
    noise = np.random.default_rng(5).integers(0, 256, (40, 23, 4), np.uint8)
    noise[..., 3] |= 128  # what is nearly transparent has no colour to compare
    shown = noise[..., 0] if channels == 1 else noise[..., :channels]
    wanted = {"fit": "cover", "enlarge": True, "gravity": gravity} | filters
    box = {"width": 150, "height": 60}
    found = resize.apply(Picture(pixels=shown), wanted | box, {}).pixels
    whole = resize.apply(Picture(pixels=shown), wanted | {"width": 150}, {}).pixels
    assert whole.shape[:2] == (261, 150)
    top = {"north": 0, "south-east": 261 - 60}.get(gravity, (261 - 60) // 2)
    off = np.abs(found.astype(int) - whole[top : top + 60])
    # Places are counted in single precision, and sharpening doubles what that rounds.
    assert off.max() <= 2 + 2 * filters.get("sharpen", 0)
    assert off.mean() < 0.05


@pytest.mark.parametrize("gravity", ["center", "north", "south"])
def test_a_sliver_covers_a_box_though_the_whole_would_be_too_large(
    engine, tmp_path, gravity
):
    thirds = plain(9000, 10, (220, 20, 20))
    thirds[3000:6000] = (20, 220, 20)
    thirds[6000:] = (20, 20, 220)
    wanted = {"width": 500, "height": 500, "enlarge": True, "gravity": gravity}
    result = run(engine, save(tmp_path, thirds), **wanted)
    assert (result.width_px, result.height_px) == (500, 500)
    colour = {"north": (220, 20, 20), "center": (20, 220, 20), "south": (20, 20, 220)}
    assert np.abs(seen(result).astype(int) - colour[gravity]).max() <= 2


def test_a_sliver_is_enlarged_in_little_memory():
    shown = np.zeros((16_000, 1, 3), np.uint8)
    tracemalloc.start()
    wanted = {"width": 500, "height": 500, "enlarge": True, "sharpen": 1}
    made = resize.apply(Picture(pixels=shown), wanted, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.pixels.shape == (500, 500, 3)
    assert peak < 20e6


def test_a_size_that_no_side_may_have_is_refused():
    wanted = {"width": 7000, "height": 7000, "fit": "outside", "enlarge": True}
    with pytest.raises(LimitExceeded):
        resize.plan((10, 1000), wanted)
    with pytest.raises(LimitExceeded):
        resize.plan((10, 1000), wanted | {"fit": "cover", "dpr": 1.1})


def test_a_damaged_image_is_refused_as_such(engine):
    with pytest.raises(InvalidImage):
        engine.run([item(FORMATS / "jpeg_truncated.jpg", width=10)], Silent())


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"fit": "cover"},
        {"width": 0},
        {"width": 7001},
        {"width": 10, "fit": "crop"},
        {"width": 10, "quality": 50},
        {"width": 10, "format": "png", "quality": 50},
        {"width": 10, "format": "bmp"},
        {"width": 10, "format": "jpg", "quality": 101},
        {"width": 10, "blur": 101},
        {"width": 10, "gravity": "middle"},
        {"width": 10, "dpr": 0},
        {"width": 10, "background": "red"},
    ],
)
def test_the_schema_refuses(wanted):
    assert refuses(Resize, **wanted)


@pytest.mark.parametrize(
    "wanted", [{"width": 1}, {"height": 7000, "format": "webp", "quality": 1}]
)
def test_the_schema_accepts(wanted):
    assert not refuses(Resize, **wanted)


def _quarter(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[0] // 4, picture.shape[1] // 4
    return picture.reshape(height, 4, width, 4, 3).mean(axis=(1, 3))
