"""One operation and the steps that follow it: one job, one price, one request."""

import json
from typing import Any

import jsonschema
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from openapi_spec_validator import OpenAPIV31SpecValidator
from pytest_django.fixtures import Settings

from billing import ledger, prices
from billing.models import Price
from gpu_worker.contract import EngineSpec
from jobs import engines
from jobs.models import Job
from tests.jobs.api.conftest import (
    DATA_URL,
    PARAMETERS,
    PNG,
    Person,
    count_of,
    fields_of,
    person,
    problem,
    succeed,
)
from tests.jobs.working import TestWorker, failure, user_with

CROP: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["width"],
    "properties": {
        "width": {"type": "integer", "minimum": 1},
        "gravity": {"enum": ["centre", "north"], "default": "centre"},
        "format": {"enum": ["png", "webp"], "x-output": True},
        "quality": {"type": "integer", "default": 85, "x-output": True},
    },
}


def step_spec(operation: str, **changes: Any) -> EngineSpec:
    values: dict[str, Any] = {"engine": "imaging", "queue": "cpu", "parameters": CROP}
    return EngineSpec(operation=operation, **values | {"is_step": True} | changes)


@pytest.fixture(autouse=True)
def steps(world: None, settings: Settings) -> None:
    """`crop` and `shadow` may follow; `resize` is no step; `encode` has no worker."""
    names = ["crop", "shadow", "resize", "encode"]
    settings.DEFAULT_ENGINES |= dict.fromkeys(names, "imaging")
    for name in names:
        values = {"credits": "0.0020"}
        Price.objects.update_or_create(
            operation=name, engine="", own_key=False, defaults=values
        )
    prices.forget()
    engines.announce(
        [
            step_spec("crop", run_limit_s=7),
            step_spec("shadow", run_limit_s=5, run_limit_s_per_mp=2),
            step_spec("resize", is_step=False),
        ]
    )


def step(operation: str = "crop", **parameters: Any) -> dict[str, Any]:
    return {"operation": operation, "parameters": {"width": 5} | parameters}


def body(*then: Any, **changes: Any) -> dict[str, Any]:
    return {"operation": "removebg", "image": DATA_URL, "then": [*then]} | changes


def test_steps_are_kept_with_their_defaults_and_shown(owner: Person) -> None:
    job = owner.submit(then=[step(), step("shadow", gravity="north", format="webp")])
    wanted = [
        {"operation": "crop", "parameters": {"width": 5, "gravity": "centre"}},
        {
            "operation": "shadow",
            "parameters": {
                "width": 5,
                "gravity": "north",
                "format": "webp",
                "quality": 85,
            },
        },
    ]
    assert job["then"] == wanted
    assert owner.get(f"jobs/{job['id']}").json()["then"] == wanted
    assert (job["operation"], job["engine"]) == ("removebg", "classical")


def test_what_says_how_a_file_is_written_is_the_last_steps_alone(owner: Person) -> None:
    job = owner.submit(then=[step()])
    assert job["parameters"] == {}  # a format by default, where nothing is written
    assert job["then"][0]["parameters"]["quality"] == 85


def test_price_is_the_sum_and_charged_once(owner: Person, worker: TestWorker) -> None:
    assert owner.user is not None
    job = owner.submit(then=[step(), step("shadow")])
    assert job["price"] == "0.0140"
    assert [str(one) for one in ledger.balance(owner.user.pk)] == ["4.9860", "0.0140"]
    succeed(worker, job["id"])
    assert owner.get(f"jobs/{job['id']}").json()["charged"] == "0.0140"
    assert [str(one) for one in ledger.balance(owner.user.pk)] == ["4.9860", "0.0000"]
    entries = owner.get("ledger").json()["items"]
    mine = [one["kind"] for one in entries if one["reference"] == job["id"]]
    assert mine == ["settle", "hold"]


