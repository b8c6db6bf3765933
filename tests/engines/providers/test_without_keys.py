"""A house whose owner has no account anywhere: only who brings a key is served."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.house import EngineHouse, engine_house
from tests.engines.providers.server import Providers, picture

ROOM = picture("white", (120, 80))
KEYS = ("GOOGLE_API_KEY", "FAL_KEY", "OPENAI_API_KEY", "STABILITY_API_KEY")


@pytest.fixture(scope="module")
def home(
    worker_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EngineHouse]:
    settings = worker_settings | dict.fromkeys(KEYS, "")
    weights = tmp_path_factory.mktemp("weights")
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        engine_house(
            Path(folder), weights=weights, queues=("remote",), settings=settings
        ) as built,
    ):
        yield built
        built.check_ledger()


def test_engine_without_a_key_is_listed_with_the_reason_and_refused_at_once(
    home: EngineHouse, providers: Providers
) -> None:
    listed = home.engine("edit", "google")
    assert (listed["available"], listed["reason"]) == (False, "provider_key_missing")
    assert listed["own_key"]["headers"] == ["X-Google-Api-Key", "X-Gemini-Api-Key"]
    refused = home.ask("edit", ROOM, engine="google", prompt="It.")
    assert (refused.status, refused.body["code"]) == (503, "engine_unavailable")
    assert "openai-compatible" in str(refused.body)
    assert home.account()["credits"]["held"] == "0.0000"
    assert providers.seen == []


@pytest.mark.parametrize(
    ("engine", "provider", "header"),
    [
        ("google", "google", "X-Gemini-Api-Key"),
        ("openai", "openai", "X-OpenAI-Api-Key"),
        ("fal:someone/model", "fal", "X-Fal-Key"),
    ],
)
def test_engine_without_a_key_serves_who_brings_one(
    home: EngineHouse, providers: Providers, engine: str, provider: str, header: str
) -> None:
    headers = {header: "brought-along"}
    job = home.done("edit", ROOM, engine=engine, prompt="It.", headers=headers)
    assert (job["status"], job["charged"]) == ("succeeded", "0.0050")
    assert {one.key for one in providers.asked(provider)} == {"brought-along"}
    refused = home.ask(
        "edit", ROOM, engine=engine, prompt="It.", headers={"X-Stability-Api-Key": "a"}
    )
    assert refused.status == 503
