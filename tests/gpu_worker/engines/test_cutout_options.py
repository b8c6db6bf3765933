"""What clients ask of a cut-out, whatever engine has made it."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

from gpu_worker import finishing, pixels, registry
from gpu_worker.contract import Step
from gpu_worker.engines import geometry
from gpu_worker.engines.base import Input, Item, Picture, Result
from gpu_worker.engines.classical import Classical
from gpu_worker.engines.cutout import options
from gpu_worker.engines.parameters import output, removebg
from gpu_worker.errors import InvalidImage, InvalidParameters, LimitExceeded
from gpu_worker.pixels import Pixels
from tests.gpu_worker.engines.pictures import (
    FORMATS,
    LEMUR,
    Silent,
    plain,
    refuses,
    run,
    save,
    seen,
)

RED = (200, 40, 40)
WIDTH, HEIGHT = 200, 100
BOX = (slice(20, 60), slice(30, 110))
"""Where the subject is: 80 wide and 40 high, on no edge."""


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    shown = plain(HEIGHT, WIDTH, (60, 160, 60))
    shown[BOX] = RED
    return save(tmp_path, shown)


def cut_out() -> Pixels:
    """The subject, red; hidden under alpha 0 the photo's green."""
    made = plain(HEIGHT, WIDTH, (60, 160, 60, 0))
    made[BOX] = (*RED, 255)
    return made


def finished(
    photo: Path,
    made: Pixels | None = None,
    *,
    background: Path | None = None,
    steps: tuple[Step, ...] = (),
    **wanted: Any,
) -> Result:
    """What becomes of a cut-out that some engine made of the photo."""
    assert not refuses(Classical, **wanted)
    if not steps:
        wanted = {"format": "png"} | wanted
    inputs = [Input(role="image", path=photo)]
    if background is not None:
        inputs.append(Input(role="bg_image", path=background))
    item = Item(
        job_id="job",
        operation="removebg",
        parameters=wanted,
        inputs=tuple(inputs),
        steps=steps,
    )
    picture = Picture(pixels=cut_out() if made is None else made)
    [result] = finishing.finish(item, [picture], Silent())
    return result


def raw(result: Result) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(result.data)).convert("RGBA"))


def box_of(shown: Pixels) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of what is seen."""
    rows, columns = np.nonzero(shown[..., 3] > 127)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


# Without options


def test_cut_out_without_options_is_a_png_that_hides_nothing(photo):
    result = finished(photo)
    assert (result.content_type, result.details) == ("image/png", {})
    shown = raw(result)
    assert box_of(shown) == (20, 60, 30, 110)
    assert not shown[shown[..., 3] == 0].any()


def test_jpg_without_a_background_is_white(photo):
    result = finished(photo, format="jpg")
    assert result.content_type == "image/jpeg"
    assert seen(result)[2, 2].tolist() == [255, 255, 255]


def test_webp_keeps_the_transparency(photo):
    result = finished(photo, format="webp")
    assert result.content_type == "image/webp"
    assert box_of(raw(result)) == (20, 60, 30, 110)


def test_cut_out_without_alpha_is_solid(photo):
    assert raw(finished(photo, plain(HEIGHT, WIDTH, RED))).min(axis=(0, 1))[3] == 255


# size

MEGAPIXELS = {
    "preview": 0.25, "small": 0.25, "regular": 0.25, "medium": 1.5, "hd": 4,
    "full": 25, "4k": 25, "auto": 25, "50MP": 48,
}  # fmt: skip


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8000 x 6000, a few kilobytes."""
    path = tmp_path_factory.mktemp("large") / "large.png"
    Image.new("1", (8000, 6000)).save(path)
    return path


@pytest.mark.parametrize("size", [*removebg.SIZES])
def test_every_size_is_at_most_its_megapixels(large, size):
    given = Input(role="image", path=large)
    frame = options.frame_of(
        Item(job_id="job", parameters={"size": size}, inputs=(given,))
    )
    most = MEGAPIXELS[size] * 1_000_000
    assert 0.99 * most < frame.width_px * frame.height_px <= most
    assert frame.width_px / frame.height_px == pytest.approx(4 / 3, rel=0.01)


def test_size_never_enlarges(photo):
    assert finished(photo, size="50MP").width_px == WIDTH


