"""One job and lists of them: get, cancel, delete, results, links, and their owners."""

import re
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from jobs import storage
from jobs.files import links
from jobs.models import Job
from jobs.storage import S3Store, store
from tests.jobs.api.conftest import PNG, Person, fields_of, person, problem, succeed
from tests.jobs.working import TestWorker, failure

NONE = "00000000-0000-7000-8000-000000000000"
IDS = [NONE, "1", "x", "%00", "..", "a" * 300, "{ID}", "{ID} ", "%7B{id}%7D"]


@pytest.fixture
def done(owner: Person, worker: TestWorker) -> dict[str, Any]:
    """A job of the owner's that has succeeded."""
    job = owner.submit()
    succeed(worker, job["id"])
    ended: dict[str, Any] = owner.get(f"jobs/{job['id']}").json()
    return ended


# One job


def test_get_of_a_succeeded_job_shows_its_end(done: dict[str, Any]) -> None:
    assert (done["status"], done["charged"], done["error"]) == (
        "succeeded",
        "0.0100",
        None,
    )
    for name in ("created_at", "started_at", "ended_at", "expires_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", done[name])
    (result,) = done["results"]
    assert result | {"url": ""} == {
        "index": 0,
        "url": "",
        "content_type": "image/png",
        "width_px": 4,
        "height_px": 3,
        "size_bytes": len(PNG),
        "sha256": "0" * 64,
        "details": {},
    }
    timings = done["timings"]
    assert timings["engine_ms"] == 5 and timings["total_ms"] >= timings["queued_ms"]


def test_get_of_a_failed_job_shows_its_error(owner: Person, worker: TestWorker) -> None:
    job = owner.submit()
    run = worker.start(UUID(job["id"]))
    worker.report(failure(run, "invalid_image"))
    shown = owner.get(f"jobs/{job['id']}")
    assert shown["X-Credits-Charged"] == "0.0000"
    assert shown["X-Credits-Remaining"] == "5.0000"
    assert shown.json()["status"] == "failed"
    error = {"code": "invalid_image", "message": "It went wrong.", "retryable": False}
    assert shown.json()["error"] == error


def test_get_costs_three_queries_at_most(owner: Person) -> None:
    job = owner.submit()
    owner.get(f"jobs/{job['id']}")
    time.sleep(1.1)  # the cached key is old by now
    with CaptureQueriesContext(connection) as queries:
        owner.get(f"jobs/{job['id']}")
    assert len(queries) <= 3, "\n".join(one["sql"][:300] for one in queries)


