"""Qwen through the whole platform: asked for over HTTP, painted by a worker on tiny
pipelines, seen and stopped by its client."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_worker import pixels
from tests.engines.house import EngineHouse
from tests.engines.tiny import qwen
from tests.flows.house import eventually

GENERATE, EDIT = "qwen-image", "qwen-image-edit"
SLOW = {"width": 768, "height": 768}
"""A step of such a picture takes about as long as a real one on its device."""
PATIENCE_S = 200
RED, BLUE = (200, 30, 30), (30, 30, 200)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    qwen.generating(folder / GENERATE)
    qwen.editing(folder / EDIT)
    qwen.lora(folder / f"{GENERATE}-lora/lightning-4.safetensors", seed=1)
    for seed, name in enumerate(["removal", "white-balance"], start=2):
        qwen.lora(folder / f"{EDIT}-lora/{name}.safetensors", seed=seed)
    return folder


@pytest.fixture(scope="module")
def queues() -> tuple[str, ...]:
    return ("a100",)


@pytest.fixture(scope="module")
def worker_settings() -> dict[str, str]:
    return qwen.SETTINGS | {"NIJIKA_QWEN_SIZES": "256x256,384x256,768x768"}


def photo(
    width: int, height: int, colour: tuple[int, int, int], mark: int = 0
) -> bytes:
    made = np.full((height, width, 3), colour, np.uint8)
    made[height // 3 : height // 2, width // 3 : width // 2] = mark
    return pixels.encode(made, "png").data


def mask(width: int, height: int) -> bytes:
    made = np.zeros((height, width), np.uint8)
    made[height // 3 : height // 2, width // 3 : width // 2] = 255
    return pixels.encode(made, "png").data


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def done(home: EngineHouse, operation: str, *images: bytes, **wanted: Any) -> Any:
    """The job at its end; the machine may be a busy one."""
    return home.done(operation, *images, within_s=PATIENCE_S, **wanted)


def watched(home: EngineHouse, job_id: str) -> list[tuple[int, int, str]]:
    """What a client that asks again and again sees of a job until it ends."""
    seen: list[tuple[int, int, str]] = []

    def look() -> Any:
        job = home.job(job_id)
        if told := job["progress"]:
            now = told["step"], told["total"], told["message"]
            seen.extend([now] if now not in seen[-1:] else [])
        return job if job["status"] in ("succeeded", "failed", "cancelled") else None

    assert eventually(look, within_s=PATIENCE_S)["status"] == "succeeded"
    return seen


def test_prompt_becomes_pictures_of_the_size_and_type_asked_for(
    home: EngineHouse,
) -> None:
    wanted = {"width": 300, "height": 256, "n": 2, "format": "webp", "seed": 4}
    job = done(home, "generate", prompt="a mug", steps=2, **wanted)
    first, second = (opened(home.result(job, n)) for n in range(2))
    assert (first.format, first.size, second.size) == ("WEBP", *([(300, 256)] * 2))
    assert first.tobytes() != second.tobytes()
    details = [one["details"] for one in job["results"]]
    assert [one["seed"] for one in details] == [4, 5]
    assert details[0]["steps"] == 2
    assert job["engine"] == GENERATE


def test_same_request_gives_the_same_bytes(home: EngineHouse) -> None:
    wanted = {"prompt": "a mug", "steps": 2, "seed": 9, "width": 256, "height": 256}
    first, second = (home.result(done(home, "generate", **wanted)) for _ in range(2))
    assert first == second


def test_client_sees_at_least_every_second_step(home: EngineHouse) -> None:
    job_id = home.began("generate", prompt="a mug", steps=6, **SLOW)
    steps = [step for step, total, _ in watched(home, job_id) if total == 6]
    assert steps == sorted(steps)
    gaps = np.diff([0, *steps, *([6] if steps[-1] != 6 else [])])
    assert gaps.max() <= 2, steps


def test_cancelled_picture_stops_within_a_step(home: EngineHouse) -> None:
    job_id = home.began("generate", prompt="a mug", steps=100, **SLOW)
    eventually(
        lambda: (home.job(job_id)["progress"] or {}).get("step", 0) > 2 or None,
        within_s=PATIENCE_S,
    )
    step = home.job(job_id)["progress"]["step"]
    assert home.call("POST", f"/api/v1/jobs/{job_id}/cancel").status == 200
    # The engine has one thread: this one is painted when that one has stopped.
    small = {"width": 256, "height": 256, "steps": 2}
    after = done(home, "generate", prompt="a cup", **small)
    assert after["status"] == "succeeded"
    [stopped_at] = re.findall(rf"{job_id}: abandoned at step (\d+)", home.log("a100"))
    # One that runs while the order travels, and one that was not told of yet.
    assert int(stopped_at) <= step + 3
    job = home.job(job_id)
    assert (job["status"], job["charged"], job["results"]) == (
        "cancelled",
        "0.0000",
        [],
    )


def test_fast_tier_takes_its_own_few_steps(home: EngineHouse) -> None:
    small = {"width": 256, "height": 256}
    job = done(home, "generate", prompt="a mug", tier="fast", **small)
    details = job["results"][0]["details"]
    assert (details["steps"], details["adapters"]) == (4, ["lightning-4"])


@pytest.mark.parametrize(
    ("operation", "wanted", "field"),
    [
        ("generate", {"tier": "fast", "steps": 9}, "steps"),
        ("generate", {"tier": "fast", "true_cfg_scale": 3}, "true_cfg_scale"),
        ("generate", {"true_cfg_scale": 3, "guidance_scale": 3}, "true_cfg_scale"),
        ("generate", {"negative_prompt": "rain", "true_cfg_scale": 1}, "true_cfg"),
        ("edit", {"task": "insertion"}, "task"),  # its adapters are not here
        ("edit", {"tier": "fast"}, "tier"),
    ],
)
def test_what_the_model_would_ignore_is_refused_by_name(
    home: EngineHouse, operation: str, wanted: dict[str, Any], field: str
) -> None:
    images = [photo(64, 48, RED)] if operation == "edit" else []
    answer = home.ask(operation, *images, prompt="a mug", **wanted)
    assert answer.status == 422
    assert field in answer.body["errors"][0]["field"]


def test_prompt_that_is_too_long_fails_and_costs_nothing(home: EngineHouse) -> None:
    job = done(home, "generate", prompt="long " * 500, width=256, height=256)
    assert job["status"] == "failed"
    assert job["error"]["code"] == "invalid_parameters"
    assert job["error"]["message"].startswith("The prompt has ")
    assert "1024" in job["error"]["message"]
    assert job["charged"] == "0.0000"
    told = {"prompt": "short", "negative_prompt": "long " * 500}
    job = done(home, "generate", width=256, height=256, **told)
    assert job["error"]["message"].startswith("The negative prompt has ")


def test_damaged_image_fails_as_such(home: EngineHouse) -> None:
    whole = photo(64, 48, RED)
    job = done(home, "edit", whole[: len(whole) - 40], prompt="x", steps=2)
    assert job["error"]["code"] == "invalid_image"


def test_edit_keeps_the_shape_and_takes_references_in_their_order(
    home: EngineHouse,
) -> None:
    wanted = {"prompt": "x", "steps": 2, "seed": 1, "input_quality": "original"}
    red, blue = photo(90, 60, RED), photo(60, 60, BLUE)
    job = done(home, "edit", red, blue, **wanted)
    assert opened(home.result(job)).size == (90, 60)
    other = done(home, "edit", red, photo(60, 60, RED), **wanted)
    assert home.result(job) != home.result(other)


def test_task_is_done_with_its_adapters_and_without_the_bars(home: EngineHouse) -> None:
    wanted = {"task": "removal", "steps": 2, "input_quality": "original", "seed": 1}
    image = photo(96, 64, RED, mark=255)
    job = done(home, "edit", image, files={"mask": mask(96, 64)}, **wanted)
    assert job["results"][0]["details"]["adapters"] == ["removal"]
    assert job["results"][0]["details"]["painted_px"] == [96, 96]
    assert opened(home.result(job)).size == (96, 64)
    balance = wanted | {"task": "white-balance"}
    then = done(home, "edit", image, **balance)
    assert then["results"][0]["details"]["adapters"] == ["white-balance"]
    plain = done(home, "edit", image, **{n: wanted[n] for n in wanted if n != "task"})
    assert plain["results"][0]["details"]["adapters"] == []


def test_small_photo_is_worked_on_in_its_bucket(home: EngineHouse) -> None:
    job = done(home, "edit", photo(100, 40, RED), prompt="x", steps=2)
    assert opened(home.result(job)).size == (512, 205)


def test_task_without_its_mask_is_refused(home: EngineHouse) -> None:
    answer = home.ask("edit", photo(64, 48, RED), task="removal")
    assert answer.status == 422
    assert answer.body["errors"][0]["field"] == "mask"


def test_engine_that_was_unloaded_is_cold_and_the_next_job_loads_it(
    home: EngineHouse,
) -> None:
    small = {"prompt": "a mug", "width": 256, "height": 256, "steps": 2}
    done(home, "generate", **small)
    assert home.engine("generate", GENERATE)["state"] in ("warm", "hot")
    home.stack.manage("unload_engine", f"generate/{GENERATE}")
    state = {"state": "cold"}
    eventually(
        lambda: state.items() <= home.engine("generate", GENERATE).items() or None,
        within_s=PATIENCE_S,
    )
    assert home.engine("generate", GENERATE)["available"]
    seen = watched(home, home.began("generate", **small))
    assert any("loading the model" in message for _, _, message in seen), seen
