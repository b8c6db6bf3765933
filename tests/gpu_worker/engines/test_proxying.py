"""Pictures on the fly: sizes by imgproxy's rules, and every step on real pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker.engines.base import Input, Item
from gpu_worker.engines.proxying import pipeline, sizes
from gpu_worker.errors import LimitExceeded, WorkerError

DATA = Path(__file__).resolve().parents[2] / "data"
TIGER = DATA / "photos" / "animal_white_tiger.jpg"
TURNED = DATA / "formats" / "jpeg_exif_orientation_6.jpg"


def made(*paths: Path, **recipe: Any) -> Image.Image:
    inputs = tuple(Input(role="image", path=path) for path in paths)
    result = pipeline.make(Item(job_id="", parameters=recipe, inputs=inputs))
    image = Image.open(io.BytesIO(result.data))
    image.load()
    assert image.size == (result.width_px, result.height_px)
    return image


def drawn(tmp_path: Path, picture: Image.Image) -> Path:
    path = tmp_path / "drawn.png"
    picture.save(path)
    return path


@pytest.mark.parametrize(
    ("source", "recipe", "size"),
    [
        ((1000, 500), {}, (1000, 500)),
        ((1000, 500), {"width": 300}, (300, 150)),
        ((1000, 500), {"height": 300}, (600, 300)),
        ((1000, 500), {"width": 300, "height": 300}, (300, 150)),
        ((1000, 500), {"width": 300, "height": 300, "resizing": "fill"}, (300, 300)),
        ((1000, 500), {"width": 300, "height": 300, "resizing": "force"}, (300, 300)),
        ((1000, 500), {"width": 300, "height": 300, "resizing": "outside"}, (600, 300)),
        ((1000, 500), {"width": 300, "height": 200, "resizing": "auto"}, (300, 200)),
        ((1000, 500), {"width": 200, "height": 300, "resizing": "auto"}, (200, 100)),
        ((1000, 500), {"width": 300, "resizing": "force"}, (300, 500)),
        ((100, 50), {"width": 300}, (100, 50)),
        ((100, 50), {"width": 300, "enlarge": True}, (300, 150)),
        ((100, 50), {"width": 80, "height": 80, "resizing": "fill"}, (80, 50)),
        ((100, 50), {"width": 80, "height": 80, "resizing": "fill-down"}, (50, 50)),
        ((100, 50), {"width": 300, "min_width": 200}, (200, 100)),
        ((1000, 500), {"width": 100, "dpr": 2.0}, (200, 100)),
        ((1000, 500), {"zoom_x": 0.5, "zoom_y": 0.5}, (500, 250)),
        ((1000, 500), {"width": 300, "height": 300, "extend": True}, (300, 300)),
        (
            (1000, 500),
            {"width": 100, "height": 100, "extend_ratio": True},
            (100, 100),
        ),
        ((3, 4000), {"width": 1}, (1, 1333)),
        ((600, 400), {"height": 55}, (83, 55)),
        ((600, 400), {"width": 900, "height": 900, "resizing": "force"}, (400, 400)),
        ((600, 400), {"zoom_x": 0.5, "zoom_y": 2.0}, (150, 400)),
    ],
)
def test_size_follows_the_options(
    source: tuple[int, int], recipe: dict[str, Any], size: tuple[int, int]
) -> None:
    assert sizes.plan(source, recipe).extended == size


@pytest.mark.parametrize(
    ("recipe", "size", "dpr"),
    [
        ({"width": 300, "height": 300, "resizing": "fill"}, (400, 400), 4 / 3),
        ({"width": 900, "height": 900, "resizing": "fill"}, (600, 400), 1),
        ({"width": 300, "height": 300}, (600, 400), 2),
        ({"width": 500, "height": 500, "extend": True}, (600, 600), 1.2),
        ({"width": 300, "height": 300, "resizing": "fill-down"}, (400, 400), 4 / 3),
        ({"width": 900, "min_width": 700}, (700, 467), 1),
        (
            {"width": 300, "height": 300, "resizing": "fill", "enlarge": True},
            (600, 600),
            2,
        ),
    ],
)
def test_dpr_is_as_large_as_the_picture_has_pixels_for(
    recipe: dict[str, Any], size: tuple[int, int], dpr: float
) -> None:
    plan = sizes.plan((600, 400), recipe | {"dpr": 2.0})
    assert plan.extended == size
    assert plan.dpr == pytest.approx(dpr)


@pytest.mark.parametrize(
    ("recipe", "fill"),
    [({"zoom_x": 2.0, "zoom_y": 3.0}, True), ({"width": 100, "height": 150}, False)],
)
def test_auto_looks_at_the_box_before_it_is_zoomed(
    recipe: dict[str, Any], fill: bool
) -> None:
    box = {"width": 100, "height": 100, "resizing": "auto"} | recipe
    like = box | {"resizing": "fill" if fill else "fit"}
    assert sizes.plan((600, 400), box) == sizes.plan((600, 400), like)


def test_enlarged_picture_is_judged_by_what_stays_of_it(tmp_path: Path) -> None:
    sliver = Image.fromarray(np.arange(4000, dtype=np.uint16)[:, None] // 16).convert(
        "RGB"
    )
    wanted = {"width": 1000, "height": 1000, "resizing": "fill", "enlarge": True}
    for gravity in ("ce", "sm"):
        place = {"kind": gravity, "x": 0.0, "y": 0.0}
        recipe = wanted | {"gravity": place, "format": "png"}
        assert made(drawn(tmp_path, sliver), **recipe).size == (1000, 1000)


@pytest.mark.parametrize(
    "recipe",
    [
        {"width": 4096, "dpr": 2.0, "enlarge": True},
        {"min_height": 4096},
        {"width": 10, "height": 4096, "resizing": "fill", "enlarge": True, "dpr": 8.0},
        {"zoom_x": 16.0, "zoom_y": 16.0, "enlarge": True},
    ],
)
def test_result_beyond_the_limit_is_refused_before_any_pixel(
    recipe: dict[str, Any],
) -> None:
    with pytest.raises(LimitExceeded):
        sizes.plan((1000, 500), recipe)


@pytest.mark.parametrize(
    ("gravity", "corner"),
    [
        (("ce", 0, 0), (40, 15)),
        (("nowe", 0, 0), (0, 0)),
        (("soea", 0, 0), (80, 30)),
        (("no", 0, 0), (40, 0)),
        (("we", 5, 0), (5, 15)),
        (("ea", 5, 0), (75, 15)),
        (("ce", 0.1, 0), (50, 15)),
        (("ce", 999, 999), (80, 30)),
        (("fp", 0.5, 1), (40, 30)),
        (("fp", 0, 0.5), (0, 15)),
    ],
)
def test_gravity_says_what_stays(
    gravity: tuple[str, float, float], corner: tuple[int, int]
) -> None:
    kind, x, y = gravity
    wanted = {"kind": kind, "x": x, "y": y}
    assert sizes.place((100, 50), (20, 20), wanted) == corner


def test_picture_is_upright_unless_asked_otherwise() -> None:
    upright = made(TURNED, width=100, format="png")
    lying = made(TURNED, width=75, auto_rotate=False, format="png")
    assert upright.size == (100, 75)
    assert lying.size == (75, 100)
    back = np.rot90(np.asarray(lying), -1).astype(int)
    assert np.abs(back - np.asarray(upright.convert("RGB"))).mean() < 6


def test_crop_is_of_the_whole_source_however_small_it_was_decoded() -> None:
    gravity = {"kind": "nowe", "x": 0.0, "y": 0.0}
    crop = {"width": 0.5, "height": 0.5, "gravity": gravity}
    part = made(TIGER, crop=crop, width=60, format="png")
    whole = Image.open(TIGER).convert("RGB")
    expected = whole.crop((0, 0, whole.width // 2, whole.height // 2)).resize(part.size)
    difference = np.abs(np.asarray(part).astype(int) - np.asarray(expected))
    assert difference.mean() < 4


def test_crop_begins_where_it_was_asked_to_however_small_the_photo_was_decoded(
    tmp_path: Path,
) -> None:
    """An eighth of a photo has 300 pixels where 5 of its own are half of one."""
    y, x = np.mgrid[0:1600, 0:2400]
    waves = 127 + 120 * np.sin(x / 12) * np.sin(y / 12)
    photo = Image.fromarray(waves.astype(np.uint8)).convert("RGB")
    path = tmp_path / "photo.jpg"
    photo.save(path, quality=98, subsampling=0)
    for left in (5, 9, 13):
        gravity = {"kind": "nowe", "x": float(left), "y": 0.0}
        crop = {"width": 1600.0, "height": 1600.0, "gravity": gravity}
        part = made(path, crop=crop, width=200, format="png")
        box = (left, 0, left + 1600, 1600)
        expected = photo.resize((200, 200), Image.Resampling.LANCZOS, box=box)
        difference = np.asarray(part).astype(int) - np.asarray(expected)
        assert np.abs(difference).mean() < 2.5


def test_trim_cuts_the_border_of_one_colour(tmp_path: Path) -> None:
    picture = Image.new("RGB", (100, 80), "white")
    picture.paste("navy", (10, 20, 60, 70))
    path = drawn(tmp_path, picture)
    trim = {"threshold": 10.0, "color": "", "equal_hor": False, "equal_ver": False}
    assert made(path, trim=trim).size == (50, 50)
    assert made(path, trim=trim | {"equal_hor": True}).size == (80, 50)
    assert made(path, trim=trim | {"color": "ff0000"}).size == (100, 80)
    one = drawn(tmp_path, Image.new("RGB", (30, 20), "white"))
    assert made(one, trim=trim).size == (30, 20)


def test_jpeg_of_a_clear_picture_has_the_background(tmp_path: Path) -> None:
    path = drawn(tmp_path, Image.new("RGBA", (20, 20), (0, 0, 0, 0)))
    white = made(path, format="jpeg").getpixel((5, 5))
    red = made(path, format="jpeg", background="ff0000").getpixel((5, 5))
    assert white == (255, 255, 255)
    assert red == pytest.approx((255, 0, 0), abs=3)
    assert made(path, format="png").mode == "RGBA"
    assert made(path, format="png", background="00ff00").getpixel((5, 5)) == (0, 255, 0)


def test_format_that_is_not_named_is_the_sources_or_fits_it(tmp_path: Path) -> None:
    clear = drawn(tmp_path, Image.new("RGBA", (20, 20), (9, 9, 9, 99)))
    assert made(TIGER, width=20).format == "JPEG"
    assert made(clear).format == "PNG"
    assert made(clear, format="plain").format == "PNG"
    assert made(TIGER, width=20, format="plain").format == "JPEG"
    assert made(DATA / "formats" / "bmp_rgb24.bmp", width=20).format == "JPEG"


def test_room_around_is_clear_where_the_format_allows(tmp_path: Path) -> None:
    path = drawn(tmp_path, Image.new("RGB", (40, 20), "navy"))
    image = made(path, width=40, height=40, extend=True, padding=(1, 2, 3, 4))
    assert image.size == (46, 44)
    assert image.getpixel((0, 0)) == (0, 0, 0, 0)
    assert image.getpixel((23, 20)) == (0, 0, 128, 255)


def test_rotation_comes_after_resizing_and_flips_after_that(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 10, 10))
    path = drawn(tmp_path, picture)
    turned = made(path, rotate=90, width=40)
    assert turned.size == (20, 40)
    assert turned.getpixel((15, 5)) == (255, 255, 255)
    flipped = made(path, rotate=90, flip_horizontal=True)
    assert flipped.getpixel((5, 5)) == (255, 255, 255)


def test_blur_does_not_bleed_hidden_colours(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 20, 40))
    blurred = made(drawn(tmp_path, picture), blur=4.0)
    red, _, blue, alpha = blurred.getpixel((21, 20))  # type: ignore[misc]
    assert alpha > 50
    assert (red, blue) == pytest.approx((0, 255), abs=6)


def test_watermark_stands_where_asked_and_as_strong(tmp_path: Path) -> None:
    path = drawn(tmp_path, Image.new("RGB", (100, 100), "black"))
    mark = tmp_path / "mark.png"
    Image.new("RGB", (10, 10), "white").save(mark)
    wanted = {
        "opacity": 0.5,
        "position": "soea",
        "x": 5.0,
        "y": 5.0,
        "scale": 0.0,
        "width": 0,
        "height": 0,
        "angle": 0.0,
        "shadow": 0.0,
    }
    image = made(path, mark, watermark=wanted)
    assert image.getpixel((90, 90)) == pytest.approx((128,) * 3, abs=2)
    assert image.getpixel((96, 96)) == image.getpixel((84, 84)) == (0, 0, 0)
    scaled = made(path, mark, watermark=wanted | {"scale": 0.5, "position": "ce"})
    assert scaled.getpixel((35, 35)) == pytest.approx((128,) * 3, abs=2)
    tiled = made(path, mark, watermark=wanted | {"position": "re"})
    assert (np.asarray(tiled) > 100).mean() == pytest.approx(100 / 225, abs=0.05)


def test_byte_budget_is_kept() -> None:
    inputs = (Input(role="image", path=TIGER),)
    recipe = {"width": 400, "format": "jpeg", "max_bytes": 8000}
    item = Item(job_id="", parameters=recipe, inputs=inputs)
    assert 4000 < len(pipeline.make(item).data) <= 8000


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "avif", "gif"])
def test_every_format_is_written(kind: str) -> None:
    wanted = {"AVIF": "AVIF", "JPEG": "JPEG"}.get(kind.upper(), kind.upper())
    assert made(TIGER, width=40, format=kind).format == wanted


@pytest.mark.parametrize(
    "path", sorted((DATA / "formats").iterdir()), ids=lambda path: path.name
)
def test_every_file_becomes_a_picture_or_a_clear_error(path: Path) -> None:
    try:
        assert max(made(path, width=32, height=32, format="webp").size) <= 32
    except WorkerError as error:
        assert error.code in ("invalid_image", "limit_exceeded")
        assert "broken" in path.name or "bomb" in path.name or "trunc" in path.name
