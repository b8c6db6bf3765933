"""What staff does with jobs: cancel, refund, run again, look at a result."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from accounts.models import User
from billing import ledger, prices
from billing.models import Entry
from gpu_worker.contract import EngineSpec
from jobs import engines
from jobs.models import Job
from jobs.upkeep import books
from nijika.staff.models import Action
from tests.jobs.submitting import together, wallet_locked
from tests.jobs.working import PRICE, TestWorker, failure, submit, success
from tests.staff.conftest import act, client_of

pytestmark = pytest.mark.django_db(transaction=True)

JOB = "jobs_job"
FULL = Decimal(50)
BOTH_WAIT_S = 1.0


@pytest.fixture
def jobs(owner: User) -> list[UUID]:
    """One that waits, one that has failed, and one that has succeeded."""
    waiting, failing, good = submit(owner, 3)
    worker = TestWorker().hello()
    worker.report(failure(worker.start(failing)), success(worker.start(good)))
    return [waiting, failing, good]


def statuses(jobs: list[UUID]) -> list[str]:
    found = dict(Job.objects.values_list("id", "status"))
    return [found[job] for job in jobs]


def test_cancel_gives_the_credits_back(
    staff: Client, owner: User, jobs: list[UUID]
) -> None:
    assert act(staff, JOB, "cancel", jobs[0]) == 302
    assert statuses(jobs) == ["cancelled", "failed", "succeeded"]
    assert ledger.balance(owner.pk) == (FULL - PRICE, 0)
    assert Action.objects.get(action="job cancelled").subject == f"job {jobs[0]}"
    assert books.differences() == []


def test_cancel_of_many_passes_over_what_has_ended(
    staff: Client, jobs: list[UUID]
) -> None:
    assert act(staff, JOB, "cancel", *jobs) == 302
    assert statuses(jobs) == ["cancelled", "failed", "succeeded"]
    assert Action.objects.filter(action="job cancelled").count() == 1


def test_ended_job_stays_ended(staff: Client, jobs: list[UUID]) -> None:
    assert act(staff, JOB, "cancel", jobs[1]) == 200
    assert statuses(jobs)[1] == "failed"
    assert not Action.objects.filter(action="job cancelled").exists()


def test_refund_gives_back_what_was_charged(
    staff: Client, owner: User, boss: User, jobs: list[UUID]
) -> None:
    act(staff, JOB, "cancel", jobs[0])
    assert act(staff, JOB, "refund", jobs[2], reason="it was ugly") == 302
    assert ledger.balance(owner.pk) == (FULL, 0)
    entry = Entry.objects.get(kind="refund")
    assert (entry.note, entry.created_by) == ("it was ugly", boss)
    assert statuses(jobs)[2] == "succeeded"
    assert books.differences() == []


def test_job_is_refunded_once_however_often_it_is_asked(
    staff: Client, owner: User, jobs: list[UUID]
) -> None:
    act(staff, JOB, "cancel", jobs[0])
    assert act(staff, JOB, "refund", jobs[2]) == 302
    assert act(staff, JOB, "refund", jobs[2]) == 200
    assert ledger.balance(owner.pk) == (FULL, 0)
    assert Action.objects.filter(action="job refunded").count() == 1


def test_two_admins_who_refund_at_once_refund_once(
    staff: Client, boss: User, owner: User, jobs: list[UUID]
) -> None:
    act(staff, JOB, "cancel", jobs[0])
    other = client_of(boss)
    # Both have seen that there is no refund, and wait for the wallet.
    with wallet_locked(owner) as release:
        together(
            lambda: act(staff, JOB, "refund", jobs[2]),
            lambda: act(other, JOB, "refund", jobs[2]),
            lambda: (time.sleep(BOTH_WAIT_S), release()),
        )
    assert ledger.balance(owner.pk) == (FULL, 0)
    assert Action.objects.filter(action="job refunded").count() == 1


@pytest.mark.parametrize("which", [0, 1])
def test_job_that_charged_nothing_is_not_refunded(
    staff: Client, owner: User, jobs: list[UUID], which: int
) -> None:
    before = ledger.balance(owner.pk)
    assert act(staff, JOB, "refund", jobs[which]) == 200
    assert ledger.balance(owner.pk) == before


@pytest.fixture
def resizing(settings: Settings) -> Any:
    """The engine that the jobs were made for, and its price."""
    settings.DEFAULT_ENGINES = {"resize": "imaging"}
    schema = {"type": "object", "properties": {}}
    spec = EngineSpec(
        operation="resize", engine="imaging", queue="cpu", parameters=schema,
        images=(0, 1),
    )  # fmt: skip
    engines.announce([spec])
    prices.forget()
    yield
    engines.forget()


@pytest.mark.usefixtures("resizing")
def test_run_again_is_a_new_job_of_the_same_owner(
    staff: Client, owner: User, jobs: list[UUID]
) -> None:
    assert act(staff, JOB, "again", jobs[1]) == 302
    made = Job.objects.get(retry_of=jobs[1])
    assert (made.user, made.status, made.operation) == (owner, "queued", "resize")
    assert statuses(jobs)[1] == "failed"
    deed = Action.objects.get(action="job run again")
    assert deed.details == {"new job": str(made.pk)}
    assert books.differences() == []


@pytest.mark.usefixtures("resizing")
def test_run_again_sent_twice_is_one_job(staff: Client, jobs: list[UUID]) -> None:
    once = str(uuid4())
    for _ in range(2):
        assert act(staff, JOB, "again", jobs[1], once=once) == 302
    assert Job.objects.filter(retry_of=jobs[1]).count() == 1
    assert Action.objects.filter(action="job run again").count() == 1


@pytest.mark.usefixtures("resizing")
def test_unfinished_job_is_not_run_again(staff: Client, jobs: list[UUID]) -> None:
    assert act(staff, JOB, "again", jobs[0]) == 200
    assert Job.objects.count() == 3


@pytest.mark.parametrize("name", ["cancel", "refund", "again"])
def test_moderator_does_nothing_with_jobs(
    helper: Client, jobs: list[UUID], name: str
) -> None:
    for job in jobs:
        assert act(helper, JOB, name, job) == 403
    assert statuses(jobs) == ["queued", "failed", "succeeded"]
    assert Job.objects.count() == 3 and not Entry.objects.filter(kind="refund")


def test_nothing_is_edited_added_or_deleted(staff: Client, jobs: list[UUID]) -> None:
    page = f"/admin/jobs/job/{jobs[0]}"
    assert staff.post(f"{page}/change/", {"status": "succeeded"}).status_code == 403
    assert staff.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get("/admin/jobs/job/add/").status_code == 403
    assert statuses(jobs)[0] == "queued"


def test_what_customers_wrote_is_text_and_nothing_else(
    staff: Client, owner: User
) -> None:
    evil = "<script>alert(1)</script>"
    [job] = submit(owner, metadata={"x": evil}, request_id=evil)
    page = staff.get(f"/admin/jobs/job/{job}/change/").content.decode()
    assert "alert(1)" in page and evil not in page


def test_look_at_a_result_is_written_down(
    helper: Client, owner: User, jobs: list[UUID]
) -> None:
    url = reverse("admin:jobs_job_result", args=[jobs[2], 0])
    answer = helper.get(url)
    assert answer.status_code == 302
    assert f"/files/{jobs[2]}/0?expires=" in answer["Location"]
    assert Action.objects.get(action="result looked at").user == owner
    assert helper.get(reverse("admin:jobs_job_result", args=[jobs[2], 1])).status_code \
        == 404  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [("", 3), ("status=failed", 1), ("operation=resize", 3), ("operation=crop", 0),
     ("q=owner@example.com", 3), ("q=nobody@example.com", 0), ("q={id}", 1),
     ("q=cpu-1", 2), ("test=1", 0), ("user={user}", 3),
     ("user={user}&status=queued", 1), ("user=99999", 0), ("before={id}", 0)],
)  # fmt: skip
def test_list_is_filtered_and_searched(
    staff: Client, owner: User, jobs: list[UUID], query: str, found: int
) -> None:
    query = query.format(id=jobs[0], user=owner.pk)
    answer = staff.get("/admin/jobs/job/?" + query)
    assert answer.context["cl"].result_count == found