def test_real_engine_works_at_the_size_that_was_asked_for():
    engine = Classical()
    engine.load()
    result = run(engine, LEMUR, size="preview")
    assert 0.98 * 250_000 < result.width_px * result.height_px <= 250_000


# roi


def item_of(path: Path, **wanted: Any) -> Item:
    return Item(
        job_id="job", parameters=wanted, inputs=(Input(role="image", path=path),)
    )


@pytest.mark.parametrize(
    ("roi", "rows", "columns"),
    [
        ("0% 0% 100% 100%", (0, 100), (0, 200)),
        ("10px 20px 110px 70px", (20, 70), (10, 110)),
        ("25% 50% 50% 100%", (50, 100), (50, 100)),
        ("50px 10% 75% 9999px", (10, 100), (50, 150)),
    ],
)
def test_engine_sees_the_region_of_interest_alone(photo, roi, rows, columns):
    looked_at = options.picture(item_of(photo, roi=roi))
    whole = pixels.decode(photo)
    assert (looked_at == whole[slice(*rows), slice(*columns)]).all()


def test_what_is_outside_the_region_is_background(photo):
    # The subject is in columns 30 to 110; an engine that saw the region found all.
    inside = plain(HEIGHT, 50, (*RED, 255))
    shown = raw(finished(photo, inside, roi="50px 0px 100px 100px"))
    assert shown.shape == (HEIGHT, WIDTH, 4)
    assert box_of(shown) == (0, HEIGHT, 50, 100)


def test_engine_that_saw_more_than_the_region_gives_the_same(photo):
    region = {"roi": "50px 0px 100px 100px"}
    seen_whole = finished(photo, cut_out(), **region)
    seen_part = finished(photo, cut_out()[:, 50:100], **region)
    assert seen_whole.data == seen_part.data
    assert box_of(raw(seen_whole)) == (20, 60, 50, 100)


def test_region_is_one_of_the_upright_image():
    rotated = FORMATS / "jpeg_exif_orientation_6.jpg"
    width, height = pixels.upright_size(rotated)
    looked_at = options.picture(item_of(rotated, roi="0% 0% 100% 50%"))
    assert looked_at.shape[:2] == (round(height / 2), width)


def test_pixels_of_a_region_are_those_of_the_image_that_was_sent(large):
    wanted = {"size": "preview", "roi": "4000px 3000px 8000px 6000px"}
    frame = options.frame_of(item_of(large, **wanted))
    rows, columns = frame.box
    assert rows == slice(round(frame.height_px / 2), frame.height_px)
    assert columns == slice(round(frame.width_px / 2), frame.width_px)


@pytest.mark.parametrize(
    "roi", ["50% 0% 50% 100%", "60% 0% 20% 100%", "999px 0px 9999px 50px"]
)
def test_empty_region_is_invalid(photo, roi):
    with pytest.raises(InvalidParameters):
        options.picture(item_of(photo, roi=roi))


# crop


@pytest.mark.parametrize(
    ("margin", "above", "right", "below", "left"),
    [
        (None, 0, 0, 0, 0),
        ("0", 0, 0, 0, 0),
        ("7px", 7, 7, 7, 7),
        ("10%", 4, 8, 4, 8),
        ("50%", 20, 40, 20, 40),
        ("500px", 500, 500, 500, 500),
        ("5px 25%", 5, 20, 5, 20),
        ("1px 2px 3px 4px", 1, 2, 3, 4),
    ],
)
def test_crop_leaves_the_subject_and_its_margin(
    photo, margin, above, right, below, left
):
    wanted = {} if margin is None else {"crop_margin": margin}
    shown = raw(finished(photo, crop=True, **wanted))
    assert shown.shape[:2] == (40 + above + below, 80 + left + right)
    assert box_of(shown) == (above, above + 40, left, left + 80)


def test_crop_of_an_empty_cut_out_leaves_it_whole(photo):
    empty = plain(HEIGHT, WIDTH, (0, 0, 0, 0))
    result = finished(photo, empty, crop=True, add_shadow=True)
    assert (result.width_px, result.height_px) == (WIDTH, HEIGHT)
    assert result.details == {"shadow": False}


def test_margin_that_makes_a_picture_too_large_is_refused(tmp_path):
    photo = save(tmp_path, plain(10, 15_500))
    with pytest.raises(LimitExceeded):
        finished(photo, plain(10, 15_500, (1, 2, 3, 255)), crop=True, crop_margin="50%")


