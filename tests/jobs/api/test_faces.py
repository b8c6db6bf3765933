"""The old systems' paths where time, keys and races decide; the rest is replayed over
HTTP in tests/flows/test_old_paths.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from accounts import authentication
from accounts.models import ApiKey
from billing import prices
from billing.models import Price
from gpu_worker.contract import EngineSpec
from jobs import engines, lifecycle
from jobs.following import waiting
from jobs.models import Job
from tests import s3
from tests.jobs.api.conftest import DATA_URL, PNG, Person, problem, succeed
from tests.jobs.working import TestWorker

IMAGE = {"url": DATA_URL}


SPEC = EngineSpec(
    operation="removebg",
    engine="classical",
    queue="cpu",
    parameters={
        "type": "object",
        "additionalProperties": False,
        "properties": {"format": {"enum": ["png"]}, "size": {"enum": ["50MP"]}},
    },
)


PAINTER = EngineSpec(
    operation="generate",
    engine="painter",
    queue="a100",
    images=(0, 0),
    parameters={
        "type": "object",
        "properties": {"prompt": {"type": "string"}, "steps": {"type": "integer"}},
    },
)


@pytest.fixture(autouse=True)
def short_times(world: None, settings: Settings) -> None:
    engines.announce([SPEC])
    settings.FACE_EDIT_TIMEOUT_S = 0.5
    settings.FACE_TIMEOUT_S = 0.2


def offer_pictures(settings: Settings) -> None:
    settings.DEFAULT_ENGINES |= {"generate": "painter"}
    engines.announce([PAINTER])
    Price.objects.update_or_create(
        operation="generate", engine="", own_key=False, defaults={"credits": "0.0100"}
    )
    prices.forget()


def newest(person: Person) -> Any:
    return person.get("jobs").json()["items"][0]


def soon(worker: TestWorker, person: Person) -> threading.Thread:
    """Somebody runs the person's newest job while they wait."""

    def run() -> None:
        try:
            end = time.monotonic() + 5
            while not person.get("jobs?status=queued").json()["items"]:
                assert time.monotonic() < end
            succeed(worker, newest(person)["id"])
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_time_that_is_up_is_408_and_gives_the_credits_back(owner: Person) -> None:
    answer = owner.post("/api/removebg", IMAGE)

    body = problem(answer, 408, "timeout")
    assert body["error_type"] == "timeout"
    job = owner.get(f"jobs/{body['job_id']}").json()
    assert (job["status"], job["charged"]) == ("cancelled", "0.0000")
    assert owner.get("account").json()["credits"]["available"] == "5.0000"


def test_comparison_whose_time_is_up_gives_all_the_credits_back(
    owner: Person, settings: Settings
) -> None:
    offer_pictures(settings)
    path, wanted = "/api/generate/multi-steps", {"prompt": "a lighthouse"}

    kept = owner.post(path, wanted, **{"Idempotency-Key": "again"})
    body = problem(kept, 408, "timeout")
    assert "same request" in body["detail"]
    assert sorted(one["parameters"]["steps"] for one in queued(owner)) == [5, 10, 25]

    problem(owner.post(path, wanted), 408, "timeout")
    assert len(queued(owner)) == 3  # those of the first request alone
    assert owner.get("account").json()["credits"] == {
        "available": "4.9700",
        "held": "0.0300",
    }


def queued(person: Person) -> Any:
    return person.get("jobs?status=queued").json()["items"]


def test_who_has_a_key_of_their_own_may_come_again(
    owner: Person, worker: TestWorker
) -> None:
    """Their job goes on, and the same request takes up the waiting."""
    key = {"Idempotency-Key": "mine"}
    body = problem(owner.post("/api/removebg", IMAGE, **key), 408, "timeout")
    assert newest(owner)["status"] == "queued"
    succeed(worker, body["job_id"])

    answer = owner.post("/api/removebg", IMAGE, **key)

    assert (answer.status_code, answer["X-Job-Id"]) == (200, body["job_id"])
    assert b"".join(answer.streaming_content) == PNG
    assert len(owner.get("jobs").json()["items"]) == 1
    assert owner.get("account").json()["credits"]["available"] == "4.9900"


