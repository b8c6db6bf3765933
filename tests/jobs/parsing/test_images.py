"""What a file is, from its header: agreed with the decoder, refused with a reason."""

import contextlib
import io
import random
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from gpu_worker import pixels
from jobs.errors import ImageTooLarge, InvalidImage, UnsupportedImage
from jobs.parsing.images import Sniffed, sniff

pillow_heif.register_heif_opener()
FORMATS = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "ICO": "image/vnd.microsoft.icon",
    "JPEG2000": "image/jp2",
    "AVIF": "image/avif",
    "HEIF": "image/heif",
}


def make(form: str, size: tuple[int, int] = (48, 32), **options: Any) -> bytes:
    out = io.BytesIO()
    picture = Image.effect_noise(size, 50).convert("RGB")
    if form == "ICO":
        options["sizes"] = [size]
    picture.save(out, form, **options)
    return out.getvalue()


def sniffed(content: bytes) -> Sniffed:
    return sniff(io.BytesIO(content))


def size_of(content: bytes) -> tuple[int, int]:
    found = sniffed(content)
    return found.width_px, found.height_px


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_that_is_decoded_is_sniffed(form: str) -> None:
    content = make(form)
    expected = Sniffed(content_type=FORMATS[form], width_px=48, height_px=32)
    assert sniffed(content) == expected
    assert pixels.decode(content).shape[:2] == (32, 48)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_upright_as_the_decoder_turns_it(form: str, orientation: int) -> None:
    content = make(form, exif=exif(orientation))
    height_px, width_px = pixels.decode(content).shape[:2]
    assert size_of(content) == (width_px, height_px)


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": False}])
def test_webp_without_extended_header_has_its_size(options: dict[str, Any]) -> None:
    assert size_of(make("WEBP", **options)) == (48, 32)


@pytest.mark.parametrize(
    "options", [{"compression": "tiff_lzw"}, {"big_tiff": True}, {"progressive": True}]
)
def test_variants_have_their_size(options: dict[str, Any]) -> None:
    form = "JPEG" if "progressive" in options else "TIFF"
    assert size_of(make(form, **options)) == (48, 32)


def test_moving_pictures_count_as_their_first() -> None:
    for form in ("GIF", "PNG", "WEBP", "TIFF"):
        more = [Image.new("RGB", (48, 32), colour) for colour in ("red", "blue")]
        assert size_of(make(form, save_all=True, append_images=more)) == (48, 32)


def test_multi_picture_jpeg_counts_as_its_first() -> None:
    out = io.BytesIO()
    first, second = Image.new("RGB", (48, 32)), Image.new("RGB", (10, 10))
    first.save(out, "MPO", save_all=True, append_images=[second])
    assert sniffed(out.getvalue()) == Sniffed(
        content_type="image/jpeg", width_px=48, height_px=32
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"not an image at all, but a text",
        b"BM, said the driver, and drove off",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"PK\x03\x04" + bytes(100),
        b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(50),
        b"RIFF\x24\0\0\0WAVEfmt ",
        bytes(1000),
    ],
)
def test_file_that_is_no_image_is_unsupported(content: bytes) -> None:
    with pytest.raises(UnsupportedImage):
        sniffed(content)


def png_claiming(width_px: int, height_px: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n\0\0\0\r" + header + crc


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\xff\xff",
        b"\x89PNG\r\n\x1a\n",
        png_claiming(10, 10)[:-1] + b"!",
        png_claiming(0, 10),
        b"GIF89a",
        b"GIF89a\x0a\0\x0a\0\0\0\0;",
        b"RIFF\x0c\0\0\0WEBPVP8 ",
        b"RIFF\x24\0\0\0WEBPXXXX\x0a\0\0\0" + bytes(10),
        b"II*\0\x08\0\0\0\0\0\0\0\0\0\0\0",
        b"II*\0\xff\xff\xff\xff" + bytes(20),
        b"MM\0+\0\x08\0\0\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\1\0\0\0",
        b"\0\0\0\x0cjP  \r\n\x87\n",
        b"\0\0\0\x14ftypavif\0\0\0\0avif",
        b"\0\0\0\x14ftypheic\0\0\0\0heic\0\0\0\x01meta" + b"\xff" * 8,
    ],
)
def test_broken_header_of_a_known_format_is_invalid(content: bytes) -> None:
    with pytest.raises(InvalidImage):
        sniffed(content)


@pytest.mark.parametrize(
    ("size", "refused"),
    [
        ((10_000, 5_000), False),
        ((10_000, 5_001), True),
        ((16_000, 1), False),
        ((16_001, 1), True),
        ((1, 16_001), True),
        ((2**32 - 1, 2**32 - 1), True),
    ],
)
def test_size_beyond_the_limits_is_refused_from_the_header(
    size: tuple[int, int], refused: bool
) -> None:
    content = png_claiming(*size)
    if not refused:
        assert size_of(content) == size
    else:
        with pytest.raises(ImageTooLarge):
            sniffed(content)


def test_webp_of_34_bytes_that_claims_268_megapixels_is_too_large() -> None:
    claim = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f" + bytes(8)
    with pytest.raises(ImageTooLarge):
        sniffed(claim)


def test_gif_whose_picture_reaches_beyond_its_screen_is_too_large() -> None:
    picture = struct.pack("<4HB", 0, 0, 65535, 65535, 0)
    content = b"GIF89a" + struct.pack("<HHBBB", 32, 32, 0, 0, 0) + b"," + picture
    with pytest.raises(ImageTooLarge):
        sniffed(content)


def chunks_of_png() -> bytes:
    return png_claiming(9, 9) + b"\0\0\0\0tEXt\0\0\0\0" * 1_000_000


def comments_of_gif() -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0)
    return head + b"!\xfe" + (b"\xff" + bytes(255)) * 200_000


def tags_of_tiff() -> bytes:
    tag = struct.pack("<HHII", 700, 7, 40_000_000, 8)
    return b"II*\0\x08\0\0\0\xff\xff" + tag * 65_535 + bytes(1 << 20)


@pytest.mark.parametrize("make_it", [chunks_of_png, comments_of_gif, tags_of_tiff])
def test_header_made_to_be_slow_is_given_up_soon(make_it: Callable[[], bytes]) -> None:
    file, started = io.BytesIO(make_it()), time.process_time()
    with contextlib.suppress(InvalidImage):
        sniff(file)
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("form", FORMATS)
def test_damaged_files_raise_nothing_but_refusals(form: str) -> None:
    chance, whole = random.Random(form), make(form, exif=exif(6))
    for _ in range(300):
        content = bytearray(whole[: chance.choice([40, 200, len(whole)])])
        for _ in range(chance.randrange(1, 8)):
            content[chance.randrange(len(content[:400]))] = chance.choice([0, 255, 65])
        with contextlib.suppress(UnsupportedImage, InvalidImage, ImageTooLarge):
            sniffed(bytes(content))


def test_sniff_leaves_the_file_at_its_beginning() -> None:
    file = io.BytesIO(make("PNG"))
    sniff(file)
    assert file.tell() == 0
