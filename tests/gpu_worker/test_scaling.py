"""A JPEG whose sides are no multiple of what its decoder shrinks by: the small picture
shows all of it where it is, up to the far ends."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from gpu_worker import pixels
from gpu_worker.engines.imaging.engine import Resize
from gpu_worker.engines.proxying.engine import Proxy
from tests.gpu_worker.engines.pictures import PHOTOS, run, seen

PHOTO = PHOTOS / "animal_white_tiger.jpg"
# In pixels of the result; it was up to 0.75. Where nearly two pixels become one, 0.125
# may be left.
SLIGHT = 0.15
SIZES = [(2402, 1601), (1607, 1201)]
# Of a half, a quarter, an eighth; by Lanczos and by a cubic.
WIDTHS = [0.49, 0.35, 0.18, 0.1249]


@pytest.mark.parametrize("profile", ["default", "memory_efficient"])
@pytest.mark.parametrize("kind", ["upright", "turned", "grey", "CMYK", "on the fly"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("share", WIDTHS)
def test_nothing_drifts_where_a_photo_is_shrunk_while_it_is_decoded(
    share, size, kind, profile, tmp_path, monkeypatch
):
    monkeypatch.setenv("NIJIKA_PROFILE", profile)
    path, upright = _saved(tmp_path, size, kind)
    width = int(upright.width * share)
    if kind == "on the fly":
        asked = {"width": width, "format": "png"}
        shown = seen(run(_loaded(Proxy), path, "image/jpeg", **asked))
    else:
        asked = {"width": width, "format": "jpg", "quality": 89}
        shown = seen(run(_loaded(Resize), path, "image/jpeg", **asked))
    small = shown.shape[1], shown.shape[0]
    ideal = np.asarray(upright.resize(small, Image.Resampling.LANCZOS))
    assert small[0] == width
    assert np.abs(shown.astype(int) - ideal).mean() < 6
    for corner in _corners(small):
        assert _shift(shown[corner], ideal[corner]) < SLIGHT


def test_a_whole_eighth_but_for_a_pixel_is_not_left_as_the_decoder_made_it():
    photo = _photo((2402, 1601))
    data = _jpeg(photo)
    shown = pixels.decode(data, enough_px=(300, 200))
    ideal = np.asarray(photo.resize((300, 200), Image.Resampling.LANCZOS))
    corner = np.s_[-60:, -90:]
    assert _shift(shown[corner], ideal[corner]) < SLIGHT


def _loaded(engine):
    made = engine()
    made.load()
    return made


def _saved(tmp_path, size, kind):
    """A file, and the upright photo that it is of."""
    mode = {"grey": "L", "CMYK": "CMYK"}.get(kind, "RGB")
    exif = Image.Exif()
    exif[0x0112] = 6 if kind == "turned" else 1
    path = tmp_path / "photo.jpg"
    path.write_bytes(_jpeg(_photo(size).convert(mode), exif=exif))
    with Image.open(path) as image:
        whole = ImageOps.exif_transpose(image)
    if mode == "CMYK":  # by its colours, as the decoder has them
        return path, Image.fromarray(pixels.decode(path))
    return path, whole.convert("RGB")


def _photo(size):
    with Image.open(PHOTO) as image:
        return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _jpeg(image, **options):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, **options)
    return file.getvalue()


def _corners(size):
    across, down = (max(24, side // 3) for side in size)
    return np.s_[:down, :across], np.s_[-down:, -across:]


def _shift(shown, ideal):
    """How far one is moved against the other, in pixels: what of their difference goes
    with the slopes."""
    a, b = (np.asarray(one, np.float64).mean(axis=2) for one in (shown, ideal))
    slopes = np.stack([*(s.ravel() for s in np.gradient(b)), np.ones(b.size)], axis=1)
    moved, *_ = np.linalg.lstsq(slopes, (a - b).ravel(), rcond=None)
    return np.abs(moved[:2]).max()
