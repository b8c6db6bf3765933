"""Clicks by networks through the whole platform: HTTP, queue, worker, result."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engines.house import EngineHouse, data_url
from tests.engines.tiny import fastsam, sam2
from tests.gpu_worker.engines.pictures import LEMUR, PHOTOS

ENGINES = ("fastsam", "sam2")
PERSON = (PHOTOS / "person_arms_raised.jpg").read_bytes()
PHOTO, TIGER = LEMUR.read_bytes(), PHOTOS / "animal_white_tiger.jpg"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    fastsam.build(folder / "fastsam" / "FastSAM-x.pt")
    sam2.build(folder / "sam2")
    return folder


@pytest.fixture(scope="module")
def worker_settings() -> dict[str, str]:
    return {
        "NIJIKA_FASTSAM_LICENSE": "AGPL-3.0",
        "NIJIKA_FASTSAM_SIZE": str(fastsam.SIDE_PX),
    }


def mask_of(home: EngineHouse, job: Any, index: int = 0) -> Any:
    with Image.open(io.BytesIO(home.result(job, index))) as mask:
        assert (mask.format, mask.mode) == ("PNG", "L")
        return np.asarray(mask)


@pytest.fixture(scope="module", params=ENGINES)
def clicked(request: pytest.FixtureRequest, home: EngineHouse) -> Iterator[Any]:
    """The job of a first click with the photo, for each engine."""
    yield home.done(
        "smart-mask",
        PHOTO,
        engine=request.param,
        points=[[339, 275]],
        candidates=3,
        within_s=120,
    )


def test_click_is_a_mask_as_large_as_the_photo_and_its_alternatives(
    home: EngineHouse, clicked: Any
) -> None:
    assert (clicked["status"], clicked["error"]) == ("succeeded", None)
    assert clicked["queue"] == "t4"
    assert 1 <= len(clicked["results"]) <= 3
    for result in clicked["results"]:
        assert mask_of(home, clicked, result["index"]).shape == (440, 680)
        assert result["details"]["reused"] is False
        assert 0 <= result["details"]["score"] <= 1
    assert clicked["charged"] == clicked["price"] == "0.0050"
    assert home.account()["credits"]["held"] == "0.0000"


def test_second_click_needs_no_second_pass(home: EngineHouse, clicked: Any) -> None:
    body = {
        "operation": "smart-mask",
        "engine": clicked["engine"],
        "image": f"job:{clicked['id']}/input",
        "parameters": {"box": [156, 63, 530, 440], "border_adjustment": 3},
    }
    answer = home.call(
        "POST",
        "/api/v1/jobs",
        body=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    again = home.end_of(answer.body["id"])
    assert mask_of(home, again).shape == (440, 680)
    assert again["results"][0]["details"]["reused"] is True


def test_client_sees_what_its_job_is_at(clicked: Any) -> None:
    assert clicked["progress"] == {
        "step": 3,
        "total": 3,
        "message": "drawing the edge",
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_is_available_with_its_licence(home: EngineHouse, engine: str) -> None:
    said = home.engine("smart-mask", engine)
    assert said["available"] is True
    assert said["licence"] == {"fastsam": "AGPL-3.0", "sam2": "Apache-2.0"}[engine]


@pytest.mark.parametrize("engine", ENGINES)
def test_point_outside_the_photo_fails_with_a_reason_and_costs_nothing(
    home: EngineHouse, engine: str
) -> None:
    job = home.done("smart-mask", PHOTO, engine=engine, points=[[700, 10]])
    assert (job["status"], job["error"]["code"]) == ("failed", "invalid_parameters")
    assert "680 x 440" in job["error"]["message"]
    assert job["charged"] == "0.0000"


def test_damaged_photo_fails_alone(home: EngineHouse) -> None:
    bad = home.began(
        "smart-mask", PERSON[: len(PERSON) // 2], engine="sam2", points=[[9, 9]]
    )
    good = home.began("smart-mask", PERSON, engine="sam2", points=[[233, 268]])
    assert home.end_of(good)["status"] == "succeeded"
    ended = home.end_of(bad)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "invalid_image")


@pytest.mark.parametrize("engine", ENGINES)
def test_clicks_that_come_together_share_one_pass(
    home: EngineHouse, engine: str
) -> None:
    """Had each had a pass of its own, only the first would have needed one."""
    shown = Image.open(TIGER).resize((300, 200)).rotate(len(engine))
    file = io.BytesIO()
    shown.save(file, "png")
    one = {
        "operation": "smart-mask",
        "engine": engine,
        "image": data_url(file.getvalue()),
    }
    items = [one | {"parameters": {"points": [[20 * n, 90]]}} for n in range(1, 13)]
    answer = home.call(
        "POST",
        "/api/v1/batches",
        body=json.dumps({"items": items}).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status == 202, answer.body
    jobs = [home.end_of(job_id) for job_id in answer.body["job_ids"]]
    assert {job["status"] for job in jobs} == {"succeeded"}
    passed = [not job["results"][0]["details"]["reused"] for job in jobs]
    assert 2 <= sum(passed) <= 8
    assert len({mask_of(home, job).tobytes() for job in jobs}) > 1


@pytest.mark.parametrize("engine", ENGINES)
def test_subject_is_found_where_nothing_is_said(home: EngineHouse, engine: str) -> None:
    job = home.done("smart-mask", PERSON, engine=engine, auto=True)
    assert mask_of(home, job).max() == 255
