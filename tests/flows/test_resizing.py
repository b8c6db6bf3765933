"""Resize, crop and encode by a real worker, through HTTP: every format, all options."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from tests.flows.house import House
from tests.flows.test_image_operations import post
from tests.gpu_worker.tiffs import ALPHA, CMYK, RGB, ramps, tiff

DATA = Path(__file__).parents[1] / "data"
FORMATS = DATA / "formats"
TIGER = DATA / "photos" / "animal_white_tiger.jpg"  # 1000 x 667
MOVING = FORMATS / "gif_animated_transparent.gif"
DAMAGED = {"jpeg_truncated.jpg", "png_broken.png", "gif_decompression_bomb.gif"}
PRICE = "0.0010"

# operation, image, parameters, format and size of the result, its frames
PICTURES: list[tuple[str, Path, dict[str, Any], str, tuple[int, int], int]] = [
    ("resize", TIGER, {"width": 300, "height": 300}, "JPEG", (300, 300), 1),
    ("resize", TIGER, {"width": 2000}, "JPEG", (1000, 667), 1),
    ("resize", TIGER, {"width": 100, "dpr": 2, "blur": 2}, "JPEG", (200, 133), 1),
    (
        "resize",
        TIGER,
        {"width": 90, "height": 90, "fit": "contain", "background": "#fff"},
        "JPEG",
        (90, 90),
        1,
    ),
    (
        "resize",
        TIGER,
        {"width": 100, "height": 6900, "enlarge": True},
        "JPEG",
        (100, 6900),
        1,
    ),
    ("resize", TIGER, {"width": 99, "format": "avif"}, "AVIF", (99, 66), 1),
    ("resize", MOVING, {"width": 40}, "GIF", (40, 40), 9),
    ("crop", TIGER, {"width": 200, "height": 100}, "JPEG", (200, 100), 1),
    ("crop", MOVING, {"trim": True}, "GIF", (54, 54), 9),
    ("encode", TIGER, {"format": "webp", "max_bytes": 30_000}, "WEBP", (1000, 667), 1),
    ("encode", MOVING, {"format": "webp"}, "WEBP", (80, 80), 9),
    ("encode", MOVING, {"format": "png"}, "PNG", (80, 80), 1),
]
FAILURES: list[tuple[str, Path, dict[str, Any], str]] = [
    ("crop", TIGER, {"x": 1000}, "invalid_parameters"),
    ("crop", TIGER, {"width": 1001}, "invalid_parameters"),
    ("encode", TIGER, {"max_bytes": 100}, "invalid_parameters"),
    (
        "resize",
        TIGER,
        {"width": 7000, "dpr": 8, "enlarge": True},
        "limit_exceeded",
    ),
    ("resize", FORMATS / "jpeg_truncated.jpg", {"width": 10}, "invalid_image"),
    ("crop", FORMATS / "jpeg_truncated.jpg", {"width": 10}, "invalid_image"),
    ("encode", FORMATS / "jpeg_truncated.jpg", {}, "invalid_image"),
]
REFUSALS: list[tuple[str, dict[str, Any], str]] = [
    ("resize", {}, "parameters"),
    ("resize", {"width": 10, "fit": "crop"}, "parameters.fit"),
    ("resize", {"width": 10, "sharpen": 9}, "parameters.sharpen"),
    ("crop", {}, "parameters"),
    ("crop", {"width": 1.5}, "parameters.width"),
    ("crop", {"x": 5, "gravity": "north"}, "parameters.gravity"),
    ("encode", {"format": "bmp"}, "parameters.format"),
    ("encode", {"format": "png", "quality": 50}, "parameters.quality"),
    ("encode", {"max_bytes": 1}, "parameters.max_bytes"),
    ("encode", {"width": 10}, "parameters.width"),
]


def test_each_wish_is_done_and_charged(home: House) -> None:
    asked = [post(home, one[0], one[1], parameters=one[2]) for one in PICTURES]
    for answer, wish in zip(asked, PICTURES, strict=True):
        assert answer.status == 202, (wish, answer.body)
        job = home.end_of(answer.body["id"])
        assert (job["status"], job["charged"]) == ("succeeded", PRICE), (wish, job)
        file = home.call("GET", job["urls"]["result"]).body
        with Image.open(io.BytesIO(file)) as picture:
            shown = (picture.format, picture.size, getattr(picture, "n_frames", 1))
        assert shown == wish[3:], wish
        assert len(file) <= wish[2].get("max_bytes", len(file))


def test_every_format_becomes_a_small_picture_or_costs_nothing(home: House) -> None:
    worker = home.pid("worker")
    before = home.account()["credits"]
    files = sorted(FORMATS.iterdir())
    asked = {
        file.name: post(home, "resize", file, parameters={"width": 8}) for file in files
    }
    charged = 0
    for name, answer in asked.items():
        if answer.status != 202:
            assert name in DAMAGED, (name, answer.body)
            continue
        job = home.end_of(answer.body["id"])
        assert (job["status"] == "succeeded") is (name not in DAMAGED), (name, job)
        charged += job["status"] == "succeeded"
    assert charged == len(files) - len(DAMAGED)
    after = home.account()["credits"]
    assert _available(before) - _available(after) == charged * 10  # ten-thousandths
    assert home.pid("worker") == worker


def test_a_lone_grey_pixel_is_a_picture(home: House, tmp_path: Path) -> None:
    file = tmp_path / "pixel.png"
    Image.new("L", (1, 1), 255).save(file)
    job = home.end_of(post(home, "encode", file).body["id"])
    assert job["status"] == "succeeded", job["error"]


def test_a_tiff_of_an_odd_kind_is_a_picture_or_not_supported(
    home: House, tmp_path: Path
) -> None:
    odd, no = tmp_path / "odd.tif", tmp_path / "no.tif"
    odd.write_bytes(tiff(ramps(5, 255).astype("u1"), CMYK, extra=ALPHA))
    no.write_bytes(tiff(ramps(3), RGB))
    made, refused = (home.end_of(post(home, "encode", f).body["id"]) for f in (odd, no))
    assert made["status"] == "succeeded", made["error"]
    error = {"code": "invalid_image", "retryable": False}
    text = "A TIFF of this kind is not supported."
    assert refused["error"] == error | {"message": text}
    assert refused["charged"] == "0.0000"


def test_a_photo_from_a_phone_that_is_cut_short_costs_nothing(
    home: House, tmp_path: Path
) -> None:
    half = tmp_path / "half.heic"
    half.write_bytes((FORMATS / "heic_iphone_12mp.heic").read_bytes()[:700_000])
    job = home.end_of(post(home, "resize", half, parameters={"width": 300}).body["id"])
    assert (job["error"]["code"], job["charged"]) == ("invalid_image", "0.0000")


def test_a_photo_from_a_phone_with_a_video_behind_it_is_a_picture(
    home: House, tmp_path: Path
) -> None:
    moving = tmp_path / "moving.heic"
    whole = (FORMATS / "heic_iphone_12mp.heic").read_bytes()
    moving.write_bytes(whole + b"\0\0\0\x18mpvd" + bytes(16) + b"notes of SEFT")
    job = home.end_of(
        post(home, "resize", moving, parameters={"width": 300}).body["id"]
    )
    assert (job["error"], job["charged"]) == (None, "0.0010")


def test_what_the_schema_refuses_is_named(home: House) -> None:
    for operation, parameters, field in REFUSALS:
        answer = post(home, operation, parameters=parameters)
        assert answer.status == 422, (operation, parameters, answer.body)
        named = [one["field"] for one in answer.body["errors"]]
        assert field in named, (operation, parameters, named)


def test_what_the_picture_makes_impossible_is_said_and_free(home: House) -> None:
    worker = home.pid("worker")
    asked = [
        post(home, operation, image, parameters=parameters)
        for operation, image, parameters, _ in FAILURES
    ]
    for answer, (*_, code) in zip(asked, FAILURES, strict=True):
        job = home.end_of(answer.body["id"])
        assert (job["status"], job["error"]["code"]) == ("failed", code)
        assert job["charged"] == "0.0000"
        assert not job["error"]["retryable"]
    assert home.pid("worker") == worker


def _available(credits: dict[str, str]) -> int:
    return round(float(credits["available"]) * 10_000)
