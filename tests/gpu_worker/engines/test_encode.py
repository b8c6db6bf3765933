"""encode/imaging, and so the file that every imaging operation makes."""

import io

import numpy as np
import pytest
from PIL import Image

from gpu_worker import pixels
from gpu_worker.engines.base import Picture
from gpu_worker.engines.imaging.engine import Encode
from gpu_worker.errors import InvalidParameters
from tests.gpu_worker.engines.pictures import (
    FORMATS,
    plain,
    refuses,
    run,
    save,
    seen,
)

PHOTO = FORMATS / "jpeg_icc_photo.jpg"


@pytest.fixture(scope="module")
def engine() -> Encode:
    made = Encode()
    made.load()
    return made


@pytest.mark.parametrize("name", ["jpg", "jpeg", "png", "webp", "avif", "gif"])
def test_a_photo_looks_the_same_in_every_format(engine, name):
    result = run(engine, PHOTO, "image/jpeg", format=name)
    assert result.content_type == f"image/{pixels.form(name)}"
    assert Image.open(io.BytesIO(result.data)).get_format_mimetype() in (
        result.content_type,
        "image/avif",
    )
    off = np.abs(seen(result)[..., :3].astype(int) - pixels.decode(PHOTO))
    assert off.mean() < 6


@pytest.mark.parametrize("name", ["png", "webp", "avif"])
def test_lossless_keeps_every_pixel(engine, name):
    result = run(engine, PHOTO, format=name, lossless=True)
    assert (seen(result) == pixels.decode(PHOTO)).all()


@pytest.mark.parametrize("name", ["png", "webp", "avif", "gif"])
def test_transparency_stays_where_the_format_has_it(engine, tmp_path, name):
    picture = plain(32, 32, (10, 200, 30, 255))
    picture[:, :16, 3] = 0
    shown = seen(run(engine, save(tmp_path, picture), format=name))
    assert (shown[:, :15, 3] == 0).all()
    assert (shown[:, 17:, 3] == 255).all()


@pytest.mark.parametrize(
    ("wanted", "expected"), [({}, [255] * 3), ({"background": "#08f"}, [0, 136, 255])]
)
def test_a_jpeg_shows_the_background_where_there_was_none(
    engine, tmp_path, wanted, expected
):
    picture = plain(32, 32, (0, 0, 0, 0))
    shown = seen(run(engine, save(tmp_path, picture), format="jpg", **wanted))
    assert shown[16, 16].tolist() == pytest.approx(expected, abs=3)


def test_the_format_of_the_input_is_kept(engine):
    for name, kind in (("webp_alpha.webp", "webp"), ("avif_plain.avif", "avif")):
        assert run(engine, FORMATS / name, f"image/{kind}").content_type.endswith(kind)
    heic = run(engine, FORMATS / "heif_10bit_rgba.heif", "image/heic")
    assert heic.content_type == "image/png"


