"""What goes wrong at providers: each with its own code, and nothing is charged."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from tests.engines.house import EngineHouse
from tests.engines.providers.conftest import OWNERS, SLOTS
from tests.engines.providers.server import LATER_S, Providers, picture, until
from tests.flows.house import eventually

ROOM = picture("white", (120, 80))
GOOGLE, OPENAI, STABILITY = "google", "openai", "stability"
PAUSE_S = 0.3
"""The first of a circuit, as the house sets it."""
FAL = "fal:fal-ai/nano-banana/edit"
ENGINES = {GOOGLE: GOOGLE, OPENAI: OPENAI, STABILITY: STABILITY, FAL: "fal"}


def failed(home: EngineHouse, engine: str, operation: str = "") -> str:
    """The code of a job that must fail, with its credits given back."""
    before = home.account()["credits"]
    images = [] if operation == "generate" else [ROOM]
    job = home.done(operation or "edit", *images, engine=engine, prompt="It.")
    assert (job["status"], job["charged"]) == ("failed", "0.0000"), job["error"]
    assert home.account()["credits"] == before
    kinds = [kind for kind, _ in home.entries(job["id"])]
    assert kinds == ["hold", "settle"]
    check_text(job["error"]["message"])
    code: str = job["error"]["code"]
    return code


def check_text(message: str) -> None:
    """A provider's own words are for nobody: they may hold the key."""
    assert not any(key in message for key in OWNERS.values())
    assert "Incorrect" not in message


AT_ONCE = [
    (GOOGLE, "blocked_prompt", "content_blocked"),
    (GOOGLE, "blocked", "content_blocked"),
    (GOOGLE, "account", "provider_account"),
    (GOOGLE, "bad_key", "provider_account"),
    (GOOGLE, "forbidden", "provider_account"),
    (GOOGLE, "invalid", "invalid_request"),
    (GOOGLE, "gone", "model_gone"),
    (OPENAI, "blocked", "content_blocked"),
    (OPENAI, "bad_key", "provider_account"),
    (OPENAI, "no_credit", "provider_account"),
    (OPENAI, "invalid", "invalid_request"),
    (OPENAI, "gone", "model_gone"),
    (STABILITY, "blocked", "content_blocked"),
    (STABILITY, "filtered", "content_blocked"),
    (STABILITY, "bad_key", "provider_account"),
    (STABILITY, "no_credit", "provider_account"),
    (STABILITY, "invalid", "invalid_request"),
    (STABILITY, "gone", "model_gone"),
    (FAL, "blocked", "content_blocked"),
    (FAL, "bad_key", "provider_account"),
    (FAL, "invalid", "invalid_request"),
    (FAL, "gone", "model_gone"),
]


@pytest.mark.parametrize(("engine", "way", "code"), AT_ONCE)
def test_refusal_has_its_code_and_is_not_repeated(
    home: EngineHouse, providers: Providers, engine: str, way: str, code: str
) -> None:
    operation = "generate" if engine == STABILITY else "edit"
    providers.will(ENGINES[engine], way)
    assert failed(home, engine, operation) == code
    assert len(providers.asked(ENGINES[engine])) == 1


# Looks at fal's queue until it is done; the SDK looks once more before it fetches.
SEEN = ["ok"] * 4
EMPTY = [
    (GOOGLE, "no_image", "no_image"),
    (GOOGLE, "words", "no_image"),
    (GOOGLE, "nothing", "no_image"),
    (GOOGLE, "cut_short", "provider_error"),
    (OPENAI, "empty", "no_image"),
    (STABILITY, "empty", "no_image"),
]


@pytest.mark.parametrize(("engine", "way", "code"), EMPTY)
def test_answer_without_a_picture_is_asked_for_once_more(
    home: EngineHouse, providers: Providers, engine: str, way: str, code: str
) -> None:
    operation = "generate" if engine == STABILITY else "edit"
    providers.will(ENGINES[engine], way, way)
    assert failed(home, engine, operation) == code
    assert len(providers.asked(ENGINES[engine])) == 2


@pytest.mark.parametrize("engine", [GOOGLE, OPENAI, STABILITY, FAL])
@pytest.mark.parametrize("way", ["quota", "down"])
def test_provider_that_has_no_time_is_asked_again(
    home: EngineHouse, providers: Providers, engine: str, way: str
) -> None:
    operation = "generate" if engine == STABILITY else "edit"
    images = [] if operation == "generate" else [ROOM]
    providers.will(ENGINES[engine], way)
    job = home.done(operation, *images, engine=engine, prompt="It.")
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    providers.will(ENGINES[engine], way, way, way)
    code = {"quota": "provider_rate_limited", "down": "provider_unavailable"}[way]
    assert failed(home, engine, operation) == code
    assert len(providers.asked(ENGINES[engine])) == 5


