"""Every format upright, in sRGB and 8 bits; whatever is damaged refused."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from gpu_worker import pixels
from gpu_worker.errors import InvalidImage, StorageUnavailable
from gpu_worker.pixels import Pixels
from tests.gpu_worker.engines.pictures import DATA, FORMATS, plain

# Upright width and height, and the channels that come out.
SHAPES = {
    "apng_animated.png": (128, 64, 3),
    "avif_plain.avif": (128, 128, 3),
    "avif_rotated_irot.avif": (640, 427, 3),
    "bmp_rgb24.bmp": (127, 64, 3),
    "gif_animated_transparent.gif": (80, 80, 4),
    "heic_iphone_12mp.heic": (4032, 3024, 3),
    "heif_10bit_rgba.heif": (128, 128, 4),
    "ico_16.ico": (16, 16, 3),
    "jpeg2000_rgb.jp2": (640, 480, 3),
    "jpeg_cmyk_adobe.jpg": (100, 100, 3),
    "jpeg_exif_orientation_6.jpg": (600, 450, 3),
    "jpeg_exif_orientation_8_portrait.jpg": (450, 600, 3),
    "jpeg_grey.jpg": (128, 128, 3),
    "jpeg_icc_photo.jpg": (300, 225, 3),
    "jpeg_progressive_three_dogs.jpg": (256, 160, 3),
    "mpo_stereo_frozen_pond.mpo": (640, 480, 3),
    "png_16bit_grey.png": (128, 128, 3),
    "png_16bit_rgba.png": (128, 128, 4),
    "png_display_p3.png": (8, 8, 3),
    "png_grey_alpha.png": (400, 300, 4),
    "png_palette_alpha_interlaced.png": (162, 150, 4),
    "tiff_16bit_rgb.tiff": (100, 40, 3),
    "tiff_lzw.tif": (128, 128, 3),
    "tiff_multipage.tiff": (10, 10, 3),
    "webp_alpha.webp": (200, 150, 4),
    "webp_animated.webp": (80, 80, 4),
    "webp_exif_orientation_6.webp": (128, 128, 3),
}
REFUSED = {"gif_decompression_bomb.gif", "jpeg_truncated.jpg", "png_broken.png"}


def test_the_tables_name_every_file_of_the_set():
    assert SHAPES.keys() | REFUSED == {file.name for file in FORMATS.iterdir()}


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_decodes_upright_with_the_size_of_its_header(name):
    width, height, channels = SHAPES[name]
    picture = pixels.decode(FORMATS / name)
    assert picture.shape == (height, width, channels)
    assert picture.dtype == np.uint8
    assert pixels.upright_size(FORMATS / name) == (width, height)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_damaged_file_is_an_invalid_image(name):
    with pytest.raises(InvalidImage) as refusal:
        pixels.decode(FORMATS / name)
    assert refusal.value.code == "invalid_image"
    assert not refusal.value.retryable


@pytest.mark.parametrize("name", ["heic_iphone_12mp.heic", "heif_10bit_rgba.heif"])
@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_heif_that_is_cut_short_is_an_invalid_image(name, share):
    data = (FORMATS / name).read_bytes()
    with pytest.raises(InvalidImage):
        pixels.decode(data[: int(len(data) * share)], enough_px=(300, 225))


def test_a_heic_that_shall_be_smaller_is_made_so_before_its_colours_are():
    """It has a profile, which takes longer for all pixels than to decode them."""
    whole = pixels.decode(FORMATS / "heic_iphone_12mp.heic")
    found = pixels.decode(FORMATS / "heic_iphone_12mp.heic", enough_px=(640, 480))
    wanted = Image.fromarray(whole).resize((640, 480), Image.Resampling.LANCZOS)

    assert found.shape == (480, 640, 3)
    assert np.abs(np.asarray(wanted, np.float32) - found).mean() < 1


def _box(name, content):
    return struct.pack(">I4s", 8 + len(content), name) + content


_VIDEO = _box(b"ftyp", b"mp42\0\0\0\0mp42isom") + _box(b"mdat", bytes(5000))
# Samsung's notes: a name and a value, a directory of them, its length, a last word.
_NOTES = b"\0\0\1\x0a\x0e\0\0\0Image_UTC_Data1708012345678"
_DIRECTORY = b"SEFH" + struct.pack("<IIHHII", 106, 1, 0, 0xA01, len(_NOTES), 35)
_SAMSUNG = _NOTES + _DIRECTORY + struct.pack("<I", len(_DIRECTORY)) + b"SEFT"
TRAILERS = {
    "a motion photo": _box(b"mpvd", _VIDEO),
    "a motion photo cut short": _box(b"mpvd", _VIDEO)[:-700],
    "a video as it is": _VIDEO,
    "Samsung's notes": _SAMSUNG,
    "Samsung's notes in a box": _box(b"mpvd", _VIDEO) + _box(b"sefd", _SAMSUNG),
    "zeros": bytes(100),
    "less than a box": b"\xff\xd9\n",
    "a box that is longer than the file": b"\xff" * 30,
}


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("name", ["heic_iphone_12mp.heic", "heif_10bit_rgba.heif"])
def test_what_a_phone_appends_to_a_heif_is_no_part_of_it(name, trailer):
    data = (FORMATS / name).read_bytes()
    wanted = pixels.decode(data, enough_px=(300, 225))
    found = pixels.decode(data + TRAILERS[trailer], enough_px=(300, 225))
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("name", ["heic_iphone_12mp.heic", "heif_10bit_rgba.heif"])
def test_a_heif_whose_table_names_bytes_behind_its_end_is_an_invalid_image(name):
    """Also where all boxes are closed, as in a file that was cut and mended."""
    data = (FORMATS / name).read_bytes()
    at = data.index(b"mdat")
    kept = (len(data) - at) // 2
    short = struct.pack(">I", 8 + kept) + data[at : at + 4 + kept]
    with pytest.raises(InvalidImage):
        pixels.decode(data[: at - 4] + short, enough_px=(300, 225))


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "LA", "P", "RGB", "RGBA"])
def test_a_lone_pixel_is_a_picture(mode):
    assert pixels.decode(_file(Image.new(mode, (1, 1)), "PNG")).shape[:2] == (1, 1)


def test_a_grey_photo_is_reduced_to_a_lone_pixel():
    photo = _file(Image.new("L", (640, 480), 90), "JPEG")
    assert pixels.decode(photo, enough_px=(1, 1)).tolist() == [[[90, 90, 90]]]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_each_orientation_is_applied_once(turn, kind):
    upright = Image.new("RGB", (32, 48), "white")
    upright.paste("red", (0, 0, 32, 24))
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(turn, turn)
    data = _file(_turned(upright, back), kind, exif=_orientation(turn))
    picture = pixels.decode(data)
    assert picture.shape[:2] == (48, 32)
    assert pixels.upright_size(data) == (32, 48)
    assert picture[6, 16].tolist() == pytest.approx([255, 0, 0], abs=12)
    assert picture[42, 16].tolist() == pytest.approx([255, 255, 255], abs=12)


def test_a_display_p3_picture_becomes_srgb():
    # P3's red lies outside sRGB; what is left of it is full red without green and blue.
    assert pixels.decode(FORMATS / "png_display_p3.png")[4, 4].tolist() == [255, 0, 0]


def test_a_turned_photo_with_a_profile_is_what_libvips_makes_of_it():
    ours = pixels.decode(FORMATS / "jpeg_exif_orientation_6.jpg")
    theirs = pixels.decode(DATA / "operations" / "op_orient_landscape_6.jpg")
    small = [_shrunk(picture, 80, 60) for picture in (ours, theirs)]
    assert np.abs(small[0] - small[1]).mean() < 3  # 13 without the profile


def test_inverted_cmyk_does_not_come_out_as_a_negative():
    picture = pixels.decode(FORMATS / "jpeg_cmyk_adobe.jpg")
    assert picture[-5:, :5].mean() < 30


def test_deep_grey_keeps_its_levels():
    picture = pixels.decode(FORMATS / "png_16bit_grey.png")
    assert picture[0].mean() > 240
    assert picture[-1].mean() < 15
    assert 110 < picture[64].mean() < 145


@pytest.mark.parametrize("white", [1.0, 255.0, 65535.0])
def test_grey_of_floats_keeps_its_levels_whatever_white_is(white):
    ramp = np.linspace(0, white, 64, dtype=np.float32)[None].repeat(8, axis=0)
    picture = pixels.decode(_file(Image.fromarray(ramp), "TIFF"))
    assert picture[0, 32].tolist() == pytest.approx([129] * 3, abs=2)


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "P", "L", "RGB", "1"])
def test_transparency_of_every_kind_becomes_alpha(mode):
    data = _half_transparent(mode)
    picture = pixels.decode(data)
    assert picture.shape == (16, 16, 4)
    assert picture[8, 2, 3] == 0
    assert picture[8, 12, 3] == 255


def test_alpha_that_hides_nothing_is_dropped():
    assert pixels.decode(_file(Image.new("RGBA", (9, 9), "red"), "PNG")).shape[2] == 3


def test_a_file_that_is_gone_by_now_is_trouble_with_the_store(tmp_path):
    with pytest.raises(StorageUnavailable):
        pixels.decode(tmp_path / "absent.png")


def test_a_profile_that_cannot_be_read_is_left_aside():
    data = _file(Image.new("RGB", (9, 9), (10, 20, 30)), "PNG", icc_profile=b"nonsense")
    assert pixels.decode(data)[0, 0].tolist() == [10, 20, 30]


def test_a_profile_of_another_colour_space_is_left_aside():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    data = _file(Image.new("RGB", (9, 9), (10, 20, 30)), "PNG", icc_profile=lab)
    assert pixels.decode(data)[0, 0].tolist() == [10, 20, 30]


def test_grey_is_read_by_its_profile_also_beside_alpha():
    grey, icc = Image.new("LA", (9, 9), (128, 255)), _grey_profile(gamma=1.0)
    solid = pixels.decode(_file(grey.convert("L"), "PNG", icc_profile=icc))
    grey.putpixel((0, 0), (128, 0))
    clear = pixels.decode(_file(grey, "PNG", icc_profile=icc))
    assert solid[4, 4].tolist() == pytest.approx([188] * 3, abs=1)  # sRGB of half light
    assert clear[4, 4].tolist() == [*solid[4, 4].tolist(), 255]
    assert clear[0, 0, 3] == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_reduced_while_it_is_decoded_to_what_is_enough(kind):
    data = _file(Image.new("RGB", (1600, 800), "red"), kind, exif=_orientation(6))
    picture = pixels.decode(data, enough_px=(180, 360))
    assert picture.shape == (360, 180, 3)
    assert picture[0, 0].tolist() == pytest.approx([255, 0, 0], abs=3)
    assert pixels.decode(data, enough_px=(900, 360)).shape[1] >= 800


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("shrink", [4, 8])
@pytest.mark.parametrize("trailer", [b"", b"what phones put behind"])
@pytest.mark.parametrize("profile", ["default", "memory_efficient"])
def test_a_reduced_jpeg_has_the_pixels_that_pillow_makes(
    mode, shrink, trailer, profile, tmp_path, monkeypatch
):
    monkeypatch.setenv("NIJIKA_PROFILE", profile)
    data = _file(_noise(800, 600).convert(mode), "JPEG") + trailer
    size = 800 // shrink, 600 // shrink
    with Image.open(io.BytesIO(data)) as image:
        image.draft(None, size)
        wanted = np.asarray(image.convert("RGB"))
    assert wanted.shape[1::-1] == size
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for source in (path, data):
        assert np.array_equal(pixels.decode(source, enough_px=size), wanted)


@pytest.mark.parametrize("broken", ["cut short", "a scan of no component"])
@pytest.mark.parametrize("profile", ["default", "memory_efficient"])
def test_a_damaged_jpeg_is_refused_also_where_it_is_reduced(
    broken, profile, tmp_path, monkeypatch
):
    monkeypatch.setenv("NIJIKA_PROFILE", profile)
    data = bytearray(_file(_noise(800, 600), "JPEG"))
    if broken == "cut short":
        del data[-2000:]
    else:
        data[data.index(b"\xff\xda") + 5] = 77
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    for source in (path, bytes(data)):
        with pytest.raises(InvalidImage):
            pixels.decode(source, enough_px=(200, 150))


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_encoded_decodes_to_the_same_picture(kind, channels):
    picture = np.full((20, 30, channels), 90, np.uint8)
    picture[5:15, 5:15] = 180
    given = picture[..., 0] if channels == 1 else picture
    given = given[..., :3] if kind == "jpeg" and channels == 4 else given
    file = pixels.encode(given, kind, quality=95)
    assert (file.width_px, file.height_px) == (30, 20)
    assert file.content_type == f"image/{kind}"
    back = pixels.decode(file.data)
    assert np.abs(back[..., 0].astype(int) - picture[..., 0]).max() < 25
    assert back[10, 10, 0] == pytest.approx(180, abs=4)


def test_colours_under_alpha_zero_are_written_as_zero():
    picture = plain(16, 16, (11, 22, 33, 255))
    picture[:, :8, 3] = 0
    file = pixels.encode(picture, "png")
    raw = np.asarray(Image.open(io.BytesIO(file.data)))
    assert not raw[:, :8].any()
    assert raw[0, 8].tolist() == [11, 22, 33, 255]
    assert picture[0, 0].tolist() == [11, 22, 33, 0]  # the caller's is not changed


def test_a_webp_does_not_show_what_was_under_alpha_zero():
    picture = plain(64, 64, (90, 90, 90, 255))
    picture[:, :32] = (0, 255, 0, 0)
    file = pixels.encode(picture, "webp")
    raw = np.asarray(Image.open(io.BytesIO(file.data)).convert("RGBA")).astype(int)
    assert (raw[:, :32, 1] - raw[:, :32, 0]).max() < 20  # nothing green is left


def test_flattening_mixes_by_alpha():
    picture = plain(4, 4, (0, 0, 0, 51))
    assert pixels.flatten(picture, (255, 255, 255))[0, 0].tolist() == [204] * 3


def _file(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)  # type: ignore[arg-type]
    return out.getvalue()


def _noise(width: int, height: int) -> Image.Image:
    grains = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(grains)


def _orientation(turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif.tobytes()


def _turned(image: Image.Image, turn: int) -> Image.Image:
    """The image turned as a decoder turns one whose EXIF orientation is `turn`."""
    ways = Image.Transpose
    way = {
        2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM,
        5: ways.TRANSPOSE, 6: ways.ROTATE_270, 7: ways.TRANSVERSE, 8: ways.ROTATE_90,
    }.get(turn)  # fmt: skip
    return image if way is None else image.transpose(way)


def _grey_profile(*, gamma: float) -> bytes:
    """A display's profile of one channel (ICC.1:2001-04, 6.3.1.1)."""
    white = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
    curve = struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))
    at = 128 + 4 + 2 * 12
    table = struct.pack(">I4sII", 2, b"wtpt", at, len(white))
    table += struct.pack(">4sII", b"kTRC", at + len(white), len(curve))
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i",
        at + len(white) + len(curve),
        0x02400000,
        *(b"mntr", b"GRAY", b"XYZ ", b"acsp"),
        *(63190, 65536, 54061),
    )
    return head.ljust(128, b"\0") + table + white + curve


def _half_transparent(mode: str) -> bytes:
    """A PNG (for PA a TIFF) whose left half is transparent."""
    image = Image.new("RGBA", (16, 16), (200, 200, 200, 255))
    image.paste((0, 0, 0, 0), (0, 0, 8, 16))
    if mode in ("LA", "RGBA"):
        return _file(image.convert(mode), "PNG")
    if mode in ("P", "PA"):
        small = image.convert("RGB").quantize(2)
        black = min(range(2), key=lambda entry: small.getpalette()[3 * entry])
        return _file(small, "PNG", transparency=black)
    black = (0, 0, 0) if mode == "RGB" else 0
    return _file(image.convert("RGB").convert(mode), "PNG", transparency=black)


def _shrunk(picture: Pixels, width: int, height: int) -> np.ndarray:
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.BOX)
    return np.asarray(small).astype(int)