def test_price_is_released_whole_on_failure(owner: Person, worker: TestWorker) -> None:
    assert owner.user is not None
    job = owner.submit(then=[step()])
    run = worker.start(Job.objects.get().pk)
    worker.report(failure(run, "invalid_parameters"))
    ended = owner.get(f"jobs/{job['id']}").json()
    assert (ended["status"], ended["charged"]) == ("failed", "0.0000")
    assert ended["error"]["code"] == "invalid_parameters"
    assert [str(one) for one in ledger.balance(owner.user.pk)] == ["5.0000", "0.0000"]


def test_credits_must_be_there_for_all_steps() -> None:
    poor = person(user_with("0.0110"))
    answer = poor.post("jobs", body(step()))
    refused = problem(answer, 402, "insufficient_credits")
    assert (refused["needed"], refused["available"]) == ("0.0120", "0.0110")
    assert count_of("jobs_job") == 0


def test_estimate_tells_the_price_of_every_step(owner: Person) -> None:
    answer = owner.post("estimate", body(step(), step("shadow")))
    assert answer.status_code == 200
    found = answer.json()
    assert found["price"] == "0.0140"
    assert found["steps"] == [
        {"operation": "removebg", "engine": "classical", "price": "0.0100"},
        {"operation": "crop", "engine": "imaging", "price": "0.0020"},
        {"operation": "shadow", "engine": "imaging", "price": "0.0020"},
    ]
    assert [one["operation"] for one in found["then"]] == ["crop", "shadow"]
    assert count_of("jobs_job") == 0


def test_run_may_take_as_long_as_its_steps_together(owner: Person) -> None:
    owner.submit(then=[step(), step("shadow")])
    megapixels = 8 * 6 / 1_000_000
    assert Job.objects.get().run_limit_s == pytest.approx(60 + 7 + 5 + 2 * megapixels)


# One request