# scale and position


def test_scale_fits_the_subject_into_its_share_in_the_middle(photo):
    shown = raw(finished(photo, scale="100%"))
    assert shown.shape[:2] == (HEIGHT, WIDTH)
    assert box_of(shown) == (0, 100, 0, 200)
    top, bottom, left, right = box_of(raw(finished(photo, scale="50%")))
    assert (bottom - top, right - left) == (50, 100)
    assert (top, left) == (25, 50)


@pytest.mark.parametrize(
    ("position", "top", "left"),
    [
        ("original", 20, 30),
        ("center", 30, 60),
        ("0%", 0, 0),
        ("100%", 60, 120),
        ("100% 0%", 0, 120),
        ("25% 50%", 30, 30),
    ],
)
def test_position_says_where_the_subject_stands(photo, position, top, left):
    shown = raw(finished(photo, position=position))
    assert box_of(shown) == (top, top + 40, left, left + 80)


def test_scaled_subject_may_stay_where_it_was_and_never_leaves_the_image(photo):
    assert box_of(raw(finished(photo, scale="20%", position="original"))) == (
        30, 50, 50, 90,
    )  # fmt: skip
    assert box_of(raw(finished(photo, scale="90%", position="original")))[2] == 0


def test_scale_of_an_empty_cut_out_is_empty(photo):
    empty = plain(HEIGHT, WIDTH, (0, 0, 0, 0))
    assert not raw(finished(photo, empty, scale="50%")).any()


# Backgrounds


@pytest.mark.parametrize(
    ("colour", "rgb"),
    [
        ("fff", (255, 255, 255)),
        ("#f0a", (255, 0, 170)),
        ("81d4fa", (0x81, 0xD4, 0xFA)),
        ("#81D4FA", (0x81, 0xD4, 0xFA)),
        ("81d4faff", (0x81, 0xD4, 0xFA)),
        ("green", (0, 128, 0)),
        ("rebeccapurple", (102, 51, 153)),
    ],
)
def test_background_colour_in_every_form(photo, colour, rgb):
    result = finished(photo, bg_color=colour)
    shown = seen(result)
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert tuple(shown[2, 2]) == rgb
    assert tuple(shown[40, 60]) == RED


@pytest.mark.parametrize("colour", ["81d4fa77", "#1237"])
def test_background_colour_can_be_seen_through(photo, colour):
    shown = raw(finished(photo, bg_color=colour))
    assert shown[2, 2, 3] == 0x77
    assert shown[40, 60].tolist() == [*RED, 255]


def test_colour_names_are_those_of_css():
    assert set(removebg.COLOUR_NAMES.split()) == set(ImageColor.colormap)


def test_background_image_fills_the_picture_from_its_middle(photo, tmp_path):
    # Three stripes, as high as wide: only of the middle one is something seen.
    ground = plain(300, 100, (10, 10, 10))
    ground[100:200] = (20, 30, 250)
    shown = seen(finished(photo, background=other(tmp_path, ground)))
    assert shown.shape == (HEIGHT, WIDTH, 3)
    blue = shown[[5, 50, 95], 5]
    assert (np.abs(blue.astype(int) - (20, 30, 250)) < 8).all()
    assert tuple(shown[40, 60]) == RED


def test_background_image_of_the_same_size_is_as_it_is(photo, tmp_path):
    ground = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    shown = seen(finished(photo, background=other(tmp_path, ground)))
    assert (shown[70:] == ground[70:]).all()


def test_background_image_fits_the_picture_as_it_was_cropped(photo, tmp_path):
    ground = other(tmp_path, plain(50, 50, (1, 2, 3)))
    result = finished(photo, background=ground, crop=True, crop_margin="10px")
    assert (result.width_px, result.height_px) == (100, 60)
    assert tuple(seen(result)[0, 0]) == (1, 2, 3)


def test_background_image_that_can_be_seen_through_stays_so(photo, tmp_path):
    ground = other(tmp_path, plain(50, 50, (51, 102, 204, 100)))
    shown = raw(finished(photo, background=ground))
    assert shown[2, 2].tolist() == pytest.approx([51, 102, 204, 100], abs=2)
    assert shown[40, 60].tolist() == [*RED, 255]


def test_background_image_that_is_damaged_is_an_invalid_image(photo):
    with pytest.raises(InvalidImage):
        finished(photo, background=FORMATS / "jpeg_truncated.jpg")


