"""Images that an operation cannot do without, and parameters that only others have."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_worker.contract import EngineSpec
from jobs import engines
from tests.jobs.api.conftest import DATA_URL, Person, count_of, fields_of

REFUSED = {"not": {}, "x-refused": "needs a GPU engine"}


@pytest.fixture(autouse=True)
def filler(world: None) -> None:
    """`edit` needs a mask now, and has no model to choose."""
    spec = EngineSpec(
        operation="edit",
        engine="tester",
        queue="cpu",
        parameters={"type": "object", "properties": {"model": REFUSED}},
        roles=("mask", "reference"),
        needs=("mask",),
    )
    engines.announce([spec])


def body(**more: Any) -> dict[str, Any]:
    return {"operation": "edit", "image": DATA_URL} | more


def test_order_without_an_image_that_it_needs_is_refused(owner: Person) -> None:
    assert fields_of(owner.post("jobs", body())) == {("mask", "required")}
    assert fields_of(owner.post("jobs", body(reference=DATA_URL))) == {
        ("mask", "required")
    }
    assert count_of("jobs_job") == 0


def test_order_with_all_that_it_needs_is_accepted(owner: Person) -> None:
    assert owner.post("jobs", body(mask=DATA_URL)).status_code == 202


def test_estimate_asks_for_no_image(owner: Person) -> None:
    answer = owner.post("estimate", {"operation": "edit"})
    assert answer.status_code == 200, answer.content


def test_catalogue_says_what_an_operation_needs(owner: Person) -> None:
    items = owner.get("operations").json()["items"]
    [edit] = [one for one in items if one["name"] == "edit"]
    assert edit["engines"][0]["needs"] == ["mask"]


def test_parameter_that_only_another_engine_has_is_refused_with_its_reason(
    owner: Person,
) -> None:
    asked = body(mask=DATA_URL, parameters={"model": "RealESRGAN_x4plus"})
    answer = owner.post("jobs", asked)
    assert fields_of(answer) == {("parameters.model", "unsupported")}
    assert answer.json()["errors"][0]["message"] == "needs a GPU engine"
