"""A JPEG resized by its planes: as good as by a picture, and only where that says all
that is asked for."""

import io
import mmap

import numpy as np
import pytest
import simplejpeg
from PIL import Image, ImageCms, ImageOps

from bench.imaging import memory
from gpu_worker import pixels
from gpu_worker.engines.imaging.engine import Resize
from gpu_worker.errors import InvalidImage
from gpu_worker.pixels import planes
from tests.gpu_worker.engines.pictures import LEMUR, PHOTOS, run, seen

TIGER = PHOTOS / "animal_white_tiger.jpg"
# What rounding, and a cubic for Lanczos, may cost in decibels.
SLIGHT = 0.5


@pytest.fixture(scope="module")
def engine() -> Resize:
    made = Resize()
    made.load()
    return made


@pytest.fixture
def scarce(monkeypatch):
    monkeypatch.setenv("NIJIKA_PROFILE", "memory_efficient")


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("share", [0.45, 0.25, 0.2, 0.11])
@pytest.mark.parametrize("size", [(1000, 664), (997, 661), (993, 660), (990, 657)])
def test_it_is_as_close_to_the_photo_as_by_a_picture(
    engine, scarce, turn, share, size, tmp_path
):
    path = _saved(tmp_path, _photo(*size), turn=turn)
    width = int((size if turn < 5 else size[::-1])[0] * share)
    asked = {"width": width, "format": "jpg", "quality": 89}
    made = run(engine, path, "image/jpeg", **asked)
    small = made.width_px, made.height_px
    usual = _by_a_picture(path, small)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    ideal = np.asarray(upright.resize(small, Image.Resampling.LANCZOS))
    assert made.data != usual.data
    assert _decibels(seen(made), ideal) > _decibels(seen(usual), ideal) - SLIGHT


@pytest.mark.parametrize("turn", range(2, 9))
def test_colours_of_odd_sides_keep_their_place_however_they_are_turned(turn, tmp_path):
    """Pairs of pixels share a colour, and are counted from the other end."""
    small = (199, 131) if turn < 5 else (131, 199)
    off = []
    for one, size in ((1, (199, 131)), (turn, small)):
        path = _saved(tmp_path, _photo(996, 660), turn=one)
        file = planes.smaller(path, size, quality=89)
        assert file is not None
        with Image.open(path) as image, Image.open(io.BytesIO(file.data)) as made:
            upright = ImageOps.exif_transpose(image)
            ideal = upright.resize(size, Image.Resampling.LANCZOS)
            colours = [np.asarray(i.convert("YCbCr"))[..., 1:] for i in (made, ideal)]
        off.append(_decibels(*colours))
    assert off[1] == pytest.approx(off[0], abs=0.2)


@pytest.mark.parametrize("sampling", ["444", "422", "440", "420", "411"])
def test_colours_of_any_size_are_taken(sampling, tmp_path):
    photo = _photo(997, 661)
    path = tmp_path / "photo.jpg"
    path.write_bytes(simplejpeg.encode_jpeg(np.asarray(photo), 95, "RGB", sampling))
    file = planes.smaller(path, (199, 132), quality=89)
    assert file is not None
    usual = _by_a_picture(path, (199, 132))
    ideal = np.asarray(photo.resize((199, 132), Image.Resampling.LANCZOS))
    ours, theirs = (_decibels(pixels.decode(f.data), ideal) for f in (file, usual))
    assert ours > theirs - SLIGHT


def test_the_file_is_a_plain_one_with_colours_at_half_the_size(tmp_path):
    file = planes.smaller(_saved(tmp_path, _photo(997, 661), turn=6), (131, 199))
    assert file is not None
    assert (file.width_px, file.height_px) == (131, 199)
    with Image.open(io.BytesIO(file.data)) as image:
        assert image.size == (131, 199)
        assert [part[1:3] for part in image.layer] == [(2, 2), (1, 1), (1, 1)]
        assert not image.getexif()


@pytest.mark.parametrize("size", [(131, 199), (132, 199), (131, 200)])
def test_nothing_but_the_photo_is_in_the_last_rows_and_columns(size, tmp_path):
    path = _saved(tmp_path, Image.new("RGB", (800, 1200), (180, 60, 90)))
    for _ in range(5):
        np.full(300_000, 255, np.uint8)  # what would be read behind the plane
        file = planes.smaller(path, size)
        assert file is not None
        off = np.abs(pixels.decode(file.data).astype(int) - (180, 60, 90))
        assert off.max() <= 3


@pytest.mark.parametrize(
    "more",
    [
        {"greyscale": True},
        {"blur": 2},
        {"sharpen": 1},
        {"height": 40},
        {"height": 190, "fit": "contain"},
        {"progressive": True},
        {"quality": 90},
        {"max_bytes": 4000},
        {"strip_metadata": False},
        {"format": "webp"},
        {"width": 10},
        {"width": 501},
    ],
)
def test_what_asks_for_more_than_a_size_is_done_by_a_picture(
    engine, scarce, more, tmp_path, by_planes
):
    path = _saved(tmp_path, _photo(1000, 664), turn=3)
    run(engine, path, "image/jpeg", **{"width": 200, "format": "jpg"} | more)
    assert not by_planes


