"""Each image operation by a real worker, through HTTP; what cannot be is said, free."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

from nijika.local.demo import PHOTO
from tests.flows.house import Answer, House

DATA = Path(__file__).parents[1] / "data"
TIGER = DATA / "photos" / "animal_white_tiger.jpg"
ALPHA = DATA / "photos" / "animal_white_tiger.alpha.png"
ROOM = DATA / "photos" / "interior_bedroom.jpg"
BROKEN = DATA / "formats" / "jpeg_truncated.jpg"
PHONE = DATA / "formats" / "heic_iphone_12mp.heic"
IMAGING = "0.0010"
WRONG_ORDER = {"mode": "fixed", "low": 300}
FILLED = {"color": "#fff", "fit": "fill"}
MODEL, FACES = {"model": "RealESRGAN_x4plus"}, {"face_enhance": True}


# operation, what else is sent, format and size of the result, price
PICTURES: list[tuple[str, dict[str, Any], str, tuple[int, int], str]] = [
    ("extract", {"mask": ALPHA}, "PNG", (1000, 667), IMAGING),
    (
        "extract",
        {"mask": ALPHA, "parameters": {"mode": "square"}},
        "PNG",
        (1024, 1024),
        IMAGING,
    ),
    ("inpaint", {"mask": ALPHA}, "JPEG", (1000, 667), IMAGING),
    ("canny", {}, "PNG", (1000, 667), IMAGING),
    ("shadow", {"mask": ALPHA}, "PNG", (1000, 667), IMAGING),
    ("white-balance", {}, "JPEG", (1000, 667), IMAGING),
    ("compose", {"reference": ROOM}, "JPEG", (960, 540), IMAGING),
    ("upscale", {"parameters": {"scale": 2}}, "JPEG", (2000, 1334), "0.0200"),
]
# operation, image, what else is sent, the job's error
FAILURES: list[tuple[str, Path, dict[str, Any], str]] = [
    ("extract", TIGER, {}, "invalid_parameters"),
    ("canny", TIGER, {"parameters": WRONG_ORDER}, "invalid_parameters"),
    ("inpaint", TIGER, {"mask": BROKEN}, "invalid_image"),
    ("canny", BROKEN, {}, "invalid_image"),
    ("white-balance", BROKEN, {}, "invalid_image"),
    ("upscale", BROKEN, {"parameters": {"scale": 1}}, "invalid_image"),
    ("upscale", PHONE, {"parameters": {"scale": 6}}, "limit_exceeded"),
]
# operation, what else is sent, the field that is refused, and how
REFUSALS: list[tuple[str, dict[str, Any], str, str]] = [
    ("inpaint", {}, "mask", "required"),
    ("canny", {"mask": ALPHA}, "mask", "unknown"),
    ("compose", {}, "parameters", "required"),
    ("compose", {"parameters": FILLED}, "reference", "required"),
    ("canny", {"then": [{"operation": "compose"}]}, "then.0.parameters", "required"),
    ("canny", {"parameters": {"low": 5}}, "parameters.low", "unknown"),
    ("upscale", {"parameters": {"scale": 7}}, "parameters.scale", "range"),
    ("upscale", {"parameters": MODEL}, "parameters.model", "unsupported"),
    ("upscale", {"parameters": FACES}, "parameters.face_enhance", "unsupported"),
]


def data_url(path: Path) -> str:
    kind = path.suffix.lstrip(".").replace("jpg", "jpeg")
    return f"data:image/{kind};base64," + base64.b64encode(path.read_bytes()).decode()


def post(home: House, operation: str, image: Path = TIGER, **body: Any) -> Answer:
    """`mask` and `reference` are paths; everything else is the body's own member."""
    files = {
        name: data_url(one) if isinstance(one, Path) else one
        for name, one in ({"image": image} | body).items()
    }
    return home.call(
        "POST",
        "/api/v1/jobs",
        body=json.dumps({"operation": operation} | files).encode(),
        headers={"Content-Type": "application/json"},
    )


def ended(home: House, operation: str, image: Path = TIGER, **body: Any) -> Any:
    answer = post(home, operation, image, **body)
    assert answer.status == 202, answer.body
    return home.end_of(answer.body["id"])


def test_each_operation_gives_its_picture_and_is_charged(home: House) -> None:
    asked = [post(home, operation, **body) for operation, body, *_ in PICTURES]
    for answer, (operation, _, form, size, price) in zip(asked, PICTURES, strict=True):
        job = home.end_of(answer.body["id"])
        assert (job["status"], job["charged"]) == ("succeeded", price), job["error"]
        file = home.call("GET", job["urls"]["result"]).body
        with Image.open(io.BytesIO(file)) as picture:
            assert (picture.format, picture.size) == (form, size), operation
        assert job["results"][0]["content_type"] == f"image/{form.lower()}"


def test_cut_out_shadow_and_room_are_one_job(home: House) -> None:
    steps: list[dict[str, Any]] = [
        {"operation": "shadow", "parameters": {"blur_radius": 31, "offset_y": 12}},
        {
            "operation": "compose",
            "parameters": {
                "gradient": {"colors": ["#ffffff", "#c0d0e0"]},
                "width": 800,
                "height": 800,
                "trim": True,
                "scale": 0.9,
                "format": "webp",
            },
        },
    ]
    job = ended(home, "removebg", PHOTO, then=steps)
    assert job["status"] == "succeeded", job["error"]
    [shown] = job["results"]
    assert (shown["content_type"], shown["width_px"]) == ("image/webp", 800)


def test_a_mask_that_marks_nothing_costs_nothing(home: House, tmp_path: Path) -> None:
    black = tmp_path / "mask.png"
    Image.new("L", (10, 10), 0).save(black)
    for operation in ("extract", "inpaint", "shadow"):
        job = ended(home, operation, mask=black)
        assert job["error"]["code"] == "invalid_parameters", operation
        assert job["charged"] == "0.0000"


def test_what_no_image_could_make_right_is_refused_at_once(home: House) -> None:
    for operation, body, field, code in REFUSALS:
        answer = post(home, operation, **body)
        assert (answer.status, answer.body["code"]) == (422, "validation_error")
        errors = [(one["field"], one["code"]) for one in answer.body["errors"]]
        assert (field, code) in errors


def test_what_this_image_makes_impossible_fails_with_its_code_and_costs_nothing(
    home: House,
) -> None:
    worker = home.pid("worker")
    asked = [
        post(home, operation, image, **body) for operation, image, body, _ in FAILURES
    ]
    for answer, (operation, *_, code) in zip(asked, FAILURES, strict=True):
        job = home.end_of(answer.body["id"])
        assert (job["status"], job["error"]["code"]) == ("failed", code), operation
        assert job["charged"] == "0.0000"
        assert home.stored(job["id"]) == []
    assert home.pid("worker") == worker
    assert ended(home, "canny")["status"] == "succeeded"
