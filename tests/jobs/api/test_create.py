"""POST /jobs: what is taken, in both forms, and what is answered."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from billing import ledger
from jobs.models import Fetch, Job, Pin
from jobs.storage import store
from tests.jobs.api.conftest import (
    DATA_URL,
    PNG,
    Person,
    count_of,
    fields_of,
    make_image,
    person,
    problem,
    succeed,
)
from tests.jobs.working import TestWorker, user_with


def upload(content: bytes = PNG, name: str = "photo.png") -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content, "image/png")


def test_create_answers_the_whole_queued_job(owner: Person) -> None:
    answer = owner.post("jobs", {"operation": "removebg", "image": DATA_URL})
    assert answer.status_code == 202
    job = answer.json()
    own = f"https://nijika.example/api/v1/jobs/{job['id']}"
    assert answer["Location"] == job["urls"]["self"] == own
    assert job | {"id": "", "created_at": "", "urls": {}} == {
        "id": "",
        "operation": "removebg",
        "engine": "classical",
        "queue": "cpu",
        "status": "queued",
        "test": False,
        "parameters": {"format": "png"},
        "then": [],
        "metadata": {},
        "attempt": 1,
        "retry_of": None,
        "batch": None,
        "created_at": "",
        "started_at": None,
        "ended_at": None,
        "expires_at": None,
        "erased_at": None,
        "position": None,
        "progress": None,
        "price": "0.0100",
        "charged": "0.0000",
        "results": [],
        "error": None,
        "timings": dict.fromkeys(["queued_ms", "engine_ms", "platform_ms", "total_ms"]),
        "stages": None,
        "waiting": {"reason": "no_worker", "message": "", "eta_s": None},
        "urls": {},
    }


def test_create_holds_the_price_and_says_what_remains(owner: Person) -> None:
    answer = owner.post("jobs", {"operation": "removebg", "image": DATA_URL})
    assert answer["X-Credits-Charged"] == "0.0000"
    assert answer["X-Credits-Remaining"] == "4.9900"
    assert owner.user is not None
    assert [str(one) for one in ledger.balance(owner.user.pk)] == ["4.9900", "0.0100"]


def test_create_stores_the_image_and_what_it_is(owner: Person) -> None:
    job = owner.submit(image=DATA_URL)
    (given,) = Job.objects.get(pk=job["id"]).inputs
    assert given["key"] == f"inputs/{job['id']}/0"
    assert (given["content_type"], given["size_bytes"]) == ("image/png", len(PNG))
    assert (given["width_px"], given["height_px"]) == (8, 6)
    with store().open(given["key"]) as file:
        assert file.read() == PNG


def test_create_by_form_is_create_by_json(owner: Person) -> None:
    answer = owner.form(
        operation="removebg",
        image=upload(),
        format="webp",
        size="3",
        crop="true",
        points="[1, 2]",
        note="5",
        metadata='{"a": 1}',
    )
    assert answer.status_code == 202, answer.content
    wanted = {"format": "webp", "size": 3, "crop": True, "points": [1, 2], "note": "5"}
    assert answer.json()["parameters"] == wanted
    assert answer.json()["metadata"] == {"a": 1}


def test_create_by_form_takes_parameters_as_json_too(owner: Person) -> None:
    answer = owner.form(
        operation="removebg", image=upload(), parameters='{"size": 3}', crop="false"
    )
    wanted = {"format": "png", "size": 3, "crop": False}
    assert answer.json()["parameters"] == wanted


def test_create_by_form_takes_a_url_as_text(owner: Person) -> None:
    answer = owner.form(operation="removebg", image="https://example.com/a.png")
    assert answer.status_code == 202
    assert Fetch.objects.get().url == "https://example.com/a.png"


def test_image_by_url_waits_for_its_fetch(owner: Person) -> None:
    job = owner.submit(image="https://example.com/a.png")
    row = Job.objects.get(pk=job["id"])
    assert (row.waiting_fetches, row.inputs[0]["key"]) == (1, "")
    assert Fetch.objects.get().host == "example.com"


def test_several_images_and_a_mask_keep_their_order(owner: Person) -> None:
    jpeg, webp = make_image("JPEG"), make_image("WEBP")
    answer = owner.form(
        operation="edit",
        image=[upload(PNG), upload(jpeg, "b.jpg")],
        mask=upload(webp, "m.webp"),
    )
    assert answer.status_code == 202, answer.content
    rows = Job.objects.get().inputs
    assert [(row["role"], row["content_type"]) for row in rows] == [
        ("image", "image/png"),
        ("image", "image/jpeg"),
        ("mask", "image/webp"),
    ]


def test_list_of_images_in_json_is_taken_where_several_are(owner: Person) -> None:
    owner.submit(operation="edit", image=[DATA_URL, DATA_URL])
    assert len(Job.objects.get().inputs) == 2


def test_operation_without_images_needs_none(owner: Person) -> None:
    answer = owner.post("jobs", {"operation": "edit"})
    assert answer.status_code == 202


def test_metadata_is_given_back_unchanged(owner: Person) -> None:
    given = {"ключ": ["значение", None, 1.5, {"x": True}], "emoji": "🦊", "": ""}
    job = owner.submit(metadata=given)
    assert owner.get(f"jobs/{job['id']}").json()["metadata"] == given


# Files of other jobs


def test_result_of_an_own_job_becomes_an_input(
    owner: Person, worker: TestWorker
) -> None:
    first = owner.submit()
    succeed(worker, first["id"])
    second = owner.submit(image=f"job:{first['id']}")
    row = Job.objects.get(pk=second["id"])
    assert row.inputs[0]["key"].startswith(f"results/{first['id']}/")
    assert str(Pin.objects.get(job=row).source_id) == first["id"]


def test_input_of_an_own_job_becomes_an_input_and_pins_its_owner(
    owner: Person, worker: TestWorker
) -> None:
    first = owner.submit()
    succeed(worker, first["id"])
    second = owner.submit(image=f"job:{first['id']}")
    third = owner.submit(image=f"job:{second['id']}/input")
    row = Job.objects.get(pk=third["id"])
    assert row.inputs[0]["key"].startswith(f"results/{first['id']}/")
    assert str(Pin.objects.get(job=row).source_id) == first["id"]


def test_job_of_a_stranger_is_as_unknown_as_none(
    owner: Person, stranger: Person, worker: TestWorker
) -> None:
    job = owner.submit()
    succeed(worker, job["id"])
    none = "00000000-0000-7000-8000-000000000000"
    references = [f"job:{job['id']}", f"job:{job['id']}/input", f"job:{none}"]
    references += [f"job:{none}/input", "upload:x"]
    problems = []
    for reference in references:
        body = {"operation": "removebg", "image": reference}
        answer = stranger.post("jobs", body)
        assert fields_of(answer) == {("image", "not_found")}
        problems.append(answer.json() | {"request_id": ""})
    assert all(one == problems[0] for one in problems)
    assert Job.objects.count() == 1


def test_reference_in_another_spelling_is_unknown(owner: Person) -> None:
    job = owner.submit()
    own = f"job:{job['id']}"
    for text in ("job:", "job:x", f"{own}/", f"{own}/result", f"job:{{{job['id']}}}"):
        answer = owner.post("jobs", {"operation": "removebg", "image": text})
        assert fields_of(answer) == {("image", "not_found")}


def test_reference_to_an_unfinished_job_says_so(owner: Person) -> None:
    job = owner.submit()
    body = {"operation": "removebg", "image": f"job:{job['id']}"}
    assert fields_of(owner.post("jobs", body)) == {("image", "no_result")}


def test_reference_to_an_erased_job_is_unknown(
    owner: Person, worker: TestWorker
) -> None:
    job = owner.submit()
    succeed(worker, job["id"])
    owner.delete(f"jobs/{job['id']}")
    body = {"operation": "removebg", "image": f"job:{job['id']}"}
    assert fields_of(owner.post("jobs", body)) == {("image", "not_found")}


# Money, modes, keys


def test_create_without_credits_is_402_and_leaves_nothing() -> None:
    poor = person(user_with("0.005"))
    answer = poor.post("jobs", {"operation": "removebg", "image": DATA_URL})
    body = problem(answer, 402, "insufficient_credits")
    assert (body["needed"], body["available"]) == ("0.0100", "0.0050")
    assert count_of("jobs_job") == 0
    assert list(store().list()) == []


def test_create_by_test_key_is_503_while_there_is_no_sandbox() -> None:
    tester = person(user_with("5"), test=True)
    answer = tester.post("jobs", {"operation": "removebg", "image": DATA_URL})
    problem(answer, 503, "engine_unavailable")
    assert int(answer["Retry-After"]) > 0


def test_create_for_an_engine_that_nobody_announced_is_503(owner: Person) -> None:
    answer = owner.post("jobs", {"operation": "upscale", "image": DATA_URL})
    said = problem(answer, 503, "engine_unavailable")
    assert (said["engine"], said["reason"]) == ("nobody", "no_worker")
    assert "nobody" in said["detail"] and said["alternatives"] == []
    assert int(answer["Retry-After"]) > 0


def test_idempotency_key_makes_one_job(owner: Person) -> None:
    body = {"operation": "removebg", "image": DATA_URL}
    first = owner.post("jobs", body, **{"Idempotency-Key": "k"})
    again = owner.post("jobs", body, **{"Idempotency-Key": "k"})
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert "Idempotency-Replayed" not in first
    assert again["Idempotency-Replayed"] == "true"
    assert Job.objects.count() == 1


def test_idempotency_key_is_the_same_for_both_forms(owner: Person) -> None:
    body = {"operation": "removebg", "image": DATA_URL, "parameters": {"size": 3}}
    first = owner.post("jobs", body, **{"Idempotency-Key": "k"})
    again = owner.client.post(
        "/api/v1/jobs",
        {"operation": "removebg", "image": upload(), "size": "3"},
        headers=owner.headers | {"Idempotency-Key": "k"},
    )
    assert again["Idempotency-Replayed"] == "true"
    assert first.json()["id"] == again.json()["id"]


@pytest.mark.parametrize(
    "changes", [{"metadata": {"a": 1}}, {"parameters": {"size": 1}}, {"image": "other"}]
)
def test_idempotency_key_for_another_request_is_refused(
    owner: Person, changes: dict[str, Any]
) -> None:
    body = {"operation": "edit", "image": DATA_URL}
    owner.post("jobs", body, **{"Idempotency-Key": "k"})
    if changes.get("image") == "other":
        changes = {"image": "https://example.com/a.png"}
    answer = owner.post("jobs", body | changes, **{"Idempotency-Key": "k"})
    problem(answer, 422, "idempotency_key_reused")
    assert Job.objects.count() == 1


def test_wait_in_the_query_of_create_is_unknown(owner: Person) -> None:
    """There the header says it: `Prefer: wait=5`."""
    body = {"operation": "removebg", "image": DATA_URL}
    assert fields_of(owner.post("jobs?wait=5", body)) == {("wait", "unknown")}
