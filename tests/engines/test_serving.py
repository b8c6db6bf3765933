"""What clients see of engines on devices, through a whole nijika."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.testing import picture
from tests.engines.house import EngineHouse, data_url
from tests.engines.tiny import sam2
from tests.flows.house import eventually

CLICK = {"points": [[32, 24]]}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    sam2.build(folder / "sam2")
    return folder


@pytest.fixture
def clicked(home: EngineHouse) -> Any:
    """An ended job of the engine."""
    job = home.done("smart-mask", picture(1), engine="sam2", within_s=120, **CLICK)
    assert job["error"] is None
    return job


def test_every_engine_says_whether_it_would_take_a_job(
    home: EngineHouse, clicked: Any
) -> None:
    ready = home.engine("smart-mask", "sam2")
    assert (ready["available"], ready["reason"]) == (True, None)
    reasons = {
        name: home.engine(operation, name)["reason"]
        for operation, name in [
            ("smart-mask", "fastsam"),
            ("removebg", "birefnet"),
            ("generate", "qwen-image"),
        ]
    }
    assert reasons == {
        "fastsam": "license_not_acknowledged",
        "birefnet": "weights_missing",
        "qwen-image": "no_worker",
    }


def test_engine_without_weights_refuses_at_once_and_names_who_would_serve(
    home: EngineHouse,
) -> None:
    answer = home.ask("smart-mask", picture(1), engine="fastsam", **CLICK)
    assert (answer.status, answer.body["code"]) == (503, "engine_unavailable")
    assert answer.body["reason"] == "license_not_acknowledged"
    assert answer.body["alternatives"] == ["sam2"]
    assert home.account()["credits"]["held"] == "0.0000"


def test_job_says_what_its_time_went_into(clicked: Any) -> None:
    stages = clicked["stages"]
    assert stages["run_ms"] == clicked["timings"]["engine_ms"] > 0
    assert {"read_ms", "decode_ms", "wait_ms", "encode_ms", "store_ms"} <= set(stages)
    assert clicked["waiting"] is None


def test_measured_times_come_with_an_estimate(home: EngineHouse, clicked: Any) -> None:
    asked = {
        "operation": "smart-mask",
        "engine": "sam2",
        "image": data_url(picture(1)),
        "parameters": CLICK,
    }

    def estimate() -> Any:
        body = json.dumps(asked).encode()
        kind = {"Content-Type": "application/json"}
        answer = home.call("POST", "/api/v1/estimate", body=body, headers=kind).body
        return answer if answer["run_s"] is not None else None

    told = eventually(estimate, within_s=20)
    assert 0 < told["run_s"] <= told["eta_s"] < 60


def test_unloaded_engine_is_cold_until_the_next_job(
    home: EngineHouse, clicked: Any
) -> None:
    def state() -> str:
        return str(home.engine("smart-mask", "sam2")["state"])

    eventually(lambda: state() == "hot" or None, within_s=10)
    assert home.stack.manage("unload_engine", "smart-mask/sam2") == "t4-1"
    eventually(lambda: state() == "cold" or None, within_s=10)
    assert home.engine("smart-mask", "sam2")["available"]
    again = home.done("smart-mask", picture(2), engine="sam2", within_s=60, **CLICK)
    assert again["status"] == "succeeded"
    eventually(lambda: state() == "hot" or None, within_s=10)
    assert home.result(again).startswith(b"\x89PNG")
