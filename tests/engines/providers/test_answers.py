"""What hosted engines make, by the real SDKs, from HTTP request to result."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from gpu_worker.engines.parameters.composing import SCENES
from tests.engines.house import EngineHouse
from tests.engines.providers.conftest import OWNERS
from tests.engines.providers.server import Providers, picture
from tests.flows.house import eventually

ROOM = picture("white", (300, 200))
TEAL = (0, 128, 128)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


@pytest.mark.parametrize(
    ("engine", "provider"),
    [
        ("google", "google"),
        ("openai", "openai"),
        ("openai-compatible", "compatible"),
        ("fal:fal-ai/qwen-image-edit-2511", "fal"),
        ("fal:someone/new-model/edit", "fal"),
    ],
)
def test_edit_gives_the_providers_picture_and_is_paid_once(
    home: EngineHouse, providers: Providers, engine: str, provider: str
) -> None:
    job = home.done("edit", ROOM, engine=engine, prompt="Make it teal.")
    result = opened(home.result(job))
    assert (result.size, result.getpixel((5, 5))) == ((96, 64), TEAL)
    assert job["engine"] == engine
    assert (job["charged"], job["attempt"]) == ("0.0500", 1)
    asked = providers.asked(provider)
    assert [one.key for one in asked] == [OWNERS[provider]]
    assert job["results"][0]["details"]["model"]


@pytest.mark.parametrize(
    "engine", ["fal:fal-ai/qwen-image-edit-2511", "fal:someone/new-model/edit"]
)
def test_estimate_knows_the_time_that_models_of_a_family_take(
    home: EngineHouse, providers: Providers, engine: str
) -> None:
    home.done("edit", ROOM, engine=engine, prompt="Make it teal.")
    body = {"operation": "edit", "engine": engine, "parameters": {"prompt": "It."}}

    def run_s() -> Any:
        answer = home.call(
            "POST",
            "/api/v1/estimate",
            body=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        return answer.body["run_s"]

    assert eventually(run_s, within_s=20) > 0


@pytest.mark.parametrize(
    "engine",
    ["google", "openai", "openai-compatible", "stability", "fal:fal-ai/flux/dev"],
)
def test_generate_brings_the_picture_to_the_size_that_was_asked_for(
    home: EngineHouse, providers: Providers, engine: str
) -> None:
    job = home.done("generate", engine=engine, prompt="Teal.", width=512, height=300)
    result = opened(home.result(job))
    assert (result.size, result.getpixel((5, 5))) == ((512, 300), TEAL)


def test_google_gets_pictures_in_their_order_and_then_the_words(
    home: EngineHouse, providers: Providers
) -> None:
    second = picture("black", (50, 40))
    wanted = {"prompt": "Both.", "scene": "wood"}
    home.done("edit", ROOM, second, engine="nano-banana", **wanted)
    [asked] = providers.asked("google")
    parts = asked.json["contents"][0]["parts"]
    sizes = [_size(part) for part in parts[:-1]]
    words = f"Both. | {SCENES['wood']}"
    assert (sizes, parts[-1]["text"]) == ([(300, 200), (50, 40)], words)
    assert asked.json["generationConfig"]["responseModalities"] == ["IMAGE"]
    assert "gemini-nano-banana-2.1:generateContent" in asked.path


def _size(part: Any) -> tuple[int, int]:
    return opened(base64.urlsafe_b64decode(part["inlineData"]["data"])).size


def test_edit_without_a_prompt_furnishes_the_room(
    home: EngineHouse, providers: Providers
) -> None:
    home.done("edit", ROOM, engine="google")
    [asked] = providers.asked("google")
    said = asked.json["contents"][0]["parts"][-1]["text"]
    assert "minimalist" in said
    assert "shadow" in said


def test_openai_gets_number_mask_and_size(
    home: EngineHouse, providers: Providers
) -> None:
    mask = picture("white", (300, 200))
    job = home.done(
        "edit",
        ROOM,
        engine="openai",
        files={"mask": mask},
        prompt="Two.",
        n=2,
        width=600,
        height=400,
    )
    assert len(job["results"]) == 2
    assert {(one["width_px"], one["height_px"]) for one in job["results"]} == {
        (600, 400)
    }
    [asked] = providers.asked("openai")
    assert b'name="mask"; filename="mask.png"' in asked.body
    assert b"1536x1024" in asked.body
    assert asked.headers["Idempotency-Key"] == job["id"]


def test_stability_paints_under_the_mask_and_tells_its_seed(
    home: EngineHouse, providers: Providers
) -> None:
    files = {"mask": picture("white", (300, 200))}
    job = home.done("edit", ROOM, engine="stability", files=files, prompt="A chair.")
    assert job["results"][0]["details"]["seed"] == 4711
    [asked] = providers.asked("stability")
    assert asked.path == "/v2beta/stable-image/edit/inpaint"
    refused = home.ask("edit", ROOM, engine="stability", prompt="No mask.")
    assert refused.status == 422


def test_fal_gets_the_arguments_that_its_model_knows(
    home: EngineHouse, providers: Providers
) -> None:
    asked_for = {"prompt": "Kontext.", "n": 2, "seed": 5}
    home.done("edit", ROOM, engine="fal:fal-ai/flux-kontext/dev", **asked_for)
    [asked] = providers.asked("fal")
    sent = asked.json
    assert asked.path == "/fal-ai/flux-kontext/dev"
    assert sent.pop("image_url").startswith("data:image/jpeg;base64,")
    assert sent == {
        "prompt": "Kontext.",
        "num_images": 2,
        "seed": 5,
        "output_format": "png",
        "sync_mode": True,
    }


@pytest.mark.parametrize("way", ["url", "one", "ok"])
def test_fal_results_are_found_wherever_the_model_puts_them(
    home: EngineHouse, providers: Providers, way: str
) -> None:
    providers.will("fal GET", *["ok"] * 4, way)
    job = home.done("edit", ROOM, engine="fal:fal-ai/nano-banana/edit", prompt="It.")
    assert opened(home.result(job)).getpixel((5, 5)) == TEAL


def test_openai_result_at_an_address_is_fetched(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will("compatible", "url")
    job = home.done("generate", engine="openai-compatible", prompt="It.")
    assert opened(home.result(job)).getpixel((5, 5)) == TEAL


def test_parameters_that_a_provider_ignores_are_refused(
    home: EngineHouse, providers: Providers
) -> None:
    for engine, extra in [
        ("google", {"seed": 3}),
        ("google", {"steps": 5}),
        ("openai", {"negative_prompt": "blur"}),
        ("fal:fal-ai/flux-kontext/dev", {"true_cfg_scale": 3.0}),
    ]:
        refused = home.ask("edit", ROOM, engine=engine, prompt="It.", **extra)
        assert refused.status == 422, engine
    assert providers.seen == []


@pytest.mark.parametrize(
    "engine",
    ["fal:", "fal:../../secrets", "fal:one", "fal:a//b", "fal:a/b?c", "fal:A/b c", "x"],
)
def test_engine_that_is_no_path_at_fal_is_refused(
    home: EngineHouse, providers: Providers, engine: str
) -> None:
    refused = home.ask("edit", ROOM, engine=engine, prompt="It.")
    assert (refused.status, refused.body["code"]) == (422, "validation_error")


def test_progress_of_a_queued_request_is_seen(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will("fal GET", *["wait"] * 8)
    job_id = home.began(
        "edit", ROOM, engine="fal:fal-ai/nano-banana/edit", prompt="It."
    )
    seen = set()
    while (job := home.job(job_id))["status"] not in ("succeeded", "failed"):
        seen.add(json.dumps(job["progress"]))
    assert any("provider's queue" in one for one in seen), seen
    assert job["status"] == "succeeded"