def other(folder: Path, picture: Pixels) -> Path:
    (folder / "other").mkdir()
    return save(folder / "other", picture)


# The shadow


def test_shadow_is_on_the_ground_below_and_soft(photo):
    result = finished(photo, add_shadow=True)
    assert result.details == {"shadow": True}
    shown = raw(result)
    assert (shown[BOX] == (*RED, 255)).all()
    below = shown[60:, 70]
    assert not below[:, :3].any()
    assert 60 < below[0, 3] < 200
    assert (np.diff(below[:, 3].astype(int)) <= 0).all()
    assert below[-1, 3] == 0
    assert not shown[:40, :25, 3].any()


def test_shadow_darkens_what_is_behind_the_subject(photo):
    shown = seen(finished(photo, add_shadow=True, bg_color="white"))
    assert shown[60, 70, 0] < 230
    assert shown[95, 70, 0] > 250
    assert shown[5, 70].tolist() == [255, 255, 255]


def test_crop_leaves_room_for_the_shadow(photo):
    shown = raw(finished(photo, add_shadow=True, crop=True))
    edges = np.concatenate([shown[-1, :, 3], shown[:, 0, 3], shown[:, -1, 3]])
    assert edges.max() <= 3
    assert (shown[..., 3] > 0).sum() > 1.05 * 40 * 80


def test_subject_that_the_lower_edge_cuts_off_has_no_shadow(photo):
    made = cut_out()
    made[20:, 30:110] = (*RED, 255)
    result = finished(photo, made, add_shadow=True)
    assert result.details == {"shadow": False}
    assert result.data == finished(photo, made).data


def test_subject_that_the_region_cuts_off_has_no_shadow(photo):
    result = finished(photo, add_shadow=True, roi="0% 0% 100% 40%")
    assert result.details == {"shadow": False}


def test_shadow_of_a_speck_is_no_longer_than_what_it_belongs_to(photo):
    made = cut_out()
    made[55, 190] = (*RED, 255)
    assert not raw(finished(photo, made, add_shadow=True))[60:, 140:189, 3].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 2), (90, 3)])
def test_shadow_of_the_smallest_subjects(photo, shape):
    made = plain(HEIGHT, WIDTH, (0, 0, 0, 0))
    made[5 : 5 + shape[0], 5 : 5 + shape[1]] = (*RED, 255)
    assert finished(photo, made, add_shadow=True, crop=True).details["shadow"] is True


def test_faint_subject_has_its_shadow(photo):
    made = cut_out()
    made[BOX][..., 3] = 60
    assert finished(photo, made, add_shadow=True).details["shadow"] is True


# channels and zip


@pytest.mark.parametrize("kind", ["png", "webp", "jpg"])
def test_channels_alpha_is_the_opacity_as_a_grey_picture(photo, kind):
    result = finished(photo, channels="alpha", format=kind)
    shown = seen(result)[..., 0]
    assert shown.shape == (HEIGHT, WIDTH)
    assert shown[40, 60] > 250 and shown[5, 5] < 5


def test_zip_has_colours_and_opacity_apart(photo):
    result = finished(photo, format="zip", crop=True, crop_margin="10px")
    assert result.content_type == "application/zip"
    assert (result.width_px, result.height_px) == (100, 60)
    colours, opacity = unzipped(result)
    assert (colours.mode, opacity.mode) == ("RGB", "L")
    assert colours.size == opacity.size == (100, 60)
    expected = raw(finished(photo, crop=True, crop_margin="10px"))
    assert (np.asarray(opacity) == expected[..., 3]).all()
    apart = np.abs(np.asarray(colours).astype(int) - RED)
    assert apart.max() < 12  # also where nothing is seen: no edge, and no green


def test_zip_of_the_same_cut_out_is_the_same_file(photo):
    assert finished(photo, format="zip").data == finished(photo, format="zip").data


def test_zip_of_an_empty_cut_out_shows_nothing_of_the_photo(photo):
    empty = plain(HEIGHT, WIDTH, (60, 160, 60, 0))
    colours, opacity = unzipped(finished(photo, empty, format="zip"))
    assert not np.asarray(colours).any() and not np.asarray(opacity).any()