def test_a_byte_budget_is_kept_with_the_best_quality_that_fits(engine):
    free = len(run(engine, PHOTO, format="jpg", quality=90).data)
    for budget in (free // 2, free // 3, free // 5):
        result = run(engine, PHOTO, format="jpg", quality=90, max_bytes=budget)
        assert 0.9 * budget < len(result.data) <= budget
        assert 10 < result.details["quality"] < 90


def test_a_budget_that_is_large_enough_changes_nothing(engine):
    free = run(engine, PHOTO, format="webp", quality=70)
    result = run(engine, PHOTO, format="webp", quality=70, max_bytes=len(free.data))
    assert (result.data, result.details) == (free.data, {"quality": 70})


@pytest.mark.parametrize("name", ["jpg", "png", "gif"])
def test_a_budget_that_nothing_fits_into_is_refused(engine, name):
    with pytest.raises(InvalidParameters, match="smaller than"):
        run(engine, PHOTO, format=name, max_bytes=200)


@pytest.mark.parametrize("name", ["jpg", "png"])
def test_progressive_files_say_so(engine, name):
    data = run(engine, PHOTO, format=name, progressive=True).data
    info = Image.open(io.BytesIO(data)).info
    assert info.get("progressive") or info.get("interlace")


def test_metadata_is_left_out_unless_it_is_asked_for(engine, tmp_path):
    path = _with_metadata(tmp_path)
    for name in ("jpg", "png", "webp", "avif"):
        bare, kept = (
            Image.open(io.BytesIO(run(engine, path, format=name, **wanted).data))
            for wanted in ({}, {"strip_metadata": False})
        )
        assert not len(bare.getexif()), name
        assert b"Kodak" not in run(engine, path, format=name).data
        assert kept.getexif()[0x010F] == "Kodak", name
        assert kept.getexif().get(0x0112, 1) == 1, name  # it is upright already
        assert kept.size == (20, 30), name


def test_a_profile_is_converted_or_kept(engine):
    path = FORMATS / "png_display_p3.png"
    given = Image.open(io.BytesIO(path.read_bytes()))
    converted, kept = (
        Image.open(io.BytesIO(run(engine, path, format="png", **wanted).data))
        for wanted in ({}, {"icc": "keep"})
    )
    assert "icc_profile" not in converted.info
    assert converted.getpixel((4, 4)) == (255, 0, 0)
    assert kept.info["icc_profile"] == given.info["icc_profile"]
    assert kept.getpixel((4, 4)) == given.convert("RGB").getpixel((4, 4))


def test_a_cmyk_photo_is_converted_although_its_profile_was_to_be_kept(engine):
    path = FORMATS / "jpeg_cmyk_adobe.jpg"
    made = [
        run(engine, path, "image/jpeg", format="png", icc=icc).data
        for icc in ("srgb", "keep")
    ]
    assert made[0] == made[1]
    assert Image.open(io.BytesIO(made[0])).mode == "RGB"


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("gif_animated_transparent.gif", "gif"),
        ("gif_animated_transparent.gif", "webp"),
        ("webp_animated.webp", "gif"),
        ("webp_animated.webp", "webp"),
        ("apng_animated.png", "webp"),
    ],
)
def test_an_animation_stays_one_where_the_format_moves(engine, source, name):
    before = pixels.read(FORMATS / source, frames=True)
    after = pixels.read(run(engine, FORMATS / source, format=name).data, frames=True)
    assert len(after.frames) > 1  # an encoder may join frames that are the same
    assert sum(after.delays_ms) == sum(before.delays_ms)
    assert after.loop == before.loop
    for at_ms in range(5, sum(before.delays_ms), 30):
        one, other = (_over_white(_at(moving, at_ms)) for moving in (before, after))
        assert np.abs(one - other).mean() < 8


@pytest.mark.parametrize("name", ["jpg", "png", "avif"])
def test_elsewhere_an_animation_shows_its_first_frame(engine, name):
    path = FORMATS / "webp_animated.webp"
    result = run(engine, path, format=name)
    still = Image.open(io.BytesIO(result.data))
    assert getattr(still, "n_frames", 1) == 1
    first = _over_white(pixels.decode(path))
    assert np.abs(_over_white(seen(result)) - first).mean() < 8


def test_a_gif_says_how_often_it_plays(engine, tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for repeats, plays in ((None, 1), (0, 0), (2, 3)):
        path = tmp_path / "moving.gif"
        loop = {} if repeats is None else {"loop": repeats}
        frames[0].save(path, save_all=True, append_images=frames[1:], **loop)
        again = run(engine, path, "image/gif")
        assert pixels.read(again.data, frames=True).loop == plays
        assert Image.open(io.BytesIO(again.data)).info.get("loop") == repeats


@pytest.mark.parametrize(
    "wanted",
    [
        {"quality": 50},
        {"format": "png", "quality": 50},
        {"format": "gif", "quality": 50},
        {"format": "heic"},
        {"lossless": True},
        {"format": "jpg", "lossless": True},
        {"format": "webp", "lossless": True, "quality": 50},
        {"format": "webp", "progressive": True},
        {"max_bytes": 0},
        {"icc": "adobe"},
        {"format": "jpg", "background": "white"},
    ],
)
def test_the_schema_refuses(wanted):
    assert refuses(Encode, **wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"format": "avif", "quality": 1},
        {"lossless": False, "progressive": False},
        {"format": "png", "lossless": True, "progressive": True},
    ],
)
def test_the_schema_accepts(wanted):
    assert not refuses(Encode, **wanted)


def _over_white(picture: np.ndarray) -> np.ndarray:
    return pixels.flatten(picture, (255, 255, 255)).astype(int)


def _at(moving: Picture, at_ms: int) -> np.ndarray:
    """What an animation shows at that time."""
    ends = np.cumsum(moving.delays_ms)
    return (moving.pixels, *moving.frames)[int(np.searchsorted(ends, at_ms))]


def _with_metadata(folder):
    """A JPEG of 20 x 30 upright that says who made it, and lies on its side."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Kodak", 6
    exif.get_ifd(0x8825)[1] = "N"
    path = folder / "said.jpg"
    Image.new("RGB", (30, 20), "red").save(path, exif=exif)
    return path
