"""What a PNG says of its colours without a profile, as browsers heed it."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from gpu_worker import pixels
from gpu_worker.errors import InvalidImage
from gpu_worker.pixels import icc, libvips, png

SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
# From linear display-p3 to linear srgb (CSS Color 4, 16).
TO_SRGB = (1.2249, -0.2247, 0), (-0.0420, 1.0419, 0), (-0.0197, -0.0786, 1.0979)
FULL, NARROW = 1, 0
LEVELS = np.arange(256, dtype=np.uint8)


def gama(value: int) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", value)


def chrm(values: tuple[int, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *values)


def cicp(primaries: int, transfer: int, range_: int = FULL) -> tuple[bytes, bytes]:
    return b"cICP", bytes([primaries, transfer, 0, range_])


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"ours\0\0" + zlib.compress(profile)


def made(*chunks: tuple[bytes, bytes], mode: str = "RGB") -> bytes:
    """A ramp of all levels, of 256 x 4 pixels, that says this before its pixels."""
    grey = Image.fromarray(LEVELS[None].repeat(4, axis=0))
    out = io.BytesIO()
    (grey.quantize(256) if mode == "P" else grey.convert(mode)).save(out, "PNG")
    return said(out.getvalue(), *chunks)


def said(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    more = b"".join(
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )
    return data[:33] + more + data[33:]


def of_colour(colour: tuple[int, int, int], *chunks: tuple[bytes, bytes]) -> list[int]:
    """What becomes of a plain picture."""
    out = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(out, "PNG")
    shown: list[int] = pixels.decode(said(out.getvalue(), *chunks))[4, 4].tolist()
    return shown


def shades(data: bytes) -> np.ndarray:
    """What became of each level."""
    return pixels.decode(data)[0, :, 0].astype(float)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [gama(45455)],
        [gama(45455), chrm(SRGB)],
        [gama(45000), chrm(SRGB)],
        [chrm(P3)],
        [(b"sRGB", b"\0"), gama(100000), chrm(P3)],
        [cicp(1, 13), gama(100000)],
        [cicp(9, 16)],
        [cicp(9, 18)],
        [cicp(9, 13, NARROW)],
        [(b"cICP", b"\1")],
        [gama(0)],
        [gama(50000), chrm((0,) * 8)],
        [gama(50000), chrm((1, 1, *(2**31 - 1,) * 6))],
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_what_is_srgb_or_means_nothing_stays_as_it_is(chunks, mode):
    assert np.array_equal(shades(made(*chunks, mode=mode)), LEVELS)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA"])
def test_gamma_alone_is_held_against_that_of_displays(mode):
    """As libpng does it for browsers: to the power of 1 / (2.2 * gAMA)."""
    wanted = 255 * (LEVELS / 255) ** (1 / 2.2)
    assert np.abs(shades(made(gama(100000), mode=mode)) - wanted).max() <= 2
    darker = 255 * (LEVELS / 255) ** (1 / (2.2 * 0.35))
    assert np.abs(shades(made(gama(35000), mode=mode)) - darker).max() <= 2


def test_gamma_with_primaries_is_light_by_that_power():
    light = LEVELS / 255
    wanted = 255 * np.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055
    )
    found = shades(made(gama(100000), chrm(SRGB)))
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize(
    "chunk", [[cicp(12, 13)], [gama(45455), chrm(P3)]], ids=["cICP", "cHRM"]
)
def test_display_p3_becomes_srgb(chunk):
    assert of_colour((255, 255, 255), *chunk) == [255, 255, 255]
    assert of_colour((255, 0, 0), *chunk) == [255, 0, 0]
    light = ((np.array([128, 204, 77]) / 255 + 0.055) / 1.055) ** 2.4
    theirs = np.array(TO_SRGB) @ light
    wanted = 255 * (1.055 * theirs ** (1 / 2.4) - 0.055)
    assert of_colour((128, 204, 77), *chunk) == pytest.approx(wanted, abs=5)


def test_bt2020_of_a_standard_range_becomes_srgb():
    grey = of_colour((128, 128, 128), cicp(9, 14))
    assert grey == pytest.approx([142] * 3, abs=2)
    assert of_colour((120, 200, 80), cicp(9, 13))[0] < 60


def test_cicp_counts_before_a_profile_and_a_profile_before_gamma():
    linear = icc.of_rgb(icc.BT709, lambda stored: stored)
    by_profile = shades(made(iccp(linear)))
    assert by_profile[100] > 160
    assert np.array_equal(shades(made(iccp(linear), gama(300000))), by_profile)
    assert np.array_equal(shades(made(cicp(1, 13), iccp(linear))), LEVELS)


def test_a_profile_beside_a_high_range_is_for_who_cannot_show_that():
    linear = icc.of_rgb(icc.BT709, lambda stored: stored)
    both = made(cicp(9, 16), iccp(linear))
    assert np.array_equal(shades(both), shades(made(iccp(linear))))


def test_what_was_said_is_kept_as_a_profile_that_others_read():
    read = pixels.read(made(cicp(12, 13)), keep_profile=True)
    assert np.array_equal(read.pixels[0, :, 0], LEVELS)
    assert read.icc is not None
    profile = ImageCms.ImageCmsProfile(io.BytesIO(read.icc)).profile
    assert profile.red_primary[1][:2] == pytest.approx((0.684, 0.316), abs=0.01)
    data = pixels.encode(read.pixels, "jpeg", icc=read.icc).data
    shown = libvips.Image.jpegload_buffer(data).icc_transform("srgb", embedded=True)
    assert shown.getpoint(128, 2) == pytest.approx([128] * 3, abs=2)


def test_a_png_that_is_cut_short_is_still_damaged():
    with pytest.raises(InvalidImage):
        pixels.decode(made(cicp(12, 13))[:60])


def test_a_file_is_left_where_it_stood():
    file = io.BytesIO(made(cicp(12, 13)))
    file.seek(17)
    assert png.profile_of(file, "RGB", {}) is not None
    assert file.tell() == 17
