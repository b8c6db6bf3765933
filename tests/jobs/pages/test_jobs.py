"""The list of jobs and the page of one: what is shown, and what may be done."""

from __future__ import annotations

import re

import pytest

from accounts.models import Session
from billing import ledger
from jobs.models import Job
from tests.jobs.api.test_events import Reader
from tests.jobs.pages.conftest import Visitor, succeed
from tests.jobs.working import TestWorker, failure


def ids_of(text: str) -> list[str]:
    return re.findall(r'class="row-link" href="/jobs/([0-9a-f-]{36})"', text)


def test_the_list_is_newest_first_and_pages(
    owner: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.pages.listing.PER_PAGE", 2)
    made = [str(owner.submit().pk) for _ in range(3)]
    first = owner.text("/jobs")
    older = re.search(r'href="(\?cursor=[^"]+)"', first)
    assert older is not None
    assert ids_of(first) == [made[2], made[1]]
    assert ids_of(owner.text(f"/jobs{older[1]}")) == [made[0]]


def test_the_list_filters(owner: Visitor, done: Job) -> None:
    waiting = owner.submit()
    assert ids_of(owner.text("/jobs?status=queued")) == [str(waiting.pk)]
    assert ids_of(owner.text("/jobs?status=succeeded")) == [str(done.pk)]
    assert "No job is like that" in owner.text("/jobs?operation=edit")


def test_an_odd_filter_is_a_page_that_says_so(owner: Visitor) -> None:
    answer = owner.get("/jobs?status=purple")
    assert answer.status_code == 422
    assert "text/html" in answer["Content-Type"]


def test_a_failed_job_says_why_and_what_to_do(
    owner: Visitor, worker: TestWorker
) -> None:
    job = owner.submit()
    worker.report(failure(worker.start(job.pk), "invalid_image"))
    text = owner.text(f"/jobs/{job.pk}")
    assert "could not be read" in text and "save it anew" in text
    assert "invalid_image" in text


def test_the_page_of_a_job_escapes_what_its_owner_wrote(owner: Visitor) -> None:
    evil = "<script>alert(1)</script>"
    job = owner.submit(metadata={evil: evil}, parameters={"note": "<b>x</b>"})
    text = owner.text(f"/jobs/{job.pk}")
    assert "<script>alert" not in text and "<b>x</b>" not in text


def test_cancel_gives_the_credits_back(owner: Visitor) -> None:
    job = owner.submit()
    answer = owner.press(f"/jobs/{job.pk}/cancel")
    assert answer["Location"] == f"/jobs/{job.pk}"
    job.refresh_from_db()
    assert job.status == "cancelled"
    assert owner.user and ledger.balance(owner.user.pk)[1] == 0


def test_cancel_after_the_end_says_so_and_changes_nothing(
    owner: Visitor, done: Job
) -> None:
    owner.press(f"/jobs/{done.pk}/cancel")
    assert "cannot be cancelled" in owner.text(f"/jobs/{done.pk}")
    done.refresh_from_db()
    assert done.status == "succeeded"


def test_again_pressed_twice_is_one_new_job(owner: Visitor, done: Job) -> None:
    page = owner.text(f"/jobs/{done.pk}")
    key = re.search(r'name="key" value="([^"]+)"', page)
    assert key is not None
    answers = [owner.press(f"/jobs/{done.pk}/again", key=key[1]) for _ in range(2)]
    made = Job.objects.exclude(pk=done.pk).get()
    assert made.retry_of == done.pk
    assert {one["Location"] for one in answers} == {f"/jobs/{made.pk}"}
    assert f'href="/jobs/{done.pk}"' in owner.text(f"/jobs/{made.pk}")


def test_again_with_too_few_credits_says_so(owner: Visitor, done: Job) -> None:
    assert owner.user is not None
    available = ledger.balance(owner.user.pk)[0]
    ledger.adjust(owner.user.pk, -available, "all of it")
    owner.press(f"/jobs/{done.pk}/again", key="k")
    assert "not enough credits" in owner.text(f"/jobs/{done.pk}")
    assert Job.objects.count() == 1


def test_erase_takes_the_files_and_leaves_the_job(owner: Visitor, done: Job) -> None:
    owner.press(f"/jobs/{done.pk}/erase")
    text = owner.text(f"/jobs/{done.pk}")
    assert "erased" in text and "Run again" not in text
    assert owner.get(f"/jobs/{done.pk}/result/0").status_code == 404
    assert owner.get(f"/jobs/{done.pk}/inputs/0").status_code == 404


def test_a_job_of_a_test_key_is_marked_and_free(
    owner: Visitor, worker: TestWorker
) -> None:
    # No sandbox is announced here, so a live job is made one.
    job = owner.submit()
    succeed(worker, str(job.pk))
    Job.objects.filter(pk=job.pk).update(test=True, charged=0)
    assert ids_of(owner.text("/jobs")) == []
    assert ids_of(owner.text("/jobs?mode=test")) == [str(job.pk)]
    text = owner.text(f"/jobs/{job.pk}")
    assert "sandbox" in text and "free" in text


def test_the_events_of_an_ended_job_come_whole_and_end(
    owner: Visitor, done: Job
) -> None:
    answer = owner.get(f"/jobs/{done.pk}/events")
    told = b"".join(answer.streaming_content).decode()
    assert re.findall(r"^event: (\w+)$", told, re.M) == [
        "queued",
        "started",
        "succeeded",
    ]


def test_the_events_end_for_a_browser_that_is_signed_out(
    owner: Visitor, worker: TestWorker
) -> None:
    job = owner.submit()
    told = Reader(owner.get(f"/jobs/{job.pk}/events"))
    told.until("queued")
    Session.objects.all().delete()
    worker.start(job.pk)

    assert told.finish() == ["queued"]


def test_the_overview_shows_balance_spending_and_the_last_jobs(
    owner: Visitor, done: Job
) -> None:
    waiting = owner.submit()
    text = owner.text("/dashboard")
    assert ids_of(text) == [str(waiting.pk), str(done.pk)]
    figures = re.findall(r'class="value">([^<]+)<', text)
    assert [one.strip() for one in figures] == ["4.98", "0.01", "0.01"]
    assert 'class="kind-1"' in text


def test_the_request_of_a_job_is_shown_for_programs(owner: Visitor) -> None:
    job = owner.submit(parameters={"size": 3})
    text = owner.text(f"/jobs/{job.pk}").replace("&quot;", '"').replace("&#x27;", "'")
    assert "curl https://nijika.example/api/v1/jobs" in text
    assert "-F image=@photo.png" in text
    # The format is png by default, so it need not be said.
    assert '{"size": 3}' in text
