"""upscale/classical: larger by resampling, sharper than plain, without halos."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from gpu_worker import pixels
from gpu_worker.engines.parameters import upscale
from gpu_worker.engines.upscaling import deblocking, resampling
from gpu_worker.errors import InvalidImage, LimitExceeded
from jobs.errors import BadFields
from tests.gpu_worker.engines.pictures import FORMATS, LEMUR, PHOTOS, plain

TIGER = PHOTOS / "animal_white_tiger.jpg"


def shrunk(path, factor):
    """A photo whose sides are multiples of the factor, and it made smaller by it."""
    photo = pixels.decode(path)[..., :3]
    height, width = (side // factor * factor for side in photo.shape[:2])
    photo = np.ascontiguousarray(photo[:height, :width])
    size = width // factor, height // factor
    return photo, cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def error(one, other):
    return ((one.astype(float) - other) ** 2).mean()


def as_jpeg(picture, quality):
    data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data[1], cv2.IMREAD_COLOR)[..., ::-1])


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5, 6])
def test_the_result_is_so_many_times_as_large(desk, scale):
    assert desk("upscale", plain(21, 33), scale=scale).shape == (
        21 * scale,
        33 * scale,
        3,
    )


def test_a_jpeg_of_quality_95_four_times_as_large_is_the_default(desk):
    shown = desk("upscale", FORMATS / "jpeg_icc_photo.jpg")
    assert shown.shape == (900, 1200, 3)
    assert desk.last.content_type == "image/jpeg"
    best = desk("upscale", FORMATS / "jpeg_icc_photo.jpg", format="png")
    assert error(shown, best) < 6


@pytest.mark.parametrize("path", [PHOTOS / "person_arms_raised.jpg", TIGER])
@pytest.mark.parametrize("factor", [2, 4])
def test_it_is_nearer_to_the_truth_than_plain_lanczos(desk, path, factor):
    photo, small = shrunk(path, factor)
    shown = desk("upscale", small, scale=factor, format="png")
    size = photo.shape[1], photo.shape[0]
    lanczos = np.asarray(Image.fromarray(small).resize(size, Image.Resampling.LANCZOS))
    assert error(shown, photo) < 0.95 * error(lanczos, photo)


def test_an_edge_gets_no_halo(desk):
    image = plain(40, 40, (60, 60, 60))
    image[:, 20:] = 190
    shown = desk("upscale", image, scale=6, format="png")
    assert (shown.min(), shown.max()) == (60, 190)
    assert (np.diff(shown[60, :, 0].astype(int)) >= 0).all()


def test_no_seam_is_left_between_strips(desk):
    """Made in several strips, it is what a part around the seam alone gives."""
    photo, _ = shrunk(LEMUR, 1)
    whole = resampling.enlarged(photo, 4, 0.5)
    strip = resampling.STRIP_PIXELS // (photo.shape[1] * 16)
    part = resampling.enlarged(photo[strip - 40 : strip + 40], 4, 0.5)
    inner = slice((strip - 20) * 4, (strip + 20) * 4)
    assert (whole[inner] == part[80:240]).all()


def test_what_is_hidden_under_alpha_zero_does_not_bleed_into_the_edge(desk):
    image = plain(40, 40, (255, 0, 255, 0))
    image[:, 20:] = (255, 255, 255, 255)
    shown = desk("upscale", image, scale=3, format="png")
    assert shown.shape == (120, 120, 4)
    assert (shown[shown[..., 3] > 40][:, 1] > 235).all()


def test_an_image_with_alpha_lies_on_white_in_a_jpeg(desk):
    shown = desk("upscale", plain(20, 20, (255, 0, 0, 0))[..., :4], scale=2)
    assert shown.shape == (40, 40, 3)
    assert shown.min() > 250


def test_the_seams_of_a_hard_compressed_jpeg_are_closed():
    _, small = shrunk(TIGER, 2)
    before = as_jpeg(small, 25)
    after = deblocking.deblocked(before)
    assert deblocking.grid(_grey(before))[1] > 2 * deblocking.grid(_grey(after))[1]
    assert error(after, small) < error(before, small)


@pytest.mark.parametrize(("left", "phase"), [(0, 0), (3, 5), (7, 1)])
def test_the_grid_is_found_wherever_it_begins(left, phase):
    _, small = shrunk(TIGER, 2)
    assert deblocking.grid(_grey(as_jpeg(small, 30))[:, left:])[0] == phase


@pytest.mark.parametrize("path", [LEMUR, PHOTOS / "interior_bedroom.jpg"])
def test_what_has_no_seams_is_left_alone(path):
    _, small = shrunk(path, 2)
    assert deblocking.deblocked(small) is small
    assert deblocking.deblocked(small[:20, :20]).shape == (20, 20, 3)


def test_what_would_be_too_large_is_refused_from_the_header_alone(desk, tmp_path):
    path = tmp_path / "large.jpg"
    path.write_bytes(pixels.encode(plain(3000, 4000), "jpeg").data[:2000])
    with pytest.raises(LimitExceeded, match="16000 x 12000"):
        desk("upscale", path)


def test_the_colour_profile_is_kept_only_where_asked(desk):
    photo = FORMATS / "jpeg_exif_orientation_6.jpg"
    desk("upscale", photo, scale=1)
    assert not Image.open(io.BytesIO(desk.last.data)).info.get("icc_profile")
    desk("upscale", photo, scale=1, icc="keep")
    assert Image.open(io.BytesIO(desk.last.data)).info["icc_profile"]


def test_a_damaged_image_is_refused_as_such(desk):
    with pytest.raises(InvalidImage):
        desk("upscale", FORMATS / "jpeg_truncated.jpg", scale=1)


@pytest.mark.parametrize("scale", [0, 7, 2.5])
def test_another_scale_is_refused(desk, scale):
    with pytest.raises(BadFields):
        desk("upscale", plain(9, 9), scale=scale)


@pytest.mark.parametrize(
    ("name", "value"), [("model", upscale.MODELS[0]), ("face_enhance", True)]
)
def test_what_only_a_model_can_do_is_refused_by_name_and_says_why(desk, name, value):
    with pytest.raises(BadFields) as refused:
        desk("upscale", plain(9, 9), **{name: value})
    (error,) = refused.value.errors
    assert (error["field"], error["code"]) == (f"parameters.{name}", "unsupported")
    assert "GPU" in error["message"]


def test_an_engine_with_models_takes_the_names_of_those_it_has():
    members = upscale.schema(models=upscale.MODELS)["properties"]
    assert len(members["model"]["enum"]) == 5
    members = upscale.schema(models=upscale.MODELS[3:])["properties"]
    assert members["model"]["default"] == "RealESRGAN_x2plus"
    assert "faces" in members["face_enhance"]["x-refused"]


def _grey(picture):
    return np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