def test_steps_are_part_of_what_an_idempotency_key_stands_for(owner: Person) -> None:
    key = {"Idempotency-Key": "k"}
    first = owner.post("jobs", body(step()), **key)
    again = owner.post("jobs", body(step(gravity="centre")), **key)
    assert again["Idempotency-Replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]
    for other in (
        body(step(width=6)),
        body(step("shadow")),
        body(step(), step()),
        {"operation": "removebg", "image": DATA_URL},
    ):
        answer = owner.post("jobs", other, **key)
        problem(answer, 422, "idempotency_key_reused")
    assert Job.objects.count() == 1


def test_form_and_json_are_the_same_request(owner: Person) -> None:
    first = owner.post("jobs", body(step()), **{"Idempotency-Key": "k"})
    assert first.status_code == 202, first.content
    again = owner.client.post(
        "/api/v1/jobs",
        {
            "operation": "removebg",
            "image": SimpleUploadedFile("photo.png", PNG, "image/png"),
            "then": json.dumps([step()]),
        },
        headers=owner.headers | {"Idempotency-Key": "k"},
    )
    assert again["Idempotency-Replayed"] == "true", again.content


# What is refused

WRONG: list[tuple[Any, str, str]] = [
    (None, "then", "type"),
    ({}, "then", "type"),
    ("crop", "then", "type"),
    ([], "then", "length"),
    ([step()] * 9, "then", "length"),
    ([step(), "crop"], "then.1", "type"),
    ([None], "then.0", "type"),
    ([{}], "then.0.operation", "required"),
    ([{"operation": 1}], "then.0.operation", "type"),
    ([{"operation": "fly"}], "then.0.operation", "unknown"),
    ([{"operation": "removebg"}], "then.0.operation", "no_step"),
    ([{"operation": "resize"}], "then.0.operation", "no_step"),
    ([step() | {"engine": "imaging"}], "then.0.engine", "unknown"),
    ([step() | {"image": DATA_URL}], "then.0.image", "unknown"),
    ([step() | {"mask": DATA_URL}], "then.0.mask", "unknown"),
    ([step() | {"then": []}], "then.0.then", "unknown"),
    ([step() | {"parameters": None}], "then.0.parameters", "type"),
    ([step() | {"parameters": []}], "then.0.parameters", "type"),
    ([{"operation": "crop"}], "then.0.parameters.width", "required"),
    ([step(), step(width="8")], "then.1.parameters.width", "type"),
    ([step(width=8.0)], "then.0.parameters.width", "type"),
    ([step(width=0)], "then.0.parameters.width", "range"),
    ([step(colour=1)], "then.0.parameters.colour", "unknown"),
    ([step(gravity="\0")], "then.0.parameters.gravity", "text"),
    ([step(format="png"), step()], "then.0.parameters.format", "unused"),
    ([step(quality=9), step()], "then.0.parameters.quality", "unused"),
]


@pytest.mark.parametrize(("then", "field", "code"), WRONG)
def test_steps_that_are_wrong_are_refused_by_name(
    owner: Person, then: Any, field: str, code: str
) -> None:
    request = {"operation": "removebg", "image": DATA_URL, "then": then}
    assert fields_of(owner.post("jobs", request)) == {(field, code)}
    assert fields_of(owner.post("estimate", request)) == {(field, code)}
    form = {"operation": "removebg", "then": json.dumps(then)}
    form["image"] = DATA_URL
    assert fields_of(owner.form(**form)) == {(field, code)}
    assert count_of("jobs_job") == 0


def test_every_wrong_field_of_every_step_is_named(owner: Person) -> None:
    request = body(step(width=0), step("fly"), step(depth=1), parameters={"size": 10})
    assert fields_of(owner.post("jobs", request)) == {
        ("parameters.size", "range"),
        ("then.0.parameters.width", "range"),
        ("then.1.operation", "unknown"),
        ("then.2.parameters.depth", "unknown"),
    }


def test_format_of_the_first_step_is_refused_where_nothing_is_written(
    owner: Person,
) -> None:
    request = body(step(), parameters={"format": "png"})
    refused = {("parameters.format", "unused")}
    assert fields_of(owner.post("jobs", request)) == refused
    form = {"then": json.dumps([step()]), "image": DATA_URL, "format": "png"}
    assert fields_of(owner.form(operation="removebg", **form)) == refused


def test_steps_that_are_no_json_are_refused_in_a_form(owner: Person) -> None:
    for text in ("[", "crop", "", '[{"operation": "crop", "operation": "crop"}]'):
        answer = owner.form(operation="removebg", image=DATA_URL, then=text)
        assert fields_of(answer) == {("then", "json")}


def test_mask_that_only_a_later_step_could_use_is_refused(owner: Person) -> None:
    engines.announce([step_spec("shadow", roles=("image", "mask"))])
    request = body(step("shadow"), mask=DATA_URL)
    assert fields_of(owner.post("jobs", request)) == {("mask", "unknown")}


def test_step_that_nobody_announced_is_503(owner: Person) -> None:
    problem(owner.post("jobs", body(step("encode"))), 503, "engine_unavailable")


def test_step_of_a_test_key_is_the_real_one_and_free() -> None:
    sandbox = EngineSpec(
        operation="removebg", engine="sandbox", queue="cpu", parameters=PARAMETERS
    )
    engines.announce([sandbox])
    tester = person(user_with("0"), test=True)
    job = tester.submit(then=[step()])
    assert (job["engine"], job["test"]) == ("sandbox", True)
    assert [one["operation"] for one in job["then"]] == ["crop"]


# What the documents say


def test_schema_describes_the_steps(owner: Person, nobody: Person) -> None:
    document = nobody.get("schema").json()
    OpenAPIV31SpecValidator(document).validate()
    kinds = document["components"]["schemas"]["Then"]["items"]["oneOf"]
    names = [one["$ref"].rpartition("/")[2] for one in kinds]
    assert names == ["CropStep", "ShadowStep"]  # writers of clients need names
    shown = {"$ref": "#/components/schemas/Then", "components": document["components"]}
    jsonschema.validate([step(), step("shadow")], shown)
    for wrong in ([], [step("resize")], [step() | {"engine": "x"}], [step(width=0)]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, shown)


def test_operations_say_which_may_follow(owner: Person) -> None:
    items = owner.get("operations").json()["items"]
    steps = {one["name"] for one in items if one["engines"][0]["is_step"]}
    assert steps == {"crop", "shadow"}