@pytest.mark.parametrize(
    ("profile", "width", "is_by_planes"),
    [
        ("default", 250, True),
        ("default", 190, True),
        ("default", 251, False),
        ("default", 180, False),
        ("memory_efficient", 251, True),
        ("memory_efficient", 180, True),
    ],
)
def test_what_takes_longer_by_planes_is_done_so_to_spare_memory(
    engine, profile, width, is_by_planes, tmp_path, by_planes, monkeypatch
):
    monkeypatch.setenv("NIJIKA_PROFILE", profile)
    path = _saved(tmp_path, _photo(1000, 664))
    made = run(engine, path, "image/jpeg", width=width, format="jpg")
    assert made.width_px == width
    assert bool(by_planes) is is_by_planes


@pytest.fixture
def by_planes(monkeypatch):
    """The files that have been made so."""
    files = []
    encode = simplejpeg.encode_jpeg_yuv_planes

    def seen_to(*planes, **options):
        files.append(encode(*planes, **options))
        return files[-1]

    monkeypatch.setattr(simplejpeg, "encode_jpeg_yuv_planes", seen_to)
    return files


@pytest.mark.parametrize(
    "kind", ["P3", "grey", "CMYK", "RGB inside", "PNG", "progressive"]
)
def test_what_holds_no_rows_of_such_planes_is_made_into_a_picture(kind, tmp_path):
    photo = _photo(1000, 664)
    path = tmp_path / "photo"
    path.write_bytes(
        {
            "P3": lambda: _jpeg(photo, icc_profile=_other_profile()),
            "grey": lambda: _jpeg(photo.convert("L")),
            "CMYK": lambda: _jpeg(photo.convert("CMYK")),
            "RGB inside": lambda: _jpeg(photo, keep_rgb=True),
            "progressive": lambda: _jpeg(photo, progressive=True),
            "PNG": lambda: pixels.encode(np.asarray(photo), "png").data,
        }[kind]()
    )
    assert planes.smaller(path, (200, 133)) is None


def test_srgb_by_name_is_srgb(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "photo.jpg"
    path.write_bytes(_jpeg(_photo(1000, 664), icc_profile=srgb))
    assert planes.smaller(path, (200, 133)) is not None


@pytest.mark.parametrize("broken", ["cut short", "a scan of no component", "no scan"])
def test_a_damaged_photo_is_refused(engine, broken, tmp_path):
    data = bytearray(_jpeg(_photo(1000, 664)))
    scan = data.index(b"\xff\xda")
    if broken == "cut short":
        del data[-20_000:]
    elif broken == "no scan":
        del data[scan:]
    else:
        data[scan + 5] = 77
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(InvalidImage):
        run(engine, path, "image/jpeg", width=200)


def test_a_decoder_that_leaves_rows_out_is_not_believed(tmp_path, monkeypatch):
    def elsewhere(_memory, size, *_):
        return Image.core.new("YCbCr", size)

    monkeypatch.setattr(Image.core, "map_buffer", elsewhere)
    assert planes.smaller(_saved(tmp_path, _photo(1000, 664)), (200, 133)) is None


def test_a_large_photo_takes_three_tenths_of_pillows_memory(tmp_path):
    path = tmp_path / "photo.jpg"
    with Image.open(LEMUR) as image:
        path.write_bytes(_jpeg(image.convert("RGB").resize((4000, 3000)), quality=95))
    ours = memory.above_idle_kb("nijika", path)
    assert ours <= 0.3 * memory.above_idle_kb("Pillow draft", path)


def test_rows_that_have_been_taken_are_given_back_to_the_kernel(tmp_path, monkeypatch):
    """What is only out of sight, as of shared memory, would be there once it is looked
    at."""
    given = []
    mapped = mmap.mmap

    def seen_to(*arguments, **options):
        given.append(mapped(*arguments, **options))
        return given[-1]

    monkeypatch.setattr(mmap, "mmap", seen_to)
    assert planes.smaller(_saved(tmp_path, _photo(1000, 664)), (200, 133))
    (memory,) = given
    assert not any(memory[: -mmap.PAGESIZE])


def _by_a_picture(path, size_px) -> pixels.Encoded:
    picture = pixels.decode(path, enough_px=size_px)
    return pixels.encode(picture, "jpeg", quality=89)


def _photo(width: int, height: int) -> Image.Image:
    with Image.open(TIGER) as image:
        return image.resize((width, height), Image.Resampling.LANCZOS)


def _jpeg(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **{"quality": 95, **options})  # type: ignore[arg-type]
    return out.getvalue()


def _saved(folder, image: Image.Image, *, turn: int = 1):
    exif = Image.Exif()
    exif[0x0112] = turn
    path = folder / "photo.jpg"
    path.write_bytes(_jpeg(image, exif=exif.tobytes()))
    return path


def _other_profile() -> bytes:
    with Image.open(PHOTOS.parent / "formats" / "png_display_p3.png") as image:
        return image.info["icc_profile"]


def _decibels(ours, theirs) -> float:
    return 10 * np.log10(255**2 / ((ours.astype(float) - theirs) ** 2).mean())
