"""Cut-outs by networks through the whole platform: HTTP, queue, worker, result."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.engines.house import EngineHouse
from tests.engines.tiny import birefnet
from tests.gpu_worker.engines.pictures import FORMATS, LEMUR, PHOTOS

PHOTO = LEMUR.read_bytes()
TIGER = (PHOTOS / "animal_white_tiger.jpg").read_bytes()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    birefnet.build(folder / "birefnet")
    return folder


@pytest.fixture(scope="module")
def worker_settings() -> dict[str, str]:
    return {"NIJIKA_BIREFNET_SIZE": f"{birefnet.SIDE_PX}x{birefnet.SIDE_PX}"}


def shown(home: EngineHouse, job: Any) -> Any:
    with Image.open(io.BytesIO(home.result(job))) as image:
        return np.asarray(image)


def test_photo_is_cut_out_and_charged_once(home: EngineHouse) -> None:
    job = home.done("removebg", PHOTO, engine="birefnet", within_s=120)
    assert (job["status"], job["error"]) == ("succeeded", None)
    assert (job["queue"], job["engine"]) == ("t4", "birefnet")
    cutout = shown(home, job)
    with Image.open(LEMUR) as photo:
        assert cutout.shape == (photo.height, photo.width, 4)
    assert len(np.unique(cutout[..., 3])) > 50
    assert job["results"][0]["details"] == {"subject_found": True, "uncertain": False}
    assert job["charged"] == job["price"]
    assert home.account()["credits"]["held"] == "0.0000"


def test_options_of_any_cut_out_hold_for_the_network_too(home: EngineHouse) -> None:
    job = home.done(
        "removebg", TIGER, engine="birefnet", channels="alpha", size="preview"
    )
    alpha = shown(home, job)
    assert alpha.ndim == 2
    assert alpha.size <= 250_000
    job = home.done("removebg", TIGER, engine="birefnet", bg_color="red", format="jpg")
    assert shown(home, job).shape == (667, 1000, 3)


def test_requests_that_come_together_share_a_pass(home: EngineHouse) -> None:
    jobs = [home.began("removebg", PHOTO, engine="birefnet") for _ in range(6)]
    ended = [home.end_of(job, within_s=120) for job in jobs]
    assert {job["status"] for job in ended} == {"succeeded"}
    cutouts = [shown(home, job) for job in ended]
    assert all(abs(one.astype(int) - cutouts[0]).max() <= 1 for one in cutouts)
    passes = re.findall(r"(\d+) pictures in one pass", home.log("t4"))
    assert max(int(pictures) for pictures in passes) > 1


def test_damaged_image_fails_alone_and_costs_nothing(home: EngineHouse) -> None:
    damaged = (FORMATS / "jpeg_truncated.jpg").read_bytes()
    bad = home.began("removebg", damaged, engine="birefnet")
    good = home.began("removebg", PHOTO, engine="birefnet")
    ended = home.end_of(bad)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "invalid_image")
    assert ended["charged"] == "0.0000"
    assert home.end_of(good)["status"] == "succeeded"


def test_progress_is_told_while_it_is_cut_out(home: EngineHouse) -> None:
    job = home.done("removebg", PHOTO, engine="birefnet")
    answer = home.call("GET", f"/api/v1/jobs/{job['id']}")
    assert answer.body["progress"]["total"] >= 1


def test_engine_is_listed_as_loaded(home: EngineHouse) -> None:
    home.done("removebg", PHOTO, engine="birefnet")
    listed = home.engine("removebg", "birefnet")
    assert listed["available"] is True
    assert listed["state"] in ("warm", "hot")


def test_unknown_parameter_is_refused_by_name(home: EngineHouse) -> None:
    answer = home.ask("removebg", PHOTO, engine="birefnet", steps=3)
    assert answer.status == 422
    assert "steps" in json.dumps(answer.body)
