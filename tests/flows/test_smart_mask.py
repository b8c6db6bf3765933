"""Clicks on a photo over HTTP, masked by a real worker; the photo is sent once."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nijika.local.demo import PHOTO
from tests.flows.house import Answer, House


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest) -> Iterator[House]:
    """The house of the other flows, its books looked at once, after all tests."""
    home: House = request.getfixturevalue("home")
    yield home
    home.check_ledger()


@pytest.fixture(scope="module")
def clicked(stack: House) -> Any:
    """The job of a first click, with the photo."""
    photo = base64.b64encode(PHOTO.read_bytes()).decode()
    return ended(stack, image=f"data:image/png;base64,{photo}", points=[[339, 275]])


def post(stack: House, *, image: str, mask: str | None = None, **wanted: Any) -> Answer:
    body = {"operation": "smart-mask", "parameters": wanted, "image": image}
    return stack.call(
        "POST",
        "/api/v1/jobs",
        body=json.dumps(body | ({"mask": mask} if mask else {})).encode(),
        headers={"Content-Type": "application/json"},
    )


def ended(stack: House, **asked: Any) -> Any:
    answer = post(stack, **asked)
    assert answer.status == 202, answer.body
    return stack.end_of(answer.body["id"])


def mask_of(stack: House, job: Any) -> Any:
    assert (job["status"], job["error"]) == ("succeeded", None)
    with Image.open(io.BytesIO(stack.call("GET", job["urls"]["result"]).body)) as mask:
        assert (mask.format, mask.mode) == ("PNG", "L")
        return np.asarray(mask)


def test_click_is_a_grey_mask_as_large_as_the_photo(stack: House, clicked: Any) -> None:
    mask = mask_of(stack, clicked)
    assert mask.shape == (440, 680)
    assert (mask[275, 339], mask[20, 20]) == (255, 0)
    assert clicked["charged"] == clicked["price"] == "0.0050"
    assert clicked["results"][0]["details"].keys() == {"score", "box", "area_px"}


def test_second_click_and_a_mask_to_go_on_from_need_no_upload(
    stack: House, clicked: Any
) -> None:
    again = ended(stack, image=f"job:{clicked['id']}/input", box=[156, 63, 530, 440])
    assert mask_of(stack, again)[275, 339] == 255
    refined = ended(
        stack,
        image=f"job:{clicked['id']}/input",
        mask=f"job:{again['id']}",
        points=[[600, 60]],
        labels=[0],
    )
    assert mask_of(stack, refined)[60, 600] == 0


def test_no_prompt_is_refused_before_there_is_a_job(stack: House, clicked: Any) -> None:
    answer = post(stack, image=f"job:{clicked['id']}/input", border_adjustment=3)
    assert answer.status == 422
    assert "points, box, boxes, auto, mask" in answer.body["errors"][0]["message"]


def test_point_outside_the_photo_fails_with_a_reason_and_costs_nothing(
    stack: House, clicked: Any
) -> None:
    image = f"job:{clicked['id']}/input"
    job = ended(stack, image=image, points=[[339, 275], [700, 10]])
    assert (job["status"], job["error"]["code"]) == ("failed", "invalid_parameters")
    assert "680 x 440" in job["error"]["message"]
    assert job["charged"] == "0.0000"
    assert stack.entries(job["id"]) == [("hold", "-0.0050"), ("settle", "0.0050")]
