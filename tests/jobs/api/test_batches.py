"""Many jobs in one request: all or none, each with its own end."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from billing import ledger
from jobs import batches, engines, submission
from jobs.accepting import sandbox
from jobs.accepting.intake import Intake
from jobs.models import (
    Batch,
    IdempotencyKey,
    Job,
    JobEvent,
    WebhookDelivery,
    WebhookEndpoint,
)
from jobs.storage import store
from jobs.upkeep import books
from jobs.webhooks import rendering
from tests.jobs.api.conftest import DATA_URL, PNG, SPECS, Person, person, succeed
from tests.jobs.submitting import together, wallet_locked
from tests.jobs.working import TestWorker, user_with

NO_IMAGE = "data:image/png;base64,AAAA"
ITEM = {"operation": "removebg", "image": DATA_URL}


def create(who: Person, count: int = 3, **headers: str) -> dict[str, Any]:
    answer = who.post("batches", {"items": [ITEM] * count}, **headers)
    assert answer.status_code == 202, answer.content
    made: dict[str, Any] = answer.json()
    return made


def field_errors(answer: Any) -> list[tuple[str, str]]:
    return [(one["field"], one["code"]) for one in answer.json()["errors"]]


def nothing_was_made() -> bool:
    there = (Job, Batch, JobEvent, IdempotencyKey)
    return not any(model.objects.exists() for model in there)


def books_balance() -> bool:
    return not books.differences()


def test_batch_is_accepted_with_a_hold_per_job(owner: Person) -> None:
    body = {
        "items": [ITEM, ITEM | {"parameters": {"size": 2}, "metadata": {"n": 1}}],
        "metadata": {"order": "A-17"},
    }
    answer = owner.post("batches", body)

    batch = answer.json()
    assert (answer.status_code, batch["status"], batch["size"]) == (202, "running", 2)
    assert answer["Location"] == batch["urls"]["self"]
    assert answer["X-Credits-Remaining"] == "4.9800"
    assert (batch["price"], batch["charged"]) == ("0.0200", "0.0000")
    assert batch["counts"] | {"queued": 0} == dict.fromkeys(Job.Status.values, 0)
    assert batch["metadata"] == {"order": "A-17"}
    jobs = owner.get(f"batches/{batch['id']}/jobs").json()["items"]
    assert [one["id"] for one in jobs] == batch["job_ids"]
    assert [one["batch"]["index"] for one in jobs] == [0, 1]
    assert jobs[1]["parameters"]["size"] == 2 and jobs[1]["metadata"] == {"n": 1}
    assert owner.user and ledger.balance(owner.user.pk)[1] == Decimal("0.0200")


def test_each_item_has_its_own_end_and_charge(
    owner: Person, worker: TestWorker
) -> None:
    batch = create(owner, 3)
    succeed(worker, batch["job_ids"][1])

    cancelled = owner.post(f"batches/{batch['id']}/cancel").json()

    assert cancelled["status"] == "completed" and cancelled["completed_at"]
    assert cancelled["counts"]["succeeded"] == 1
    assert cancelled["counts"]["cancelled"] == 2
    assert cancelled["charged"] == "0.0100"
    assert owner.user and ledger.balance(owner.user.pk) == (Decimal("4.99"), Decimal(0))
    again = owner.post(f"batches/{batch['id']}/cancel")
    assert (again.status_code, again.json()) == (200, cancelled)
    only = owner.get(f"batches/{batch['id']}/jobs?status=succeeded").json()["items"]
    assert [one["batch"]["index"] for one in only] == [1]


def test_one_bad_item_refuses_all(owner: Person) -> None:
    bad = [
        ITEM,
        ITEM | {"parameters": {"size": 99}},
        {"operation": "removebg"},
        ITEM | {"then": [{"operation": "removebg"}]},
    ]
    refused = owner.post("batches", {"items": bad}, **{"Idempotency-Key": "k"})

    assert refused.status_code == 422
    assert {field for field, _ in field_errors(refused)} == {
        "items.1.parameters.size",
        "items.2.image",
        "items.3.then.0.operation",
    }
    assert nothing_was_made()
    assert not list(store().list("inputs"))


@pytest.mark.parametrize(
    ("image", "status", "error"),
    [
        (
            "data:image/png;base64,AAAA",
            415,
            ("items.1.image", "unsupported_media_type"),
        ),
        ("http://127.0.0.1/", 422, ("items.1.image", "url_not_allowed")),
        ("job:x", 422, ("items.1.image", "not_found")),
        ("nonsense", 422, ("items.1.image", "format")),
    ],
)
def test_image_that_cannot_be_taken_names_its_item(
    owner: Person, image: str, status: int, error: Any
) -> None:
    refused = owner.post("batches", {"items": [ITEM, ITEM | {"image": image}]})
    assert (refused.status_code, field_errors(refused)) == (status, [error])
    assert nothing_was_made()


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, [("items", "required")]),
        ({"items": []}, [("items", "length")]),
        ({"items": [ITEM] * 6}, [("items", "length")]),
        ({"items": {}}, [("items", "type")]),
        ({"items": [1]}, [("items.0", "type")]),
        ({"items": [ITEM], "x": 1}, [("x", "unknown")]),
        ({"items": [ITEM], "metadata": 1}, [("metadata", "type")]),
        ({"items": [{}]}, [("items.0.operation", "required")]),
        ({"items": [ITEM | {"x": 1}]}, [("items.0.x", "unknown")]),
    ],
)
def test_body_is_read_strictly(
    owner: Person, settings: Settings, body: Any, errors: Any
) -> None:
    settings.BATCH_LIMIT = 5
    refused = owner.post("batches", body)
    assert (refused.status_code, field_errors(refused)) == (422, errors)


def test_credits_short_for_the_last_item_refuse_all(owner: Person) -> None:
    poor = person(user_with("0.0250"))
    refused = poor.post("batches", {"items": [ITEM] * 3})

    assert refused.status_code == 402
    assert refused.json()["needed"] == "0.0300"
    assert refused.json()["available"] == "0.0250"
    assert nothing_was_made() and not list(store().list("inputs"))


def test_credits_that_go_meanwhile_refuse_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poor = person(user_with("0.0250"))
    monkeypatch.setattr(submission, "glance", lambda *_: None)

    refused = poor.post("batches", {"items": [ITEM] * 3}, **{"Idempotency-Key": "k"})

    assert refused.status_code == 402
    assert refused.json()["needed"] == "0.0300"
    assert refused.json()["available"] == "0.0250"
    assert nothing_was_made() and books_balance()
    assert poor.user and ledger.balance(poor.user.pk) == (Decimal("0.0250"), Decimal(0))


def test_two_batches_for_the_credits_of_one(owner: Person) -> None:
    poor = person(user_with("0.0500"))
    act = partial(poor.post, "batches", {"items": [ITEM] * 3})

    codes = sorted(answer.status_code for answer in together(act, act, act))

    assert codes == [202, 402, 402]
    assert Job.objects.count() == 3 and Batch.objects.count() == 1
    assert books_balance()


def test_idempotency_key_makes_one_batch(owner: Person) -> None:
    act = partial(create, owner, 4, **{"Idempotency-Key": "k"})

    made = together(*[act] * 5)

    assert len({one["id"] for one in made}) == 1
    assert Job.objects.count() == 4 and Batch.objects.count() == 1
    assert owner.user and ledger.balance(owner.user.pk)[1] == Decimal("0.04")
    other = owner.post("batches", {"items": [ITEM]}, **{"Idempotency-Key": "k"})
    job = owner.post("jobs", ITEM, **{"Idempotency-Key": "k"})
    assert other.json()["code"] == job.json()["code"] == "idempotency_key_reused"


def test_replay_needs_no_credits() -> None:
    poor = person(user_with("0.0300"))
    header = {"Idempotency-Key": "k"}
    first = create(poor, 3, **header)

    again = poor.post("batches", {"items": [ITEM] * 3}, **header)

    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert again["Idempotency-Replayed"] == "true"
    job_header = {"Idempotency-Key": "j"}
    rich = person(user_with("0.0100"))
    job = rich.post("jobs", ITEM, **job_header).json()
    assert rich.post("jobs", ITEM, **job_header).json()["id"] == job["id"]


def test_commit_that_is_cut_off_is_one_batch(
    owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The answer to COMMIT is lost: it was done, or it was not.
    for done in (True, False):
        lose = _lose_answer(done=done)
        with monkeypatch.context() as patch:
            patch.setattr(Intake, "run", lose)
            create(owner, 2)
    assert Batch.objects.count() == 2 and Job.objects.count() == 4
    assert books_balance()


def _lose_answer(*, done: bool) -> Any:
    run = Intake.run
    lost: list[bool] = []

    def once(intake: Intake) -> Any:
        if lost:
            return run(intake)
        lost.append(True)
        if done:
            run(intake)
        else:
            intake.xid, intake.committing = "3", True
        raise OperationalError("server closed the connection unexpectedly")

    return once


def test_locked_wallet_is_503_and_leaves_nothing(owner: Person) -> None:
    with wallet_locked(owner.user):  # type: ignore[arg-type]
        refused = owner.post("batches", {"items": [ITEM] * 2})
    assert refused.status_code == 503 and refused["Retry-After"]
    assert nothing_was_made()


def test_batch_is_its_owners_and_its_modes(owner: Person, stranger: Person) -> None:
    batch = create(owner)
    for other in (stranger, person(owner.user, test=True)):
        for path in ("", "/jobs", "/results"):
            assert other.get(f"batches/{batch['id']}{path}").status_code == 404
        assert other.get("batches").json()["items"] == []
    assert owner.get("batches/x").status_code == 404


def test_cancel_of_anothers_batch_is_404(owner: Person, stranger: Person) -> None:
    batch = create(owner)
    for other in (stranger, person(owner.user, test=True)):
        with CaptureQueriesContext(connection) as asked:
            refused = other.post(f"batches/{batch['id']}/cancel")
        assert refused.status_code == 404
        assert not any("jobs_job" in query["sql"] for query in asked)
    assert Job.objects.filter(status="queued").count() == 3


def test_batches_are_listed_newest_first(owner: Person) -> None:
    made = [create(owner, 1)["id"] for _ in range(3)]
    page = owner.get("batches?limit=2").json()
    rest = owner.get(f"batches?limit=2&cursor={page['next_cursor']}").json()
    listed = [one["id"] for one in page["items"] + rest["items"]]
    assert listed == made[::-1]
    first = owner.get(f"batches/{made[0]}/jobs?limit=1").json()
    assert first["next_cursor"] is None


def test_jobs_of_a_batch_come_in_pages(owner: Person) -> None:
    batch = create(owner, 5)
    path, ids = f"batches/{batch['id']}/jobs?limit=2", []
    cursor = ""
    while cursor is not None:
        page = owner.get(path + (f"&cursor={cursor}" if cursor else "")).json()
        ids += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert ids == batch["job_ids"]


def archive_of(answer: Any) -> tuple[zipfile.ZipFile, Any]:
    content = b"".join(answer.streaming_content)
    answer.close()
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive, json.loads(archive.read("batch.json"))


def test_results_are_one_archive(owner: Person, worker: TestWorker) -> None:
    batch = create(owner, 4)
    large = PNG + b"\0" * 1_000_000
    for number, content in ((0, PNG), (2, large), (3, PNG)):
        succeed(worker, batch["job_ids"][number], content)
    early = owner.get(f"batches/{batch['id']}/results")
    assert (early.status_code, early.json()["code"]) == (409, "batch_not_completed")
    assert early.json()["unfinished"] == 1
    owner.post(f"batches/{batch['id']}/cancel")
    gone = Job.objects.get(pk=batch["job_ids"][3]).results[0]["key"]
    store().delete(gone)

    answer = owner.get(f"batches/{batch['id']}/results")

    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"].endswith('.zip"')
    archive, told = archive_of(answer)
    names = ["0000-removebg.png", "0002-removebg.png", "batch.json"]
    assert archive.namelist() == names
    assert archive.read("0002-removebg.png") == large
    assert [one["files"] for one in told["items"]] == [[names[0]], [], [names[1]], []]
    statuses = [one["status"] for one in told["items"]]
    assert statuses == ["succeeded", "cancelled", "succeeded", "succeeded"]
    assert told["id"] == batch["id"] and told["charged"] == "0.0300"


def test_batch_is_completed_once(owner: Person, worker: TestWorker) -> None:
    batch = create(owner, 2)
    other = create(owner, 1)
    assert batches.complete() == 0
    for job_id in batch["job_ids"]:
        succeed(worker, job_id)

    assert (batches.complete(), batches.complete()) == (1, 0)

    done = Batch.objects.exclude(completed_at=None)
    assert [str(one.pk) for one in done] == [batch["id"]]
    assert Batch.objects.get(pk=other["id"]).completed_at is None


def test_completed_batch_is_told_to_who_asks(owner: Person, worker: TestWorker) -> None:
    assert owner.user
    for number, test in enumerate((False, True)):
        WebhookEndpoint.objects.create(
            user=owner.user,
            test=test,
            url=f"https://hooks.example/{number}",
            events=["batch.completed"],
        )
    batch = create(owner, 1)
    succeed(worker, batch["job_ids"][0])

    batches.complete()
    batches.complete()

    delivery = WebhookDelivery.objects.get()
    body = rendering.body(delivery, {})
    said = json.loads(body or b"")
    assert said["type"] == "batch.completed"
    assert (said["data"]["id"], said["data"]["charged"]) == (batch["id"], "0.0100")
    assert not delivery.test


def test_batch_of_a_test_key_is_free_and_small(
    owner: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SANDBOX_UNFINISHED = 3
    engines.announce([replace(SPECS[0], engine="sandbox")])
    tester = person(owner.user, test=True)
    assert tester.post("batches", {"items": [ITEM] * 4}).status_code == 429
    monkeypatch.setattr(sandbox, "glance", lambda *_: None)
    assert tester.post("batches", {"items": [ITEM] * 4}).status_code == 429
    assert nothing_was_made()

    create(tester, 3)

    assert owner.user and ledger.balance(owner.user.pk) == (Decimal(5), Decimal(0))


def test_thousand_items_are_one_batch(owner: Person, settings: Settings) -> None:
    rich = person(user_with("20"))
    item = {"operation": "removebg", "image": "https://a.example/1.png"}
    answer = rich.post("batches", {"items": [item] * 1000})

    assert answer.status_code == 202
    assert len(answer.json()["job_ids"]) == 1000
    assert rich.user and ledger.balance(rich.user.pk) == (Decimal(10), Decimal(10))
