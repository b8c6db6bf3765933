"""The account, its ledger, prices, and what is offered."""

from typing import Any

import pytest
from django.db import connection

from jobs.workers import engine_states
from tests.jobs.api.conftest import (
    DATA_URL,
    PARAMETERS,
    Person,
    count_of,
    fields_of,
    person,
    problem,
    succeed,
)
from tests.jobs.working import TestWorker, user_with


def test_account_shows_credits_and_limits(owner: Person) -> None:
    owner.submit()
    assert owner.user is not None
    assert owner.get("account").json() == {
        "email": owner.user.email,
        "credits": {"available": "4.9900", "held": "0.0100"},
        "limits": {
            "upload_bytes": 50_000_000,
            "image_pixels": 50_000_000,
            "image_side_px": 16_000,
            "unfinished_jobs": 1000,
            "unfinished_test_jobs": 20,
            "stored_bytes": 50_000_000_000,
        },
        "test": False,
    }


def test_account_of_a_test_key_says_so() -> None:
    assert person(user_with("1"), test=True).get("account").json()["test"] is True


def test_ledger_of_a_success_sums_to_its_charge(
    owner: Person, worker: TestWorker
) -> None:
    job = owner.submit()
    succeed(worker, job["id"])
    settle, hold, grant = owner.get("ledger").json()["items"]
    assert set(hold) == {
        "id", "kind", "amount", "available_after", "held_after", "reference", "note",
        "created_at",
    }  # fmt: skip
    assert (hold["kind"], hold["amount"], hold["held_after"]) == (
        "hold",
        "-0.0100",
        "0.0100",
    )
    assert (settle["kind"], settle["amount"], settle["held_after"]) == (
        "settle",
        "0.0000",
        "0.0000",
    )
    assert hold["reference"] == settle["reference"] == job["id"]
    assert (grant["kind"], grant["amount"]) == ("grant", "5.0000")


def test_ledger_of_a_cancelled_job_sums_to_nothing(owner: Person) -> None:
    job = owner.submit()
    owner.post(f"jobs/{job['id']}/cancel")
    settle, hold, _ = owner.get("ledger").json()["items"]
    assert (hold["amount"], settle["amount"]) == ("-0.0100", "0.0100")
    assert settle["available_after"] == "5.0000"


def test_ledger_goes_in_pages_and_is_ones_own(owner: Person, stranger: Person) -> None:
    for _ in range(2):
        owner.submit(operation="edit")
    first = owner.get("ledger?limit=2").json()
    rest = owner.get(f"ledger?limit=2&cursor={first['next_cursor']}").json()
    kinds = [entry["kind"] for entry in first["items"] + rest["items"]]
    assert kinds == ["hold", "hold", "grant"] and rest["next_cursor"] is None
    assert [e["kind"] for e in stranger.get("ledger").json()["items"]] == ["grant"]


def test_estimate_says_the_price_and_makes_nothing(owner: Person) -> None:
    answer = owner.post("estimate", {"operation": "removebg"})
    assert answer.status_code == 200
    assert answer.json() == {
        "price": "0.0100",
        "operation": "removebg",
        "engine": "classical",
        "queue": "cpu",
        "parameters": {"format": "png"},
        "then": [],
        "steps": [{"operation": "removebg", "engine": "classical", "price": "0.0100"}],
        "own_key": False,
        "run_s": None,
        "eta_s": None,
    }
    assert count_of("jobs_job") == 0


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "operation", "required"),
        ({"operation": "fly"}, "operation", "unknown"),
        ({"operation": "removebg", "parameters": {"x": 1}}, "parameters.x", "unknown"),
        ({"operation": "removebg", "image": [DATA_URL] * 2}, "image", "repeated"),
        ({"operation": "removebg", "image": "photo.png"}, "image", "format"),
        ({"operation": "removebg", "webhook_url": ""}, "webhook_url", "length"),
    ],
)
def test_estimate_is_as_strict_as_create(
    owner: Person, body: dict[str, Any], field: str, code: str
) -> None:
    assert fields_of(owner.post("estimate", body)) == {(field, code)}


def test_estimate_refuses_a_url_as_create_does(owner: Person) -> None:
    body = {"operation": "removebg", "image": "http://10.0.0.1/"}
    problem(owner.post("estimate", body), 422, "url_not_allowed")


def test_estimate_needs_no_credits() -> None:
    poor = person(user_with("0"))
    assert poor.post("estimate", {"operation": "removebg"}).status_code == 200


def test_operations_show_engines_with_price_and_schema(owner: Person) -> None:
    items = owner.get("operations").json()["items"]
    assert [item["name"] for item in items] == ["edit", "removebg", "upscale"]
    assert items[1]["engines"] == [
        {
            "name": "classical",
            "aliases": [],
            "title": "",
            "default": True,
            "queue": "cpu",
            "available": False,
            "reason": "no_worker",
            "state": None,
            "message": "",
            "price": "0.0100",
            "own_key": None,
            "licence": "",
            "images": {"min": 1, "max": 1},
            "roles": [],
            "results": 1,
            "needs": [],
            "is_step": False,
            "parameters": PARAMETERS,
        }
    ]


def test_operations_say_whether_a_worker_is_there(
    owner: Person, worker: TestWorker
) -> None:
    assert owner.get("operations").json()["items"][0]["engines"][0]["available"]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_worker SET seen_at = seen_at - interval '1 hour'")
    engine_states.forget()
    items = owner.get("operations").json()["items"]
    assert not items[0]["engines"][0]["available"]


def test_operations_go_in_pages(owner: Person) -> None:
    first = owner.get("operations?limit=1").json()
    rest = owner.get(f"operations?limit=1&cursor={first['next_cursor']}").json()
    assert [item["name"] for item in first["items"]] == ["edit"]
    assert rest["items"][0]["name"] == "removebg" and rest["next_cursor"]
