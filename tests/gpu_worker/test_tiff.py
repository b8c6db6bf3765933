"""TIFFs that Pillow has no mode for are read as what they are, or refused as that."""

import struct

import numpy as np
import pytest
from PIL import ImageCms

from gpu_worker import pixels
from gpu_worker.errors import InvalidImage
from gpu_worker.pixels import libvips
from gpu_worker.pixels.tiff import TiffFile
from tests.gpu_worker.tiffs import (
    ALPHA,
    CMYK,
    GREY,
    HEIGHT,
    ICC_LAB,
    LAB,
    PREMULTIPLIED,
    RGB,
    UNSPECIFIED,
    WHITE_IS_ZERO,
    WIDTH,
    ramps,
    tiff,
)


def assert_is(picture: np.ndarray, wanted: np.ndarray, *, within: float = 1) -> None:
    assert picture.shape == wanted.shape
    assert np.abs(picture.astype(float) - wanted).max() <= within


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_alpha_beside_cmyk_is_alpha(kind, order):
    white = np.iinfo(kind).max
    inks = ramps(5, white).astype(kind)
    inks[..., 3] = 0
    picture = pixels.decode(tiff(inks, CMYK, extra=ALPHA, order=order))
    light = 255 * (1 - ramps(3))
    assert_is(picture, np.dstack([light, 255 * ramps(5)[..., 4]]), within=2)


@pytest.mark.parametrize("kind", ["u4", "f4", "f2"])
@pytest.mark.parametrize("big", [False, True])
def test_colours_of_many_bits_keep_their_levels(kind, big):
    white = np.iinfo(kind).max if kind == "u4" else 1
    picture = pixels.decode(tiff(ramps(3, white).astype(kind), RGB, big=big))
    assert_is(picture, 255 * ramps(3))


def test_colours_of_floats_may_have_lights_above_white():
    lit = ramps(3).astype("f4")
    lit[0, 0] = 1.4
    lit[1, 1] = np.nan, np.inf, -1
    picture = pixels.decode(tiff(lit, RGB))
    assert_is(picture[2:], 255 * ramps(3)[2:])
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[1, 1].tolist() == [0, 0, 0]


