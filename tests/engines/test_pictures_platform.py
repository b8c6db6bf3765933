"""Cut-outs and enlargements by networks through the whole platform."""

from __future__ import annotations

import io
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker import pixels
from tests.engines.house import EngineHouse, engine_house
from tests.engines.tiny import birefnet, onnx_matte, realesrgan
from tests.flows.house import eventually
from tests.gpu_worker.engines.pictures import FORMATS, LEMUR, PHOTOS

PHOTO = LEMUR.read_bytes()
TIGER = (PHOTOS / "animal_white_tiger.jpg").read_bytes()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    birefnet.build(folder / "birefnet")
    realesrgan.build(folder / "upscale")
    onnx_matte.build(folder / "onnx" / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def queues() -> tuple[str, ...]:
    return ("t4", "cpu")


@pytest.fixture(scope="module")
def worker_settings() -> dict[str, str]:
    side = birefnet.SIDE_PX
    return {"NIJIKA_BIREFNET_SIZE": f"{side}x{side}", "NIJIKA_UPSCALE_TILE": "64"}


@pytest.fixture(scope="module")
def home(
    weights: Path,
    queues: tuple[str, ...],
    worker_settings: dict[str, str],
) -> Iterator[EngineHouse]:
    """Workers that take up more jobs than a pass and what comes next."""
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        engine_house(
            Path(folder),
            weights=weights,
            queues=queues,
            slots=4,
            settings=worker_settings,
        ) as built,
    ):
        yield built
        built.check_ledger()


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
    """Those that are decoded while a pass runs: at least once in three times."""
    for _ in range(3):
        jobs = [home.began("removebg", PHOTO, engine="birefnet") for _ in range(8)]
        ended = [home.end_of(job, within_s=120) for job in jobs]
        assert {job["status"] for job in ended} == {"succeeded"}
        cutouts = [shown(home, job) for job in ended]
        assert all(abs(one.astype(int) - cutouts[0]).max() <= 1 for one in cutouts)
        passes = re.findall(r"(\d+) pictures in one pass", home.log("t4"))
        if max(int(pictures) for pictures in passes) > 1:
            return
    raise AssertionError(passes)


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


def test_mask_of_the_subject_by_the_same_network(home: EngineHouse) -> None:
    job = home.done("smart-mask", PHOTO, engine="birefnet", auto=True, within_s=120)
    assert (job["status"], job["queue"], job["engine"]) == (
        "succeeded",
        "t4",
        "birefnet",
    )
    with Image.open(LEMUR) as photo:
        assert shown(home, job).shape == (photo.height, photo.width)
    details = job["results"][0]["details"]
    assert details["scores"] == [details["score"]]
    assert job["charged"] == job["price"]
    answer = home.ask("smart-mask", PHOTO, engine="birefnet", auto=True, candidates=2)
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "parameters.candidates"


def test_unknown_parameter_is_refused_by_name(home: EngineHouse) -> None:
    answer = home.ask("removebg", PHOTO, engine="birefnet", steps=3)
    assert answer.status == 422
    assert "steps" in json.dumps(answer.body)


# removebg/onnx


def test_file_of_the_owners_cuts_out_on_the_cpu(home: EngineHouse) -> None:
    red_on_green = np.full((90, 120, 3), (30, 160, 40), np.uint8)
    red_on_green[20:60, 30:80] = (220, 40, 30)
    photo = pixels.encode(red_on_green, "png").data
    job = home.done("removebg", photo, engine="onnx")
    assert (job["status"], job["queue"]) == ("succeeded", "cpu")
    cutout = shown(home, job)
    assert cutout.shape == (90, 120, 4)
    assert tuple(cutout[40, 50]) == (220, 40, 30, 255)
    assert cutout[5, 5, 3] < 5


# upscale/realesrgan


def small(width: int = 150, height: int = 100) -> bytes:
    with Image.open(io.BytesIO(TIGER)) as photo:
        shown = np.asarray(photo.convert("RGB").resize((width, height)))
    return pixels.encode(shown, "png").data


def test_photo_is_enlarged_through_the_platform(home: EngineHouse) -> None:
    job = home.done(
        "upscale",
        small(),
        engine="realesrgan",
        model="RealESRGAN_x2plus",
        scale=3,
        within_s=120,
    )
    assert (job["status"], job["queue"]) == ("succeeded", "t4"), job["error"]
    with Image.open(io.BytesIO(home.result(job))) as made:
        assert (made.format, made.size) == ("JPEG", (450, 300))
        with Image.open(io.BytesIO(small())) as sent:
            difference = np.asarray(made.resize((150, 100))).astype(int) - sent
        assert abs(difference).mean() < 20
    assert job["charged"] == job["price"]


def test_network_without_a_file_is_refused_by_name(home: EngineHouse) -> None:
    name = "RealESRGAN_x4plus_anime_6B"
    answer = home.ask("upscale", small(), engine="realesrgan", model=name)
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "parameters.model"
    answer = home.ask("upscale", small(), engine="realesrgan", face_enhance=True)
    assert answer.body["errors"][0]["code"] == "unsupported"


def test_engine_without_weights_is_refused_at_once_with_its_reason(
    home: EngineHouse,
) -> None:
    """Waiting would not bring them: 503, and what would serve."""
    listed = home.engine("smart-mask", "sam2")
    assert (listed["available"], listed["reason"]) == (False, "weights_missing")
    answer = home.ask("smart-mask", small(), engine="sam2", auto=True)
    assert (answer.status, answer.body["code"]) == (503, "engine_unavailable")


def test_cancel_stops_between_tiles_and_the_next_job_runs(home: EngineHouse) -> None:
    """Of 256 tiles some are done; who comes next does not wait for the rest."""
    large = small(1024, 1024)
    wanted = {"engine": "realesrgan", "model": "RealESRGAN_x4plus", "scale": 4}
    job_id = home.began("upscale", large, **wanted)

    def begun() -> Any:
        progress = home.job(job_id)["progress"]
        return progress if progress and progress["step"] >= 2 else None

    assert eventually(begun, within_s=60)["total"] == 256
    home.call("POST", f"/api/v1/jobs/{job_id}/cancel")
    after = home.done("upscale", small(), **wanted | {"scale": 1}, within_s=60)
    assert after["status"] == "succeeded"
    ended = home.job(job_id)
    assert (ended["status"], ended["charged"]) == ("cancelled", "0.0000")
