"""`Prefer: wait=N` and `?wait=N`: the end of a job in the answer itself."""

import threading
import time
from collections.abc import Callable

import pytest
from django.db import connection
from django.db.models.functions import Now

from accounts import authentication
from accounts.models import ApiKey, User
from jobs.following import waiting
from jobs.models import Job
from tests.jobs.api.conftest import DATA_URL, Person, fields_of, problem, succeed
from tests.jobs.working import TestWorker

BODY = {"operation": "removebg", "image": DATA_URL}


def soon(worker: TestWorker, owner: Person) -> threading.Thread:
    """Somebody runs the owner's newest job, a moment from now."""
    thread = threading.Thread(target=_run_newest, args=[worker, owner])
    thread.start()
    return thread


def _run_newest(worker: TestWorker, owner: Person) -> None:
    try:
        time.sleep(0.3)
        while not (jobs := owner.get("jobs").json()["items"]):
            time.sleep(0.05)
        succeed(worker, jobs[0]["id"])
    finally:
        connection.close()


def test_create_that_waits_answers_200_with_the_end(
    owner: Person, worker: TestWorker
) -> None:
    running = soon(worker, owner)
    answer = owner.post("jobs", BODY, Prefer="respond-async, wait=20")
    running.join()

    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer["Preference-Applied"] == "wait=20"
    assert answer["Location"].endswith(answer.json()["id"])
    assert answer["X-Credits-Charged"] == "0.0100"
    assert answer["X-Credits-Remaining"] == "4.9900"


def test_create_whose_time_is_up_answers_202(owner: Person) -> None:
    answer = owner.post("jobs", BODY, Prefer="wait=1")

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


@pytest.mark.parametrize("prefer", ["wait=0", "wait=301", "wait=x", "wait", "wait=-1"])
def test_preference_that_cannot_be_had_is_ignored(owner: Person, prefer: str) -> None:
    answer = owner.post("jobs", BODY, Prefer=prefer)

    assert answer.status_code == 202
    assert "Preference-Applied" not in answer


def test_refused_create_does_not_wait(owner: Person) -> None:
    began = time.monotonic()
    problem(
        owner.post("jobs", {"operation": "x"}, Prefer="wait=9"), 422, "validation_error"
    )
    assert time.monotonic() - began < 2


def test_get_that_waits_answers_with_the_end(owner: Person, worker: TestWorker) -> None:
    job_id = owner.submit()["id"]
    running = soon(worker, owner)
    answer = owner.get(f"jobs/{job_id}?wait=20")
    running.join()

    assert answer.json()["status"] == "succeeded"
    assert answer["ETag"] == owner.get(f"jobs/{job_id}")["ETag"]


def test_get_whose_time_is_up_answers_with_the_job_as_it_is(owner: Person) -> None:
    job_id = owner.submit()["id"]
    tag = owner.get(f"jobs/{job_id}")["ETag"]

    assert owner.get(f"jobs/{job_id}?wait=1").json()["status"] == "queued"
    assert owner.get(f"jobs/{job_id}?wait=1", **{"If-None-Match": tag}).status_code == (
        304
    )


@pytest.mark.parametrize("wait", ["0", "301", "x", "", "1.5", "-1"])
def test_wait_out_of_range_is_refused(owner: Person, wait: str) -> None:
    job_id = owner.submit()["id"]

    assert fields_of(owner.get(f"jobs/{job_id}?wait={wait}")) == {("wait", "range")}


@pytest.mark.parametrize(
    ("ended", "status", "code"),
    [
        (lambda: ApiKey.objects.update(revoked_at=Now()), 401, "key_revoked"),
        (lambda: ApiKey.objects.update(expires_at=Now()), 401, "key_expired"),
        (lambda: ApiKey.objects.all().delete(), 401, "unauthenticated"),
        (lambda: User.objects.update(suspended_at=Now()), 403, "account_suspended"),
    ],
)
@pytest.mark.parametrize("how", ["get", "create"])
def test_wait_of_a_key_that_lets_nobody_in_ends_soon_and_tells_nothing(
    owner: Person,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    ended: Callable[[], object],
    status: int,
    code: str,
) -> None:
    monkeypatch.setattr(authentication, "REFRESH_S", 0)
    monkeypatch.setattr(waiting, "LOOK_AFTER_ALL_S", 0.2)
    job_id = owner.submit()["id"]
    ask = {
        "get": lambda: owner.get(f"jobs/{job_id}?wait=9"),
        "create": lambda: owner.post("jobs", BODY, Prefer="wait=9"),
    }[how]
    began = time.monotonic()
    ending = _a_moment_from_now(ended)
    answer = ask()
    ending.join()

    problem(answer, status, code)
    assert time.monotonic() - began < 5
    assert "X-Credits-Remaining" not in answer
    assert set(Job.objects.values_list("status", flat=True)) == {"queued"}


def test_end_is_not_told_to_a_key_that_was_revoked_meanwhile(
    owner: Person, worker: TestWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "REFRESH_S", 0)
    job_id = owner.submit()["id"]

    def revoke_and_succeed() -> None:
        ApiKey.objects.update(revoked_at=Now())
        succeed(worker, job_id)

    ending = _a_moment_from_now(revoke_and_succeed)
    answer = owner.get(f"jobs/{job_id}?wait=20")
    ending.join()

    problem(answer, 401, "key_revoked")
    assert answer["WWW-Authenticate"] == "Bearer"


def _a_moment_from_now(act: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            time.sleep(0.5)
            act()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_stranger_does_not_wait(owner: Person, stranger: Person) -> None:
    job_id = owner.submit()["id"]

    problem(stranger.get(f"jobs/{job_id}?wait=9"), 404, "not_found")
    assert fields_of(owner.get(f"jobs/{job_id}/result?wait=9")) == {("wait", "unknown")}