def test_success_in_the_moment_of_giving_up_is_the_answer(
    owner: Person, worker: TestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = lifecycle.cancel

    def too_late(job_id: UUID, **rest: Any) -> None:
        succeed(worker, str(job_id))
        cancel(job_id, **rest)

    monkeypatch.setattr(lifecycle, "cancel", too_late)

    answer = owner.post("/api/removebg", IMAGE)

    assert (answer.status_code, answer["X-Credits-Charged"]) == (200, "0.0100")
    assert b"".join(answer.streaming_content) == PNG


def test_request_id_cancels_only_what_is_the_callers(
    owner: Person, stranger: Person
) -> None:
    header = {"X-Request-Id": "shared"}
    mine = owner.post("jobs", {"operation": "removebg", "image": DATA_URL}, **header)
    theirs = stranger.post(
        "jobs", {"operation": "removebg", "image": DATA_URL}, **header
    )

    assert owner.post("/api/smart-mask/cancel/shared").status_code == 200

    assert Job.objects.get(pk=mine.json()["id"]).status == "cancelled"
    assert Job.objects.get(pk=theirs.json()["id"]).status == "queued"
    problem(owner.post("/api/smart-mask/cancel/shared"), 404, "not_found")


def test_cancel_of_what_has_succeeded_is_409(owner: Person, worker: TestWorker) -> None:
    job = owner.submit()
    succeed(worker, job["id"])

    answer = owner.post(f"/api/generate/async/cancel/{job['id']}")

    assert problem(answer, 409, "job_not_cancellable")["success"] is False


def test_every_face_needs_a_key(nobody: Person) -> None:
    for path in (
        "/removebg",
        "/api/removebg",
        "/api/upscale",
        "/api/edit",
        "/api/generate",
        "/api/generate/async",
        "/api/generate/multi-steps",
        "/api/generate/async/cancel/x",
        "/api/smart-mask",
        "/api/smart-mask/detect",
        "/api/smart-mask/cancel/x",
        "/api/image-utils/extract-object",
        "/api/image-utils/add-shadow-preview",
        "/api/image-utils/resize",
    ):
        problem(nobody.post(path, IMAGE), 401, "unauthenticated")
    for path in (
        "/api/providers",
        "/api/generate/status/x",
        "/api/generate/result/x",
        "/api/generate/result-image/x",
    ):
        problem(nobody.get(path), 401, "unauthenticated")


def test_images_come_as_base64_as_data_url_and_with_line_breaks(
    owner: Person, worker: TestWorker, settings: Settings
) -> None:
    plain = DATA_URL.partition(",")[2]
    broken = "\n".join(plain[at : at + 20] for at in range(0, len(plain), 20))
    settings.FACE_EDIT_TIMEOUT_S = 20
    for image in (DATA_URL, plain, broken):
        running = soon(worker, owner)
        answer = owner.post("/api/removebg", {"image": image})
        running.join()
        assert b"".join(answer.streaming_content) == PNG
    sizes = Job.objects.values_list("inputs", flat=True)
    assert {one[0]["size_bytes"] for one in sizes} == {len(PNG)}


@pytest.fixture
def s3_store(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    folder = tmp_path / "s3"
    (folder / "bucket").mkdir(parents=True)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET_KEY)
    with s3.serve(folder) as endpoint:
        settings.S3_ENDPOINT_URL = endpoint
        settings.STORAGE_URL = "s3://bucket/nijika"
        yield


@pytest.mark.usefixtures("s3_store")
def test_bytes_come_through_from_s3_too(
    owner: Person, worker: TestWorker, settings: Settings
) -> None:
    """Old clients know of no redirect."""
    settings.FACE_EDIT_TIMEOUT_S = 20
    running = soon(worker, owner)
    answer = owner.post("/api/removebg", IMAGE)
    running.join()

    assert (answer.status_code, answer["Content-Length"]) == (200, str(len(PNG)))
    assert b"".join(answer.streaming_content) == PNG


@pytest.mark.parametrize("path", ["/api/removebg", "/api/generate/multi-steps"])
def test_wait_of_a_key_that_is_revoked_meanwhile_ends_with_it(
    owner: Person, settings: Settings, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    offer_pictures(settings)
    settings.FACE_EDIT_TIMEOUT_S = settings.FACE_TIMEOUT_S = 20
    monkeypatch.setattr(authentication, "REFRESH_S", 0)
    monkeypatch.setattr(waiting, "LOOK_AFTER_ALL_S", 0.2)

    def revoke() -> None:
        try:
            time.sleep(0.5)
            ApiKey.objects.update(revoked_at=Now())
        finally:
            connection.close()

    thread = threading.Thread(target=revoke)
    thread.start()
    body = IMAGE if path == "/api/removebg" else {"prompt": "a hat"}
    answer = owner.post(path, body)
    thread.join()

    assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")
    assert {job.status for job in Job.objects.all()} == {"queued"}