def test_colours_of_floats_are_read_by_their_profile_at_full_depth():
    """As photo editors write 32 bits: light itself. Of that 8 bits have nine shades for
    the darkest fifth of what is seen."""
    shown = ramps(3)
    light = np.where(shown < 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    icc = _gamma_profile(1.0)
    picture = pixels.decode(tiff(light.astype("f4"), RGB, icc=(34675, "B", icc)))
    assert_is(picture, 255 * shown, within=1.5)


@pytest.mark.parametrize(("kind", "white"), [("u2", 65535), ("f4", 1)])
def test_alpha_beside_deep_grey_is_alpha(kind, white):
    picture = pixels.decode(tiff(ramps(2, white).astype(kind), GREY, extra=ALPHA))
    grey, alpha = 255 * ramps(2)[..., 0], 255 * ramps(2)[..., 1]
    assert_is(picture, np.dstack([grey, grey, grey, alpha]))


def test_premultiplied_floats_are_what_they_were():
    shown = ramps(4).astype("f4")
    shown[..., 3] = 0.5
    data = np.dstack([shown[..., :3] * 0.5, shown[..., 3:]])
    picture = pixels.decode(tiff(data, RGB, extra=PREMULTIPLIED))
    assert_is(picture, 255 * shown)


def test_a_further_channel_that_is_no_alpha_hides_nothing():
    inks = np.zeros((HEIGHT, WIDTH, 5), "u1")
    picture = pixels.decode(tiff(inks, CMYK, extra=UNSPECIFIED))
    assert_is(picture, np.full((HEIGHT, WIDTH, 3), 255))


def test_lab_of_16_bits_is_read():
    lab = np.zeros((HEIGHT, WIDTH, 3), "i2")
    lab[..., 0] = (ramps(1, 65535)[..., 0]).astype("u2").view("i2")
    picture = pixels.decode(tiff(lab.view("u2"), LAB))
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, WIDTH // 2].tolist() == pytest.approx([122] * 3, abs=3)
    assert picture[0, -1].tolist() == pytest.approx([255] * 3, abs=1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("count", [3, 4])
def test_planes_of_16_bits_are_read_as_long_as_they_are(count, order):
    samples = ramps(count, 65535).astype("u2")
    extra = ALPHA if count == 4 else None
    data = tiff(samples, RGB, extra=extra, planar=True, order=order)
    assert_is(pixels.decode(data), 255 * ramps(count))


@pytest.mark.parametrize("order", "<>")
def test_deep_grey_whose_zero_is_white_is_no_negative(order):
    samples = ramps(1, 65535).astype("u2")
    picture = pixels.decode(tiff(samples, WHITE_IS_ZERO, order=order))
    assert_is(picture, 255 * (1 - ramps(1)).repeat(3, axis=2))


@pytest.mark.parametrize("order", "<>")
def test_grey_of_32_bits_keeps_its_levels(order):
    samples = ramps(1, 2**32 - 1).astype("u4")
    assert_is(
        pixels.decode(tiff(samples, GREY, order=order)),
        255 * ramps(1).repeat(3, axis=2),
    )


@pytest.mark.parametrize("turn", range(1, 9))
def test_each_orientation_is_applied_once(turn):
    file = tiff(ramps(3).astype("f4"), RGB, turn=(274, "H", [turn]))
    known = tiff(ramps(3, 255).astype("u1"), RGB, turn=(274, "H", [turn]))
    wanted = pixels.decode(known)
    assert_is(pixels.decode(file), wanted.astype(float), within=2)
    assert pixels.upright_size(file) == wanted.shape[1::-1]


def test_a_picture_keeps_its_profile_where_it_is_wanted():
    icc = _gamma_profile(1.8)
    samples = ramps(3, 2**32 - 1).astype("u4")
    read = pixels.read(tiff(samples, RGB, icc=(34675, "B", icc)), keep_profile=True)
    assert read.icc == icc
    assert_is(read.pixels, 255 * ramps(3))
    shown = pixels.decode(tiff(samples, RGB, icc=(34675, "B", icc)))
    assert shown[12, 16, 0] == pytest.approx(150, abs=2)  # 0.516 to the power of 1.8


UNSUPPORTED = {
    "floats of 64 bits": lambda: tiff(ramps(3), RGB),
    "Lab as profiles have it": lambda: tiff(ramps(3, 255).astype("u1"), ICC_LAB),
    "planes of grey and alpha": lambda: tiff(
        ramps(2, 255).astype("u1"), GREY, extra=ALPHA, planar=True
    ),
    "planes of Lab": lambda: tiff(ramps(3, 255).astype("u1"), LAB, planar=True),
    "big and of Motorola's order": lambda: tiff(
        ramps(3, 255).astype("u1"), RGB, order=">", big=True
    ),
    "a compression of later": lambda: tiff(ramps(3, 255).astype("u1"), RGB).replace(
        struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 3, 1, 50002)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_what_nothing_reads_is_not_called_damaged(kind):
    with pytest.raises(InvalidImage, match="TIFF of this kind is not supported") as no:
        pixels.decode(UNSUPPORTED[kind]())
    assert no.value.code == "invalid_image"


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_short_is_damaged(share):
    data = _table_first(tiff(ramps(3).astype("f4"), RGB))
    assert pixels.decode(data).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(InvalidImage, match="damaged"):
        pixels.decode(data[: int(len(data) * share)])


def test_the_size_that_was_held_against_the_limits_is_the_one_that_is_read(
    monkeypatch,
):
    """However two readers may come to see another one in the same file."""
    larger = libvips.Image.black(WIDTH, HEIGHT + 1, bands=5).copy(interpretation="cmyk")
    monkeypatch.setattr(TiffFile, "_opened", lambda self: larger)
    with pytest.raises(InvalidImage, match="damaged"):
        pixels.decode(tiff(ramps(5, 255).astype("u1"), CMYK, extra=ALPHA))


def _table_first(data: bytes) -> bytes:
    """The same with what tells of the picture before its samples."""
    at = struct.unpack_from("<I", data, 4)[0]
    samples, table = data[8:at], data[at:]
    moved = struct.pack("<HHII", 273, 4, 1, 8 + len(table))
    table = table.replace(struct.pack("<HHII", 273, 4, 1, 8), moved)
    # The bits and the sample formats of three bands do not fit into the table.
    for tag in (258, 339):
        entry = struct.pack("<HHI", tag, 3, 3)
        place = table.index(entry) + len(entry)
        value = struct.unpack_from("<I", table, place)[0] - at + 8
        table = table[:place] + struct.pack("<I", value) + table[place + 4 :]
    return data[:4] + struct.pack("<I", 8) + table + samples


def _gamma_profile(gamma: float) -> bytes:
    """sRGB's own colours by another curve."""
    icc = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", icc, 128)[0]
    curve = struct.pack(">4s4xIH", b"curv", 1, round(gamma * 256))
    for number in range(count):
        name, at, size = struct.unpack_from(">4sII", icc, 132 + 12 * number)
        if name.endswith(b"TRC"):
            assert size >= len(curve)
            icc[at : at + len(curve)] = curve
        if name == b"desc":
            icc[at + 12 : at + size] = icc[at + 12 : at + size].replace(
                "sRGB".encode("utf-16-be"), "ours".encode("utf-16-be")
            )
    return bytes(icc)
