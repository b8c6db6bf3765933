"""`Prefer: wait=N` and `?wait=N`: the end of a job in the answer itself."""

import threading
import time

import pytest
from django.db import connection

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


def test_stranger_does_not_wait(owner: Person, stranger: Person) -> None:
    job_id = owner.submit()["id"]

    problem(stranger.get(f"jobs/{job_id}?wait=9"), 404, "not_found")
    assert fields_of(owner.get(f"jobs/{job_id}/result?wait=9")) == {("wait", "unknown")}
