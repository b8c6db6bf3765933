"""Hostile files are refused within limits, in a process that could not be saved.

Each file is decoded in a child that may have one gigabyte more than it starts with and
five seconds of CPU; a decoder that takes either is killed, and the test fails.
"""

import io
import json
import os
import random
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker import pixels
from gpu_worker.errors import InvalidImage, LimitExceeded
from gpu_worker.pixels import header, heif, libvips
from tests.gpu_worker.engines.pictures import FORMATS

DECODER = """
import json, re, resource, sys
from pathlib import Path
from gpu_worker import pixels
from gpu_worker.errors import WorkerError
pixels.prepare()
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 10**9,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
for path in sys.argv[1:]:
    try:
        outcome = list(pixels.decode(Path(path)).shape)
    except WorkerError as error:
        outcome = error.code
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not ru_maxrss: that one begins with what the parent had.
    peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
    print(json.dumps({"outcome": outcome, "peak_mb": int(peak) // 1000,
                      "cpu_s": used.ru_utime + used.ru_stime}), flush=True)
"""


ENCODER = """
import resource, sys
from pathlib import Path
import numpy as np
from gpu_worker import pixels
shown = np.zeros((5000, 5000, 3), np.uint8)
pixels.encode(shown[:16, :16], sys.argv[1])
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 150 * 10**6,) * 2)
try:
    pixels.encode(shown, sys.argv[1])
except MemoryError:
    print("MemoryError")
"""


def decode(*paths: Path, **environment: str) -> list[dict[str, Any]]:
    """What came out for each file, and what the child had used until then."""
    command = [sys.executable, "-c", DECODER, *map(str, paths)]
    child = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment
    )
    assert child.returncode == 0, child.stderr
    return [json.loads(line) for line in child.stdout.splitlines()]


def test_headers_that_claim_too_much_are_refused_before_memory_is_taken(tmp_path):
    bombs = [_kept(tmp_path, name, make()) for name, make in BOMBS.items()]
    bombs.append(FORMATS / "gif_decompression_bomb.gif")
    seen = decode(*bombs)
    assert [one["outcome"] for one in seen] == ["invalid_image"] * len(bombs)
    assert seen[-1]["peak_mb"] < 200
    assert seen[-1]["cpu_s"] < 4


@pytest.mark.parametrize(("width", "height"), [(7100, 7100), (16_001, 2), (2, 16_001)])
def test_a_header_is_held_against_both_limits(width, height):
    """These are no bombs to Pillow: the limits are ours."""
    with pytest.raises(InvalidImage, match=f"too large: {width} x {height}"):
        pixels.upright_size(_png(width, height))


@pytest.mark.parametrize("kind", ["progressive", "a colour at a time"])
def test_a_jpeg_of_thousands_of_scans_is_refused_at_once(kind, tmp_path):
    make = _many_scans if kind == "progressive" else _many_scans_of_a_colour
    (seen,) = decode(_kept(tmp_path, "scans.jpg", make(5000)))
    assert seen["outcome"] == "invalid_image"
    assert seen["cpu_s"] < 3


def test_a_jpeg_that_is_read_once_is_not_searched_for_scans(monkeypatch):
    monkeypatch.setattr(header, "_most_scans", None)
    out = io.BytesIO()
    Image.new("RGB", (1000, 1000)).save(out, "JPEG")
    assert pixels.decode(out.getvalue()).shape == (1000, 1000, 3)


@pytest.mark.parametrize("odd", [0, 1])
def test_scans_are_counted_wherever_the_file_is_cut_for_reading(odd):
    data = b"x" * odd + b"\xff\xda" * 300_000 + b"\xda\xff"
    assert header._most_scans(io.BytesIO(data)) == 300_000


def test_a_progressive_jpeg_of_an_ordinary_encoder_is_not_refused(tmp_path):
    (seen,) = decode(_kept(tmp_path, "scans.jpg", _many_scans(20)))
    assert seen["outcome"] == [1000, 1000, 3]


