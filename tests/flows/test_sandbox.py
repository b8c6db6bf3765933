"""A test key through the running stack: every operation, every error, and no cost."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw

from jobs.errors import JOB_CODES
from tests.flows.house import Answer, House
from tests.misbehaving import DEFAULT_ENGINES

DATA = Path(__file__).resolve().parents[1] / "data"
PHOTO = DATA / "photos" / "interior_bedroom.jpg"
with Image.open(PHOTO) as photo:
    PHOTO_PX = photo.size


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[House]:
    """The house of the other flows. Nothing is broken in it here, so its books are
    looked at once, after all tests."""
    home: House = request.getfixturevalue("home")
    yield home
    home.check_ledger()


@pytest.fixture(scope="module")
def key(stack: House) -> str:
    """A test key of somebody without a credit."""
    email = "integrator@example.org"
    stack.stack.manage("create_user", email, "--credits", "0")
    return stack.stack.manage("create_key", email, "--test")


def data_url(content: bytes) -> str:
    return "data:;base64," + base64.b64encode(content).decode()


def mask() -> bytes:
    drawn = Image.new("L", PHOTO_PX)
    width, height = PHOTO_PX
    box = (width // 3, height // 3, width // 2, height // 2)
    ImageDraw.Draw(drawn).ellipse(box, fill=255)
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()


def cutout() -> bytes:
    """A disc on a clear ground."""
    drawn = Image.new("RGBA", CUTOUT_PX)
    ImageDraw.Draw(drawn).ellipse((40, 20, 160, 130), fill="teal")
    out = io.BytesIO()
    drawn.save(out, "PNG")
    return out.getvalue()


CUTOUT_PX = 200, 150
CUTOUT = data_url(cutout())
IMAGE, MASK = data_url(PHOTO.read_bytes()), data_url(mask())


def post(stack: House, key: str, **body: Any) -> Answer:
    return stack.call(
        "POST",
        "/api/v1/jobs",
        key=key,
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )


def ended(stack: House, key: str, *, within_s: float = 20, **body: Any) -> Any:
    answer = post(stack, key, **body)
    assert answer.status == 202, answer.body
    return end_of(stack, key, answer.body["id"], within_s=within_s)


def end_of(stack: House, key: str, job_id: str, *, within_s: float = 20) -> Any:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        stack.supervise()
        job = stack.job(job_id, key=key)
        if job["ended_at"]:
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def picture(stack: House, result: dict[str, Any]) -> Image.Image:
    """The result as its link gives it, which must be what the job says of it."""
    answer = stack.call("GET", result["url"])
    assert answer.status == 200
    assert answer.headers["Content-Type"] == result["content_type"]
    assert hashlib.sha256(answer.body).hexdigest() == result["sha256"]
    found = Image.open(io.BytesIO(answer.body))
    assert found.size == (result["width_px"], result["height_px"])
    assert Image.MIME[found.format or ""] == result["content_type"]
    return found


# Operation, members of the request, and what comes: types and sizes.
PNG, JPEG, WEBP = "image/png", "image/jpeg", "image/webp"
WORKS: dict[str, tuple[dict[str, Any], str, tuple[int, int]]] = {
    "removebg": ({"image": IMAGE}, PNG, PHOTO_PX),
    "upscale": (
        {"image": IMAGE, "parameters": {"scale": 2}},
        JPEG,
        (2 * PHOTO_PX[0], 2 * PHOTO_PX[1]),
    ),
    "generate": (
        {"parameters": {"prompt": "A red bicycle", "width": 320, "height": 256}},
        PNG,
        (320, 256),
    ),
    "edit": (
        {
            "image": IMAGE,
            "mask": MASK,
            "parameters": {"task": "removal", "input_quality": "original"},
        },
        PNG,
        PHOTO_PX,
    ),
    "resize": (
        {"image": IMAGE, "parameters": {"width": 90, "height": 80}},
        JPEG,
        (90, 80),
    ),
    "crop": (
        {"image": IMAGE, "parameters": {"width": 50, "height": 40}},
        JPEG,
        (50, 40),
    ),
    "encode": ({"image": IMAGE, "parameters": {"format": "webp"}}, WEBP, PHOTO_PX),
    "extract": ({"image": IMAGE, "mask": MASK}, PNG, PHOTO_PX),
    "inpaint": ({"image": IMAGE, "mask": MASK}, JPEG, PHOTO_PX),
    "canny": (
        {"image": IMAGE, "parameters": {"format": "png"}},
        PNG,
        PHOTO_PX,
    ),
    "white-balance": ({"image": IMAGE}, JPEG, PHOTO_PX),
    "smart-mask": (
        {"image": IMAGE, "parameters": {"points": [[PHOTO_PX[0] // 2, 100]]}},
        PNG,
        PHOTO_PX,
    ),
    "shadow": ({"image": CUTOUT}, PNG, CUTOUT_PX),
    "compose": (
        {"image": CUTOUT, "parameters": {"color": "#ff8800", "format": "jpg"}},
        JPEG,
        CUTOUT_PX,
    ),
}


def test_every_operation_is_tested() -> None:
    assert set(WORKS) == set(DEFAULT_ENGINES)


@pytest.mark.parametrize("operation", WORKS)
def test_every_operation_gives_a_marked_image_of_the_right_kind(
    stack: House, key: str, operation: str
) -> None:
    members, content_type, size = WORKS[operation]
    job = ended(stack, key, operation=operation, **members)
    assert (job["status"], job["engine"], job["test"]) == ("succeeded", "sandbox", True)
    [result] = job["results"]
    assert result["details"]["sandbox"] is True
    assert result["content_type"] == content_type
    assert picture(stack, result).size == size
    assert job["charged"] == "0.0000"


def test_same_request_gives_the_same_bytes_and_another_prompt_others(
    stack: House, key: str
) -> None:
    def made(prompt: str) -> list[str]:
        parameters = {"prompt": prompt, "width": 256, "height": 256, "n": 2}
        job = ended(stack, key, operation="generate", parameters=parameters)
        return [result["sha256"] for result in job["results"]]

    cat, again, dog = made("a cat"), made("a cat"), made("a dog")
    assert cat == again
    assert len({*cat, *dog}) == 4


def test_mark_goes_across_the_picture(stack: House, key: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (400, 300), "teal").save(out, "PNG")
    image, parameters = data_url(out.getvalue()), {"format": "png"}
    job = ended(stack, key, operation="encode", image=image, parameters=parameters)
    shown = picture(stack, job["results"][0]).convert("RGB")
    changed = ImageChops.difference(shown, Image.new("RGB", shown.size, "teal"))
    left, top, right, bottom = changed.getbbox() or (0, 0, 0, 0)
    assert (left, top, right, bottom) == (0, 0, 400, 300)
    assert np.count_nonzero(np.asarray(changed).any(axis=2)) > 0.05 * 400 * 300


def test_steps_follow_the_sandbox(stack: House, key: str) -> None:
    then = [{"operation": "resize", "parameters": {"width": 60, "format": "webp"}}]
    job = ended(stack, key, operation="removebg", image=IMAGE, then=then)
    assert job["status"] == "succeeded", job
    assert picture(stack, job["results"][0]).width == 60
    assert job["results"][0]["content_type"] == WEBP


def test_job_of_a_test_key_is_the_source_of_another(stack: House, key: str) -> None:
    first = ended(stack, key, operation="removebg", image=IMAGE)
    source = f"job:{first['id']}"
    parameters = {"width": 40, "format": "png"}
    job = ended(stack, key, operation="resize", image=source, parameters=parameters)
    assert picture(stack, job["results"][0]).width == 40
    assert (
        post(stack, stack.stack.key, operation="removebg", image=source).status == 422
    )


# What can be asked for


@pytest.mark.parametrize("code", JOB_CODES)
def test_every_failure_that_is_asked_for_comes(
    stack: House, key: str, code: str
) -> None:
    told = {"sandbox": f"fail:{code}", "order": "7"}
    job = ended(stack, key, operation="removebg", image=IMAGE, metadata=told)
    assert (job["status"], job["error"]["code"]) == ("failed", code)
    assert (job["attempt"], job["results"], job["charged"]) == (1, [], "0.0000")
    assert job["metadata"] == told


def test_failure_that_a_prompt_asks_for_comes(stack: House, key: str) -> None:
    parameters = {"prompt": "a cat __fail_content__"}
    job = ended(stack, key, operation="generate", parameters=parameters)
    assert job["error"]["code"] == "content_blocked"


def test_delay_that_is_asked_for_is_spent_running_and_says_how_far_it_is(
    stack: House, key: str
) -> None:
    parameters = {"prompt": "__delay_2s__ slowly", "steps": 20}
    answer = post(stack, key, operation="generate", parameters=parameters)
    seen: list[Any] = []
    while not seen or not seen[-1]["ended_at"]:
        seen.append(stack.job(answer.body["id"], key=key))
        time.sleep(0.05)
    steps = [one["progress"]["step"] for one in seen if one["progress"]]
    assert seen[-1]["status"] == "succeeded"
    assert {one["status"] for one in seen} >= {"running", "succeeded"}
    assert len(set(steps)) > 2 and steps == sorted(steps)
    assert seen[-1]["timings"]["engine_ms"] >= 2000
    assert seen[-1]["timings"]["platform_ms"] < 1500


def test_delayed_job_is_cancelled_at_once(stack: House, key: str) -> None:
    told = {"sandbox": "delay:60"}
    answer = post(stack, key, operation="removebg", image=IMAGE, metadata=told)
    job_id = answer.body["id"]
    began = time.monotonic()
    while stack.job(job_id, key=key)["status"] != "running":
        assert time.monotonic() < began + 10
    stack.call("POST", f"/api/v1/jobs/{job_id}/cancel", key=key)
    assert ended(stack, key, operation="encode", image=IMAGE)["status"] == "succeeded"
    assert stack.job(job_id, key=key)["status"] == "cancelled"


def test_run_that_is_lost_on_request_succeeds_the_next_time(
    stack: House, key: str
) -> None:
    told = {"sandbox": "retry:1"}
    job = ended(stack, key, operation="encode", image=IMAGE, metadata=told)
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert "requeued" in stack.events(job["id"])


# Nobody's neighbour


def test_live_job_does_not_wait_for_any_number_of_test_jobs(
    stack: House, key: str
) -> None:
    told = {"sandbox": "delay:6"}
    asked = {"operation": "encode", "image": IMAGE, "metadata": told}
    trials = [post(stack, key, **asked).body["id"] for _ in range(20)]
    assert post(stack, key, **asked).status == 429
    wait_for_running(stack, key, trials)

    began = time.monotonic()
    live = [stack.accepted("resize", PHOTO, width=100) for _ in range(6)]
    jobs = [stack.end_of(job_id) for job_id in live]
    took = time.monotonic() - began

    assert {job["status"] for job in jobs} == {"succeeded"}
    assert not any(stack.job(one, key=key)["ended_at"] for one in trials)
    assert took < 5
    for job_id in trials:
        stack.call("POST", f"/api/v1/jobs/{job_id}/cancel", key=key)


def wait_for_running(stack: House, key: str, trials: list[str]) -> None:
    """Until the worker has as many of them as it takes."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        statuses = [stack.job(one, key=key)["status"] for one in trials]
        if statuses.count("running") >= 8:
            return
        time.sleep(0.05)
    raise AssertionError(statuses)


def test_test_key_costs_nothing_and_leaves_no_entry(stack: House, key: str) -> None:
    assert stack.account(key=key)["credits"] == {
        "available": "0.0000",
        "held": "0.0000",
    }
    query = """SELECT count(*) FROM billing_entry
        WHERE reference IN (SELECT id::text FROM jobs_job WHERE test)"""
    assert stack.sql(query) == [(0,)]