def unzipped(result: Result) -> tuple[Image.Image, Image.Image]:
    with zipfile.ZipFile(io.BytesIO(result.data)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        assert archive.testzip() is None
        files = [Image.open(io.BytesIO(archive.read(n))) for n in archive.namelist()]
    return files[0], files[1]


# Engines and steps


def test_result_is_the_same_whatever_size_the_engine_worked_at(photo):
    wanted = {"crop": True, "crop_margin": "10%", "bg_color": "fff"}
    usual = seen(finished(photo, **wanted))
    twice = geometry.resized(cut_out(), 2 * WIDTH, 2 * HEIGHT)
    other = seen(finished(photo, twice, **wanted))
    assert abs(usual.shape[1] - other.shape[1]) <= 2
    assert tuple(other[20, 40]) == RED


def test_file_that_an_engine_made_stays_as_it_is(photo):
    file = Result(data=b"x", content_type="image/png", width_px=1, height_px=1)
    item = Item(job_id="job", parameters={"crop": True}, operation="removebg")
    assert finishing.finish(item, [file], Silent()) == (file,)


def test_steps_go_on_from_the_finished_cut_out(photo):
    step = Step(operation="resize", parameters={"width": 50, "format": "webp"})
    result = finished(photo, steps=(step,), crop=True, crop_margin="10px")
    assert result.content_type == "image/webp"
    assert (result.width_px, result.height_px) == (50, 30)
    assert raw(result)[0, 0, 3] == 0


# The schema

REFUSED: list[dict[str, Any]] = [
    {"format": "gif"},
    {"format": "auto"},
    {"output": "alpha"},
    {"background_color": "#fff"},
    {"size": "8k"},
    {"size": "50mp"},
    {"channels": "rgb"},
    {"channels": "alpha", "bg_color": "fff"},
    {"channels": "alpha", "add_shadow": True},
    {"channels": "alpha", "format": "zip"},
    {"format": "zip", "bg_color": "fff"},
    {"bg_color": "#12345"},
    {"bg_color": "12"},
    {"bg_color": "ffffff\n"},
    {"bg_color": "grün"},
    {"bg_color": "transparentish"},
    {"bg_color": ""},
    {"crop_margin": "10%"},
    {"crop": False, "crop_margin": "10%"},
    {"crop": True, "crop_margin": 10},
    {"crop": True, "crop_margin": "10"},
    {"crop": True, "crop_margin": "51%"},
    {"crop": True, "crop_margin": "50.1%"},
    {"crop": True, "crop_margin": "501px"},
    {"crop": True, "crop_margin": "-1px"},
    {"crop": True, "crop_margin": "1px 1px 1px"},
    {"crop": True, "crop_margin": "1px\n"},
    {"crop": True, "scale": "50%"},
    {"crop": True, "position": "center"},
    {"scale": "9%"},
    {"scale": "101%"},
    {"scale": "50"},
    {"scale": 0.5},
    {"position": "101%"},
    {"position": "left"},
    {"position": "10% 10% 10%"},
    {"position": "10px"},
    {"roi": "0 0 10 10"},
    {"roi": "0px 0px 10px"},
    {"roi": "0px 0px 10px 10px 10px"},
    {"roi": "0% 0% 101% 100%"},
    {"roi": "-1px 0px 10px 10px"},
    {"add_shadow": "true"},
]


@pytest.mark.parametrize("wanted", REFUSED)
def test_schema_refuses(wanted):
    assert refuses(Classical, **wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"crop": True},
        {"crop": True, "crop_margin": "49.5% 0 500px 1px"},
        {"crop": False, "scale": "original", "position": "0% 33.3%"},
        {"channels": "alpha", "add_shadow": False, "crop": True, "format": "jpg"},
        {"format": "zip", "add_shadow": True, "channels": "rgba", "scale": "10%"},
        {"roi": "0px 10% 9999px 33.333%", "size": "4k", "bg_color": "fff7"},
    ],
)
def test_schema_accepts(wanted):
    assert not refuses(Classical, **wanted)


def test_what_says_how_a_file_is_written_is_marked_in_every_engines_schema():
    """Before the last step of a pipeline it would be ignored, so it is refused there;
    but not the background of a resize, which is its padding's too."""
    for key in registry.table():
        properties = registry.engine_class(key).spec.parameters.get("properties", {})
        named = {name for name in output.PROPERTIES if name in properties}
        marked = {name for name in named if properties[name].get("x-output")}
        own = {"background"} if key[0] == "resize" else set()
        assert marked == named - own, key
