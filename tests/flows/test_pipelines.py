"""One request that cuts out, crops, adds a shadow and writes a WebP, by a real worker;
and the options of a cut-out that need more than one image or file."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nijika.local.demo import PHOTO
from tests.flows.house import Answer, House, eventually

PHOTOS = Path(__file__).parents[1] / "data" / "photos"
TIGER = PHOTOS / "animal_white_tiger.jpg"
STEPS: list[dict[str, Any]] = [
    {"operation": "crop", "parameters": {"trim": True}},
    {"operation": "shadow", "parameters": {"expand": True, "blur_radius": 31}},
    {"operation": "encode", "parameters": {"format": "webp", "quality": 80}},
]
CHARGED = [("hold", "-0.0130"), ("settle", "0.0000")]
RELEASED = [("hold", "-0.0130"), ("settle", "0.0130")]


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[House]:
    """The house of the other flows. Where nothing is broken in it, its books are looked
    at once, after all tests."""
    home: House = request.getfixturevalue("home")
    yield home
    home.check_ledger()


def data_url(path: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()


def post(home: House, image: Path = TIGER, **body: Any) -> Answer:
    whole = {"operation": "removebg", "image": data_url(image)} | body
    return home.call(
        "POST",
        "/api/v1/jobs",
        body=json.dumps(whole).encode(),
        headers={"Content-Type": "application/json"},
    )


def ended(home: House, image: Path = TIGER, **body: Any) -> Any:
    answer = post(home, image, **body)
    assert answer.status == 202, answer.body
    return home.end_of(answer.body["id"])


def result(home: House, job: Any) -> bytes:
    answer = home.call("GET", job["urls"]["result"])
    assert answer.status == 200
    data: bytes = answer.body
    assert hashlib.sha256(data).hexdigest() == job["results"][0]["sha256"]
    return data


def test_pipeline_is_one_job_with_one_charge_and_one_file(stack: House) -> None:
    job = ended(stack, then=STEPS)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert job["price"] == job["charged"] == "0.0130"
    assert stack.entries(job["id"]) == CHARGED
    assert len(job["results"]) == len(stack.stored(job["id"])) == 1
    assert stack.events(job["id"]) == ["queued", "started", "succeeded"]
    [shown] = job["results"]
    assert shown["content_type"] == "image/webp"
    assert shown["details"].keys() >= {"confidence", "uncertain"}
    with Image.open(io.BytesIO(result(stack, job))) as picture:
        assert picture.size == (shown["width_px"], shown["height_px"])
        assert picture.size < (1000, 667)  # cropped to the tiger
        assert picture.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_pipeline_comes_by_form_as_well(stack: House) -> None:
    boundary = uuid.uuid4().hex
    fields = {
        "operation": "resize",
        "width": "300",
        "then": json.dumps([{"operation": "encode", "parameters": {"format": "png"}}]),
    }
    body = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        f"{value}\r\n"
        for name, value in fields.items()
    ).encode()
    head = 'Content-Disposition: form-data; name="image"; filename="tiger.jpg"'
    body += f"--{boundary}\r\n{head}\r\n\r\n".encode() + TIGER.read_bytes()
    body += f"\r\n--{boundary}--\r\n".encode()
    kind = f"multipart/form-data; boundary={boundary}"
    answer = stack.call(
        "POST", "/api/v1/jobs", body=body, headers={"Content-Type": kind}
    )
    assert answer.status == 202, answer.body
    job = stack.end_of(answer.body["id"])
    assert (job["status"], job["charged"]) == ("succeeded", "0.0020")
    with Image.open(io.BytesIO(result(stack, job))) as picture:
        assert (picture.format, picture.size) == ("PNG", (300, 200))


def test_pipeline_that_fails_in_its_last_step_costs_nothing_at_all(
    stack: House,
) -> None:
    impossible = {"operation": "crop", "parameters": {"x": 9000, "width": 10}}
    job = ended(stack, then=[*STEPS[:2], impossible])
    assert (job["status"], job["charged"]) == ("failed", "0.0000")
    assert job["error"]["code"] == "invalid_parameters"
    assert job["error"]["retryable"] is False
    assert stack.entries(job["id"]) == RELEASED
    assert stack.stored(job["id"]) == []
    # And the worker lives.
    assert ended(stack, PHOTO)["status"] == "succeeded"


def test_pipeline_is_run_again_when_its_worker_dies_and_charged_once(
    home: House,
) -> None:
    answer = post(home, then=STEPS)
    time.sleep(0.3)
    home.kill("worker")
    job = home.end_of(answer.body["id"])
    assert job["status"] == "succeeded"
    assert home.entries(job["id"]) == CHARGED
    assert result(home, job)


def test_cancelled_pipeline_gives_all_credits_back(home: House) -> None:
    with home.standing("worker"):
        answer = post(home, then=STEPS)
        job_id = answer.body["id"]
        assert home.call("POST", f"/api/v1/jobs/{job_id}/cancel").status == 200
    assert home.entries(job_id) == RELEASED


# Options of a cut-out


def test_background_image_and_shadow(stack: House) -> None:
    parameters = {"format": "jpg", "add_shadow": True, "scale": "60%"}
    room = data_url(PHOTOS / "interior_bedroom.jpg")
    job = ended(stack, bg_image=room, parameters=parameters)
    assert job["status"] == "succeeded", job["error"]
    assert job["results"][0]["details"]["shadow"] is True
    with Image.open(io.BytesIO(result(stack, job))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (1000, 667))


def test_zip_has_colours_and_opacity_apart(stack: House) -> None:
    job = ended(stack, PHOTO, parameters={"format": "zip"})
    assert job["results"][0]["content_type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(result(stack, job))) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        with Image.open(archive.open("alpha.png")) as opacity:
            assert (opacity.mode, opacity.size) == ("L", (680, 440))


@pytest.mark.parametrize(
    "parameters", [{"roi": "50% 50% 20% 20%"}, {"roi": "2000px 0px 3000px 10px"}]
)
def test_what_this_image_makes_impossible_is_said_and_free(
    stack: House, parameters: dict[str, Any]
) -> None:
    job = ended(stack, PHOTO, parameters=parameters)
    assert job["error"]["code"] == "invalid_parameters"
    assert "roi" in job["error"]["message"]
    assert stack.entries(job["id"]) == [("hold", "-0.0100"), ("settle", "0.0100")]


def test_damaged_background_image_is_an_invalid_image(stack: House) -> None:
    cut_short = TIGER.read_bytes()[:20_000]
    url = "data:image/jpeg;base64," + base64.b64encode(cut_short).decode()
    job = ended(stack, PHOTO, bg_image=url)
    assert (job["status"], job["charged"]) == ("failed", "0.0000")
    assert job["error"]["code"] == "invalid_image"


def test_pipeline_of_a_test_key_is_the_sandbox_and_real_steps_for_nothing(
    stack: House,
) -> None:
    email = f"{uuid.uuid4().hex[:12]}@example.org"
    stack.stack.manage("create_user", email, "--credits", "0")
    key = stack.stack.manage("create_key", email, "--test")
    body = {"operation": "removebg", "image": data_url(PHOTO), "then": STEPS}
    answer = stack.call(
        "POST",
        "/api/v1/jobs",
        key=key,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 202, answer.body
    job_id = answer.body["id"]
    job = eventually(
        lambda: (one := stack.job(job_id, key=key))["ended_at"] and one, within_s=30
    )
    assert (job["status"], job["engine"]) == ("succeeded", "sandbox"), job["error"]
    assert (job["charged"], stack.entries(job_id)) == ("0.0000", [])
    assert job["results"][0]["content_type"] == "image/webp"