def test_postscript_under_another_name_starts_no_interpreter(tmp_path):
    touched = tmp_path / "started"
    for name in ("gs", "gswin64c"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {touched}\n")
        (tmp_path / name).chmod(0o755)
    names = ("picture.png", "picture.eps", "picture.jpg")
    files = [_kept(tmp_path, name, POSTSCRIPT) for name in names]
    seen = decode(*files, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert [one["outcome"] for one in seen] == ["invalid_image"] * 3
    assert not touched.exists()


def test_libvips_has_no_loaders_but_those_that_are_used():
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    gif = (FORMATS / "gif_animated_transparent.gif").read_bytes()
    for load, data in (("svgload_buffer", svg), ("gifload_buffer", gif)):
        with pytest.raises(libvips.Error, match="blocked"):
            getattr(libvips.Image, load)(data)
    for data in (svg, gif, b"VIPS" + bytes(64)):
        with pytest.raises(libvips.Error):
            libvips.Image.new_from_buffer(data, "")
    with pytest.raises(libvips.Error):
        libvips.Image.rawload(str(FORMATS / "bmp_rgb24.bmp"), 8, 8, 3)


def test_the_size_of_a_png_is_told_without_reading_its_pixels():
    """What is asked before a limit is held against it must cost nothing."""
    cut = _png(5000, 9000)[:2000]
    assert pixels.upright_size(cut) == (5000, 9000)


def test_an_animation_of_too_many_frames_is_refused_only_where_all_are_wanted():
    frames = [Image.new("P", (2, 2), number % 2) for number in range(1002)]
    for frame in frames:
        frame.putpalette([0, 0, 0, 255, 255, 255])
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    with pytest.raises(LimitExceeded, match="too many frames"):
        pixels.read(out.getvalue(), frames=True)
    assert pixels.read(out.getvalue()).frames == ()


def test_a_large_png_that_is_to_be_small_is_never_whole_in_memory(tmp_path):
    noise = np.random.default_rng(2).integers(0, 256, (40, 60, 3), np.uint8)
    data = pixels.encode(np.tile(noise, (100, 100, 1)), "png").data
    files = [FORMATS / "png_grey_alpha.png", _kept(tmp_path, "large.png", data)]
    script = DECODER.replace("(Path(path))", "(Path(path), enough_px=(60, 40))")
    child = subprocess.run(
        [sys.executable, "-c", script, *map(str, files)],
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = (json.loads(line) for line in child.stdout.splitlines())
    assert after["outcome"] == [40, 60, 3]
    assert after["peak_mb"] - before["peak_mb"] < 40  # the bitmap has 72


def test_an_encoder_without_memory_is_no_failure_of_the_engine():
    child = subprocess.run(
        [sys.executable, "-c", ENCODER, "avif"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.strip() == "MemoryError"


def test_files_cut_short_are_refused_or_filled_and_never_crash(tmp_path):
    files = []
    for source in _small_files():
        data = source.read_bytes()
        for tenths in (1, 5, 9):
            part = data[: len(data) * tenths // 10]
            files.append(_kept(tmp_path, f"{tenths}-{source.name}", part))
    _assert_harmless(decode(*files), count=len(files))


def test_files_with_random_damage_are_refused_or_read_and_never_crash(tmp_path):
    chance = random.Random(3)
    files = []
    for source in _small_files():
        for number in range(6):
            data = bytearray(source.read_bytes())
            for _ in range(10):
                data[chance.randrange(len(data))] = chance.randrange(256)
            files.append(_kept(tmp_path, f"{number}-{source.name}", bytes(data)))
    _assert_harmless(decode(*files), count=len(files))


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP", b"<svg/>", b"GIF89a"]
)
def test_files_of_almost_nothing_are_refused(tmp_path, data):
    (seen,) = decode(_kept(tmp_path, "picture.png", data))
    assert seen["outcome"] == "invalid_image"


def _assert_harmless(seen: list[dict[str, Any]], *, count: int) -> None:
    assert len(seen) == count
    for one in seen:
        assert one["outcome"] == "invalid_image" or len(one["outcome"]) == 3
    assert seen[-1]["peak_mb"] < 800


def _small_files() -> list[Path]:
    files = sorted(FORMATS.iterdir())
    return [file for file in files if file.stat().st_size < 100_000]


def _kept(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def _png(width: int, height: int, *more: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(b"\0" * 10**6))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in chunks)


def _chunk(name: bytes, data: bytes) -> bytes:
    return (
        struct.pack(">I", len(data))
        + name
        + data
        + struct.pack(">I", zlib.crc32(name + data))
    )


def _webp(side: int) -> bytes:
    """34 bytes that claim side x side pixels of lossless WebP."""
    bits = (side - 1) | (side - 1) << 14
    body = b"VP8L" + struct.pack("<I", 14) + b"\x2f" + struct.pack("<I", bits)
    body += bytes(9)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _jpeg_header(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "JPEG")
    data = bytearray(out.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def _tiff_header(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (8, 8)).save(out, "TIFF")
    data = out.getvalue()
    for tag, value in ((256, width), (257, height)):
        at = data.index(struct.pack("<HHI", tag, 4, 1))
        data = data[:at] + struct.pack("<HHII", tag, 4, 1, value) + data[at + 12 :]
    return data


def _many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is there `count` times."""
    out = io.BytesIO()
    Image.new("RGB", (1000, 1000)).save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * count + b"\xff\xd9"


def _many_scans_of_a_colour(count: int) -> bytes:
    """A JPEG that is not progressive, whose first colour is there `count` times."""
    out = io.BytesIO()
    Image.new("RGB", (1000, 1000)).save(out, "JPEG", subsampling=0)
    data = out.getvalue()
    first = data.index(b"\xff\xda")
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0" + data[first + 14 : -2]
    return data[:first] + scan * count + b"\xff\xd9"


BOMBS = {
    "wide.png": lambda: _png(60_000, 60_000),
    "square.png": lambda: _png(13_000, 13_000),
    "thin.png": lambda: _png(16_001, 1),
    "profile.png": lambda: _png(
        9, 9, (b"iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000), 9))
    ),
    "text.png": lambda: _png(
        9, 9, (b"zTXt", b"x\0\0" + zlib.compress(bytes(100_000_000), 9))
    ),
    "large.webp": lambda: _webp(16_383),
    "large.jpg": lambda: _jpeg_header(65_000, 65_000),
    "large.tif": lambda: _tiff_header(100_000, 100_000),
}

POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
0 0 moveto 10 10 lineto stroke showpage
%%EOF
"""


def test_a_heif_that_claims_millions_of_pieces_is_refused_at_once():
    """Pieces without a size take no bytes of the table that claims them."""
    items = b"".join(struct.pack(">HHH", n & 0xFFFF, 0, 0xFFFF) for n in range(60_000))
    table = struct.pack(">IHH", 0, 0, 60_000) + items
    with pytest.raises(ValueError, match="iloc"):
        heif.is_whole(io.BytesIO(b"\0\0\0\x0cmeta\0\0\0\0"))
    with pytest.raises(ValueError, match="no table"):
        heif.is_whole(io.BytesIO(b"\0\0\0\x0cfree\0\0\0\0"))
    iloc = struct.pack(">I4s", 8 + len(table), b"iloc") + table
    meta = struct.pack(">I4sI", 12 + len(iloc), b"meta", 0) + iloc
    began = time.process_time()
    assert heif.is_whole(io.BytesIO(meta))
    assert time.process_time() - began < 2
