"""What a test key may do, what it is refused, and what it never sees."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from pytest_django.fixtures import Settings

from billing import prices
from billing.models import Entry, Price
from gpu_worker.contract import EngineSpec
from gpu_worker.engines.sandbox.engine import Edit
from jobs import engines
from jobs.models import Job
from jobs.storage import store
from tests.jobs.api.conftest import (
    DATA_URL,
    PARAMETERS,
    Person,
    fields_of,
    person,
    problem,
    succeed,
)
from tests.jobs.working import TestWorker, failure, user_with

PROMPT = {
    "type": "object",
    "properties": {"prompt": {"type": "string"}},
    "additionalProperties": False,
}
OTHER = {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.fixture(autouse=True)
def sandbox(world: None, settings: Settings) -> None:
    """Its own parameters are others than those of the engine that it stands for."""
    settings.DEFAULT_ENGINES = settings.DEFAULT_ENGINES | {"generate": "away"}
    Price.objects.get_or_create(
        operation="generate",
        engine="",
        own_key=False,
        defaults={"credits": "0.0500"},
    )
    prices.forget()
    common: dict[str, Any] = {"engine": "sandbox", "queue": "cpu"}
    engines.announce(
        [
            EngineSpec(operation="removebg", parameters=OTHER, images=(0, 9), **common),
            EngineSpec(
                operation="generate", parameters=PROMPT, images=(0, 0), **common
            ),
        ]
    )


@pytest.fixture
def tester(owner: Person) -> Person:
    """The owner with a key for tests."""
    return person(owner.user, test=True)


def asked(word: Any, **rest: Any) -> dict[str, Any]:
    body = {"operation": "removebg", "image": DATA_URL, "metadata": {"sandbox": word}}
    return body | rest


def painted(prompt: str) -> dict[str, Any]:
    return {"operation": "generate", "parameters": {"prompt": prompt}}


# What it is


def test_job_of_a_test_key_is_the_sandboxs_and_moves_no_credits(
    tester: Person, worker: TestWorker
) -> None:
    job = tester.submit(parameters={"size": 3})
    assert (job["engine"], job["test"], job["price"]) == ("sandbox", True, "0.0100")
    succeed(worker, job["id"])
    done = tester.get(f"jobs/{job['id']}")
    assert (done.json()["status"], done.json()["charged"]) == ("succeeded", "0.0000")
    assert done["X-Credits-Remaining"] == "5.0000"
    assert not Entry.objects.filter(reference=job["id"]).exists()


def test_job_of_a_test_key_needs_no_credits() -> None:
    poor = person(user_with("0"), test=True)
    assert poor.submit()["status"] == "queued"


def test_parameters_are_those_of_the_engine_that_the_sandbox_stands_for(
    tester: Person,
) -> None:
    body = {"operation": "removebg", "image": DATA_URL}
    assert tester.submit(parameters={"size": 3})["parameters"]["format"] == "png"
    answer = tester.post("jobs", body | {"parameters": {"size": 10, "colour": 1}})
    assert fields_of(answer) == {
        ("parameters.size", "range"),
        ("parameters.colour", "unknown"),
    }
    answer = tester.post("jobs", body | {"image": [DATA_URL, DATA_URL]})
    assert fields_of(answer) == {("image", "repeated")}


def test_engine_that_is_announced_anew_changes_what_the_sandbox_takes(
    tester: Person,
) -> None:
    tester.submit(parameters={"size": 3})
    changed = {**PARAMETERS, "properties": {"colour": {"type": "integer"}}}
    engines.announce(
        [
            EngineSpec(
                operation="removebg",
                engine="classical",
                queue="cpu",
                parameters=changed,
            )
        ]
    )
    assert tester.submit(parameters={"colour": 3})["parameters"] == {"colour": 3}


def test_operation_without_its_engine_has_the_sandboxs_own_parameters(
    tester: Person, owner: Person
) -> None:
    assert tester.post("jobs", painted("a cat")).status_code == 202
    answer = tester.post("jobs", {"operation": "generate", "parameters": {"x": 1}})
    assert fields_of(answer) == {("parameters.x", "unknown")}
    problem(owner.post("jobs", painted("a cat")), 503, "engine_unavailable")


def test_edit_without_an_image_that_its_task_needs_names_the_image(
    tester: Person, settings: Settings
) -> None:
    settings.DEFAULT_ENGINES = settings.DEFAULT_ENGINES | {"edit": "away"}
    engines.announce([Edit.spec])
    for task, missing in (("removal", {"mask"}), ("insertion", {"mask", "reference"})):
        body = {"operation": "edit", "image": DATA_URL, "parameters": {"task": task}}
        answer = tester.post("jobs", body)
        assert fields_of(answer) == {(role, "required") for role in missing}
        images = dict.fromkeys(missing, DATA_URL)
        assert tester.post("jobs", body | images).status_code == 202


# What it does not see


def test_modes_of_one_user_see_nothing_of_each_other(
    tester: Person, owner: Person
) -> None:
    mine, theirs = tester.submit()["id"], owner.submit()["id"]
    for one, other, job_id in ((tester, owner, mine), (owner, tester, theirs)):
        assert [job["id"] for job in one.get("jobs").json()["items"]] == [job_id]
        problem(other.get(f"jobs/{job_id}"), 404, "not_found")
        problem(other.get(f"jobs/{job_id}/result"), 404, "not_found")
        problem(other.post(f"jobs/{job_id}/cancel"), 404, "not_found")
        problem(other.delete(f"jobs/{job_id}"), 404, "not_found")
        assert Job.objects.get(pk=job_id).status == "queued"


@pytest.mark.parametrize("which", ["", "/input"])
def test_image_of_the_other_modes_job_is_not_there(
    tester: Person, owner: Person, worker: TestWorker, which: str
) -> None:
    for one, other in ((tester, owner), (owner, tester)):
        job_id = one.submit()["id"]
        succeed(worker, job_id)
        body = {"operation": "removebg", "image": f"job:{job_id}{which}"}
        unknown = {"operation": "removebg", "image": f"job:{uuid4()}{which}"}
        refusals = [
            problem(other.post("jobs", it), 422, "validation_error")
            for it in (body, unknown)
        ]
        assert refusals[0]["errors"] == refusals[1]["errors"]
        assert one.post("jobs", body).status_code == 202


def test_idempotency_keys_of_the_modes_are_apart(tester: Person, owner: Person) -> None:
    header = {"Idempotency-Key": "same"}
    body = {"operation": "removebg", "image": DATA_URL}
    first, second = (one.post("jobs", body, **header) for one in (tester, owner))
    assert first.json()["id"] != second.json()["id"]
    assert (first.json()["test"], second.json()["test"]) == (True, False)


@pytest.mark.parametrize("name", ["sandbox", "Sandbox"])
def test_live_key_never_gets_the_sandbox(
    owner: Person, settings: Settings, name: str
) -> None:
    settings.CHOOSABLE_ENGINES = ["removebg/sandbox", "removebg/Sandbox"]
    answer = owner.post("jobs", asked("", engine=name))
    assert answer.status_code in {422, 503}
    assert not Job.objects.exists()


# What it can ask for

REFUSALS = {
    "account_suspended": 403,
    "engine_unavailable": 503,
    "idempotency_key_reused": 422,
    "image_too_large": 422,
    "insufficient_credits": 402,
    "invalid_image": 422,
    "payload_too_large": 413,
    "rate_limited": 429,
    "storage_unavailable": 503,
    "unavailable": 503,
    "unsupported_media_type": 415,
    "url_not_allowed": 422,
    "validation_error": 422,
}


@pytest.mark.parametrize(("code", "status"), REFUSALS.items())
def test_refusal_that_is_asked_for_looks_like_a_real_one(
    tester: Person, code: str, status: int
) -> None:
    for body in (asked(f"refuse:{code}"), painted(f"cat __refuse_{code}__")):
        answer = tester.post("jobs", body)
        members = problem(answer, status, code)
        if status in {429, 503}:
            assert int(answer["Retry-After"]) > 0
        if status == 402:
            assert (members["needed"], members["available"]) == ("0.0100", "0.0000")
    assert not Job.objects.exists()
    assert list(store().list()) == []


@pytest.mark.parametrize(
    "word",
    ["fail:tired", "delay:61", "delay:-1", "delay:x", "retry:3", "explode", "fail"],
)
def test_word_that_the_sandbox_does_not_know_is_named(
    tester: Person, word: str
) -> None:
    answer = tester.post("jobs", asked(f"delay:1 {word}"))
    assert fields_of(answer) == {("metadata.sandbox", "choice")}


def test_magic_in_a_prompt_that_is_none_is_named(tester: Person) -> None:
    answer = tester.post("jobs", painted("a __fail_tired__ cat"))
    assert fields_of(answer) == {("parameters.prompt", "choice")}


@pytest.mark.parametrize("word", [True, 5, {"a": 1}, ["fail:engine_failed"], None, ""])
def test_metadata_that_say_something_else_are_the_clients_own(
    tester: Person, word: Any
) -> None:
    assert tester.post("jobs", asked(word)).json()["metadata"] == {"sandbox": word}


def test_words_mean_nothing_to_a_live_key(owner: Person) -> None:
    for word in ("refuse:unavailable", "fail:engine_failed", "explode"):
        job = owner.post("jobs", asked(word)).json()
        assert (job["engine"], job["metadata"]) == ("classical", {"sandbox": word})


def test_words_stay_out_of_what_the_job_shows(tester: Person) -> None:
    job = tester.post("jobs", asked("delay:5", parameters={"size": 3})).json()
    assert job["parameters"] == {"format": "png", "size": 3}


# How much of it


@pytest.fixture
def few(settings: Settings) -> int:
    settings.SANDBOX_UNFINISHED = 3
    return 3


def test_one_job_more_than_allowed_is_429_and_leaves_nothing(
    tester: Person, few: int
) -> None:
    jobs = [tester.submit() for _ in range(few)]
    answer = tester.post("jobs", asked(""))
    problem(answer, 429, "rate_limited")
    assert int(answer["Retry-After"]) > 0
    assert Job.objects.count() == few
    assert len(list(store().list())) == len(jobs)


def test_job_that_ends_makes_room_for_another(
    tester: Person, worker: TestWorker, few: int
) -> None:
    jobs = [tester.submit()["id"] for _ in range(few)]
    succeed(worker, jobs[0])
    tester.submit()
    tester.post(f"jobs/{jobs[1]}/cancel")
    tester.submit()
    problem(tester.post("jobs", asked("")), 429, "rate_limited")


def test_limit_is_each_users_own_and_not_that_of_live_keys(
    tester: Person, owner: Person, stranger: Person, few: int
) -> None:
    for _ in range(few):
        tester.submit()
    other = person(owner.user, test=True)
    problem(other.post("jobs", asked("")), 429, "rate_limited")
    assert person(stranger.user, test=True).submit()
    for _ in range(few + 1):
        owner.submit()


def test_repeat_of_an_accepted_request_is_answered_at_the_limit(
    tester: Person, few: int
) -> None:
    header = {"Idempotency-Key": "mine"}
    first = tester.post("jobs", asked(""), **header).json()
    for _ in range(few - 1):
        tester.submit()
    again = tester.post("jobs", asked(""), **header)
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    problem(
        tester.post("jobs", asked(""), **{"Idempotency-Key": "new"}),
        429,
        "rate_limited",
    )


def test_refusal_at_the_limit_does_not_use_up_the_key(
    tester: Person, worker: TestWorker, few: int
) -> None:
    jobs = [tester.submit()["id"] for _ in range(few)]
    header = {"Idempotency-Key": "mine"}
    problem(tester.post("jobs", asked(""), **header), 429, "rate_limited")
    worker.report(failure(worker.start(UUID(jobs[0]))))
    answer = tester.post("jobs", asked(""), **header)
    assert (answer.status_code, "Idempotency-Replayed" in answer) == (202, False)