@pytest.mark.parametrize("engine", [GOOGLE, OPENAI, STABILITY, FAL])
def test_provider_that_says_when_is_not_asked_before(
    home: EngineHouse, providers: Providers, engine: str
) -> None:
    """Neither for this job nor for the next one that would use up the same quota."""
    operation = "generate" if engine == STABILITY else "edit"
    images = [] if operation == "generate" else [ROOM]
    providers.will(ENGINES[engine], "later")
    asked = {"engine": engine, "prompt": "It."}
    first = home.began(operation, *images, **asked)
    eventually(lambda: providers.asked(ENGINES[engine]) or None, within_s=20)
    second = home.began(operation, *images, **asked)
    for job_id in (first, second):
        assert home.end_of(job_id)["status"] == "succeeded"
    refused, *others = [one.at for one in providers.asked(ENGINES[engine])]
    assert len(others) == 2
    assert min(others) - refused >= LATER_S


@pytest.mark.parametrize("engine", [GOOGLE, OPENAI, STABILITY, FAL])
def test_lost_answer_is_asked_for_once_more_and_never_again(
    home: EngineHouse, providers: Providers, engine: str
) -> None:
    """The connection breaks after the request was read: it may have been paid."""
    operation = "generate" if engine == STABILITY else "edit"
    providers.will(ENGINES[engine], "cut", "cut", "cut", "cut")
    assert failed(home, engine, operation) == "provider_unavailable"
    assert len(providers.asked(ENGINES[engine])) == 2
    providers.will(ENGINES[engine])
    home.done(operation, *([] if operation == "generate" else [ROOM]), engine=engine,
              prompt="Well again.")  # fmt: skip


def test_provider_that_is_silent_is_left_in_time(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will(GOOGLE, "hang", "hang")
    assert failed(home, GOOGLE) == "provider_timeout"
    assert len(providers.asked(GOOGLE)) == 2


def test_queue_that_never_ends_is_left_and_the_request_cancelled(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will("fal GET", *["wait"] * 100)
    assert failed(home, FAL) == "provider_timeout"
    assert [one.cancelled for one in providers.queue.values()] == [True]
    assert len(providers.asked("fal")) == 1


@pytest.mark.parametrize(
    ("ways", "code", "requests"),
    [
        (["ok", "ok", "failed"], "provider_error", 2),
        ([*SEEN, "nsfw"], "content_blocked", 1),
        ([*SEEN, "nothing"], "no_image", 2),
        ([*SEEN, "blocked"], "content_blocked", 1),
        ([*SEEN, "inside"], "provider_error", 1),
        ([*SEEN, "elsewhere"], "provider_error", 1),
        ([*SEEN, "lost"], "fetch_failed", 1),
    ],
)
def test_queued_request_that_fails_has_its_code(
    home: EngineHouse,
    providers: Providers,
    ways: list[str],
    code: str,
    requests: int,
) -> None:
    """Addresses inside our network, also by a redirect, are never reached."""
    providers.will("fal GET", *(ways * 3))
    if code == "fetch_failed":
        # The request has ended well: it is asked for again, and never sent again.
        providers.will("fal GET", *ways, *["ok", "ok", "lost"] * 5)
    assert failed(home, FAL) == code
    assert len(providers.asked("fal")) == requests


@pytest.mark.parametrize(
    ("engine", "provider"), [(GOOGLE, "google"), ("openai-compatible", "compatible")]
)
def test_damaged_picture_is_the_providers_fault(
    home: EngineHouse, providers: Providers, engine: str, provider: str
) -> None:
    providers.will(provider, "damaged")
    assert failed(home, engine) == "provider_error"


def test_looks_at_the_queue_may_fail_now_and_then(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will("fal GET", "wait", "down", "cut", "wait", "down", "ok")
    job = home.done("edit", ROOM, engine=FAL, prompt="It.")
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert len(providers.asked("fal")) == 1


def test_provider_that_fails_again_and_again_is_left_alone_for_a_while(
    home: EngineHouse, providers: Providers
) -> None:
    """Those that are put off meanwhile have lost no try by it."""
    providers.will("compatible", *["down"] * 50)
    for _ in range(3):
        assert failed(home, "openai-compatible") == "provider_unavailable"
    # Three requests for each, of which the circuit let five through at once.
    times = [one.at for one in providers.asked("compatible")]
    assert len(times) == 9
    pauses = [after - before for before, after in pairwise(times[4:])]
    assert all(pause >= PAUSE_S * 2**n for n, pause in enumerate(pauses)), pauses
    providers.will("compatible")
    job = home.done("edit", ROOM, engine="openai-compatible", prompt="It.")
    assert job["status"] == "succeeded"


def test_pause_is_not_doubled_by_each_of_many_that_were_under_way(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will(STABILITY, *["hang"] * SLOTS)
    jobs = [
        home.began("generate", engine=STABILITY, prompt="It.") for _ in range(SLOTS)
    ]
    until(lambda: len(providers.asked(STABILITY)) == SLOTS)
    failed_at = time.monotonic()
    providers.go_on.set()
    assert all(home.end_of(one)["status"] == "succeeded" for one in jobs)
    trial = providers.asked(STABILITY)[SLOTS]
    # What was under way beyond the fifth had made it eight times as long.
    assert trial.at - failed_at < 4 * PAUSE_S


def test_key_that_is_refused_leaves_the_provider_open_to_others(
    home: EngineHouse, providers: Providers
) -> None:
    providers.will(OPENAI, *["bad_key"] * 8)
    for _ in range(8):
        assert failed(home, OPENAI) == "provider_account"
    job = home.done("edit", ROOM, engine=OPENAI, prompt="It.")
    assert job["status"] == "succeeded"