def test_etag_answers_304_until_the_row_changes(
    owner: Person, worker: TestWorker
) -> None:
    job = owner.submit()
    path = f"jobs/{job['id']}"
    tag = owner.get(path)["ETag"]
    again = owner.get(path, **{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == tag
    assert "X-Credits-Charged" not in again
    succeed(worker, job["id"])
    assert owner.get(path, **{"If-None-Match": tag}).status_code == 200


def test_etag_follows_the_row_not_the_links(
    owner: Person, done: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"jobs/{done['id']}"
    first = owner.get(path)
    later = time.time() + 10
    monkeypatch.setattr("time.time", lambda: later)
    second = owner.get(path)
    assert first["ETag"] == second["ETag"]
    assert first.json()["results"][0]["url"] != second.json()["results"][0]["url"]


def test_etag_is_compared_weakly_and_in_lists(owner: Person) -> None:
    path = f"jobs/{owner.submit()['id']}"
    tag = owner.get(path)["ETag"]
    for given in ("*", f'W/"x", {tag}', tag.removeprefix("W/")):
        assert owner.get(path, **{"If-None-Match": given}).status_code == 304


def test_head_is_get_without_its_body(owner: Person, done: dict[str, Any]) -> None:
    for path in (f"jobs/{done['id']}", f"jobs/{done['id']}/result", "jobs", "account"):
        url = f"/api/v1/{path}"
        answer = owner.client.head(url, headers=owner.headers)
        assert (answer.status_code, b"".join(answer)) == (200, b"")
        answer.close()
        whole = owner.get(path)
        assert answer["Content-Type"] == whole["Content-Type"]
        whole.close()


# Whose it is

CALLS = [
    ("get", ""),
    ("delete", ""),
    ("post", "/cancel"),
    ("get", "/result"),
    ("get", "/result/0"),
]


def answers_about(person: Person, job_id: str) -> list[Any]:
    """What every call about one job answers this person."""
    return [getattr(person, how)(f"jobs/{job_id}{suffix}") for how, suffix in CALLS]


def test_job_of_a_stranger_is_404_like_none(
    stranger: Person, done: dict[str, Any]
) -> None:
    pairs = zip(
        answers_about(stranger, done["id"]), answers_about(stranger, NONE), strict=True
    )
    for theirs, none in pairs:
        shown = problem(theirs, 404, "not_found") | {"request_id": ""}
        assert shown == problem(none, 404, "not_found") | {"request_id": ""}
    assert Job.objects.get().erased_at is None


def test_unfinished_job_of_a_stranger_is_404(owner: Person, stranger: Person) -> None:
    job = owner.submit()
    for answer in answers_about(stranger, job["id"]):
        problem(answer, 404, "not_found")
    assert Job.objects.get().status == "queued"


def test_job_of_the_other_mode_is_404(owner: Person, done: dict[str, Any]) -> None:
    tester = person(owner.user, test=True)
    for answer in answers_about(tester, done["id"]):
        problem(answer, 404, "not_found")
    assert tester.get("jobs").json()["items"] == []
    Job.objects.update(test=True)
    for answer in answers_about(owner, done["id"]):
        problem(answer, 404, "not_found")
    assert owner.get("jobs").json()["items"] == []


def test_job_without_a_key_is_401(nobody: Person, done: dict[str, Any]) -> None:
    for answer in answers_about(nobody, done["id"]):
        problem(answer, 401, "unauthenticated")
        assert answer["WWW-Authenticate"] == "Bearer"


def test_id_that_cannot_exist_is_404(owner: Person, done: dict[str, Any]) -> None:
    for text in IDS:
        given = text.format(ID=done["id"].upper(), id=done["id"])
        for suffix in ("", "/result"):
            problem(owner.get(f"jobs/{given}{suffix}"), 404, "not_found")


# Cancel and delete


def test_cancel_ends_the_job_and_gives_the_credits_back(owner: Person) -> None:
    job = owner.submit()
    answer = owner.post(f"jobs/{job['id']}/cancel")
    assert answer.status_code == 200
    assert answer["X-Credits-Charged"] == "0.0000"
    assert answer["X-Credits-Remaining"] == "5.0000"
    cancelled = answer.json()
    assert (cancelled["status"], cancelled["results"]) == ("cancelled", [])
    assert owner.post(f"jobs/{job['id']}/cancel").json() == cancelled


def test_cancel_after_the_end_is_409(owner: Person, done: dict[str, Any]) -> None:
    answer = owner.post(f"jobs/{done['id']}/cancel")
    assert problem(answer, 409, "job_not_cancellable")["status_now"] == "succeeded"


def test_refusals_about_a_job_say_its_credits_too(
    owner: Person, done: dict[str, Any]
) -> None:
    mine, unfinished = f"jobs/{done['id']}", f"jobs/{owner.submit()['id']}"
    refused = [
        (owner.post(f"{mine}/cancel"), "0.0100"),
        (owner.get(f"{unfinished}/result"), "0.0000"),
        (owner.delete(unfinished), "0.0000"),
    ]
    owner.delete(mine)
    refused.append((owner.get(f"{mine}/result"), "0.0100"))
    for answer, charged in refused:
        assert answer.headers["Content-Type"] == "application/problem+json"
        said = answer["X-Credits-Charged"], answer["X-Credits-Remaining"]
        assert said == (charged, "4.9800")
    # The next refusal of the kind is another job's, and one of a stranger's says none.
    assert "X-Credits-Charged" not in owner.get(f"jobs/{NONE}/result")


def test_delete_erases_files_and_keeps_the_row(
    owner: Person, done: dict[str, Any]
) -> None:
    assert list(store().list()) != []
    for _ in range(2):
        answer = owner.delete(f"jobs/{done['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
    assert list(store().list()) == []
    shown = owner.get(f"jobs/{done['id']}").json()
    assert shown["results"] == [] and shown["erased_at"]
    assert shown["status"] == "succeeded"


def test_delete_of_an_unfinished_job_is_409(owner: Person) -> None:
    job = owner.submit()
    problem(owner.delete(f"jobs/{job['id']}"), 409, "job_not_ended")
    assert owner.get(f"jobs/{job['id']}").json()["erased_at"] is None


# Results


def body_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_result_is_the_first_result(owner: Person, done: dict[str, Any]) -> None:
    first, nought = (owner.get(f"jobs/{done['id']}/result{s}") for s in ("", "/0"))
    assert first["ETag"] == nought["ETag"]
    assert body_of(first) == body_of(nought) == PNG


def test_result_is_the_file(owner: Person, done: dict[str, Any]) -> None:
    answer = owner.get(f"jobs/{done['id']}/result")
    assert answer.status_code == 200 and body_of(answer) == PNG
    assert answer["Content-Type"] == "image/png"
    assert answer["Content-Length"] == str(len(PNG))
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "private"
    name = f'attachment; filename="removebg-{done["id"][-12:]}.png"'
    assert answer["Content-Disposition"] == name
    assert answer["X-Credits-Charged"] == "0.0100"
    assert answer["X-Credits-Remaining"] == "4.9900"


def test_result_of_an_unfinished_job_is_409(owner: Person) -> None:
    job = owner.submit()
    answer = owner.get(f"jobs/{job['id']}/result")
    assert problem(answer, 409, "job_not_succeeded")["status_now"] == "queued"


def test_result_of_no_such_index_is_404(owner: Person, done: dict[str, Any]) -> None:
    for index in ("1", "00", "-1", "99999", "x", "0/"):
        problem(owner.get(f"jobs/{done['id']}/result/{index}"), 404, "not_found")


def test_result_that_is_erased_is_404(owner: Person, done: dict[str, Any]) -> None:
    owner.delete(f"jobs/{done['id']}")
    problem(owner.get(f"jobs/{done['id']}/result"), 404, "result_erased")
    problem(owner.get(f"jobs/{done['id']}/result/7"), 404, "result_erased")


def test_result_that_has_expired_is_404_before_the_sweep(
    owner: Person, done: dict[str, Any]
) -> None:
    job = Job.objects.get()
    assert job.ended_at is not None
    Job.objects.update(expires_at=job.ended_at)
    problem(owner.get(f"jobs/{done['id']}/result"), 404, "result_erased")


def test_result_that_is_known_is_304(owner: Person, done: dict[str, Any]) -> None:
    tag = f'"{done["results"][0]["sha256"]}"'
    answer = owner.get(f"jobs/{done['id']}/result", **{"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_result_in_s3_is_a_redirect(
    owner: Person,
    done: dict[str, Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "y")
    settings.STORAGE_URL = "s3://bucket"
    settings.S3_ENDPOINT_URL = "http://127.0.0.1:9"
    assert isinstance(storage.store(), S3Store)
    for path in (f"jobs/{done['id']}/result", link_of(done)):
        answer = owner.get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("http://127.0.0.1:9/bucket/results/")
        assert "X-Amz-Signature=" in answer["Location"]


# Links


def link_of(job: dict[str, Any]) -> str:
    url = str(job["results"][0]["url"])
    assert url.startswith(f"https://nijika.example/files/{job['id']}/0?")
    return url.removeprefix("https://nijika.example")


def test_link_needs_no_key(nobody: Person, done: dict[str, Any]) -> None:
    answer = nobody.get(link_of(done))
    assert answer.status_code == 200 and body_of(answer) == PNG
    assert answer["Content-Disposition"].startswith("attachment")
    assert "X-Credits-Remaining" not in answer


def test_link_that_was_changed_is_refused(nobody: Person, done: dict[str, Any]) -> None:
    link = link_of(done)
    path, query = link.split("?")
    expires = re.findall(r"expires=(\d+)", query)[0]
    changed = [
        link.replace("/0?", "/1?"),
        link.replace(done["id"], NONE),
        link.replace(expires, str(int(expires) + 1)),
        link.replace(f"expires={expires}", "expires="),
        link.replace(f"expires={expires}", "expires=9" + "9" * 5000),
        link.replace(f"expires={expires}", f"expires=+{expires}"),
        link.replace("signature=", "signature=A"),
        link.split("&")[0],
        path,
        path + "?expires=%00&signature=%ff",
    ]
    for one in changed:
        problem(nobody.get(one), 403, "forbidden")


def test_link_ends_after_an_hour(
    nobody: Person, done: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, now = link_of(done), time.time()
    monkeypatch.setattr(links.time, "time", lambda: now + 3590)
    assert body_of(nobody.get(link)) == PNG
    monkeypatch.setattr(links.time, "time", lambda: now + 3610)
    problem(nobody.get(link), 403, "forbidden")


def test_link_to_an_erased_result_is_404(
    owner: Person, nobody: Person, done: dict[str, Any]
) -> None:
    owner.delete(f"jobs/{done['id']}")
    problem(nobody.get(link_of(done)), 404, "result_erased")


# Lists


def ids_of(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [job["id"] for job in answer.json()["items"]]


def test_list_has_the_newest_first_and_only_ones_own(
    owner: Person, stranger: Person
) -> None:
    mine = [owner.submit(operation="edit")["id"] for _ in range(3)]
    theirs = stranger.submit(operation="edit")["id"]
    assert ids_of(owner.get("jobs")) == mine[::-1]
    assert ids_of(stranger.get("jobs")) == [theirs]


def test_pages_go_through_all_while_jobs_are_added(owner: Person) -> None:
    made = [owner.submit(operation="edit")["id"] for _ in range(5)]
    seen, cursor = [], ""
    while True:
        page = owner.get(f"jobs?limit=2{cursor}").json()
        seen += [job["id"] for job in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
        owner.submit(operation="edit")
    assert seen == made[::-1]


def test_page_that_is_just_full_is_the_last(owner: Person) -> None:
    owner.submit(operation="edit")
    assert owner.get("jobs?limit=1").json()["next_cursor"] is None


def test_filters_leave_what_they_say(owner: Person) -> None:
    first, second = owner.submit(operation="edit"), owner.submit()
    owner.post(f"jobs/{first['id']}/cancel")
    assert ids_of(owner.get("jobs?status=cancelled")) == [first["id"]]
    assert ids_of(owner.get("jobs?operation=removebg")) == [second["id"]]
    assert ids_of(owner.get("jobs?operation=removebg&status=cancelled")) == []
    assert ids_of(owner.get("jobs?operation=upscale")) == []
    nowhere = owner.get("jobs?operation=remove-bg")
    assert fields_of(nowhere) == {("operation", "unknown")}


def test_operation_that_is_offered_no_longer_still_filters(
    owner: Person, settings: Settings
) -> None:
    job = owner.submit()
    settings.DEFAULT_ENGINES = {}
    assert ids_of(owner.get("jobs?operation=removebg")) == [job["id"]]


def test_times_are_compared_as_they_are_shown(owner: Person) -> None:
    job = owner.submit()
    shown = job["created_at"]
    later = Job.objects.get().created_at + timedelta(milliseconds=1)
    after = later.isoformat().replace("+00:00", "%2B00:00")
    assert ids_of(owner.get(f"jobs?created_after={shown}")) == []
    assert ids_of(owner.get(f"jobs?created_before={shown}")) == []
    assert ids_of(owner.get(f"jobs?created_before={after}")) == [job["id"]]
    assert ids_of(owner.get("jobs?created_after=2020-01-01T00:00:00Z")) == [job["id"]]
    assert ids_of(owner.get("jobs?created_after=2020-01-01T00:00:00-05:30")) != []
    assert ids_of(owner.get("jobs?created_before=2020-01-01T00:00:00-23:59")) == []


def test_cursor_is_good_for_its_own_list_only(owner: Person) -> None:
    for _ in range(2):
        owner.submit(operation="edit")
    cursor = owner.get("jobs?limit=1").json()["next_cursor"]
    assert fields_of(owner.get(f"ledger?cursor={cursor}")) == {("cursor", "format")}
    for changed in (cursor[:-1], cursor + "A", cursor + "=", cursor.swapcase()):
        answer = owner.get(f"jobs?cursor={changed}")
        assert fields_of(answer) == {("cursor", "format")}


FILTERS = [
    "limit=2",
    "status=queued",
    "operation=edit",
    "created_after=2020-01-01T00:00:00Z",
]


def test_lists_walk_an_index_in_its_order(owner: Person) -> None:
    for _ in range(2):
        owner.submit(operation="edit")
    after = owner.get("jobs?limit=1").json()["next_cursor"]
    for query in FILTERS:
        with CaptureQueriesContext(connection) as queries:
            owner.get(f"jobs?{query}&cursor={after}")
        (listing,) = [one["sql"] for one in queries if "jobs_job" in one["sql"]]
        with transaction.atomic(), connection.cursor() as cursor:
            # For a handful of rows any plan is good: ask what it can do, not would.
            cursor.execute("SET LOCAL enable_sort = off")
            cursor.execute("SET LOCAL enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {listing}")
            plan = "\n".join(row[0] for row in cursor.fetchall())
        assert "Index Scan using job_list" in plan and "Sort" not in plan, plan
