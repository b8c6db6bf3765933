"""Staff look at jobs and cancel them; they edit nothing."""

from uuid import UUID

import pytest
from django.test import Client

from accounts.models import User
from billing import ledger
from jobs.models import Job
from tests.jobs.working import TestWorker, failure, submit, user_with

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("boss@example.com", "x"))
    return client


@pytest.fixture
def jobs() -> list[UUID]:
    """One that waits, and one that has failed."""
    owner = user_with("1", "owner@example.com")
    waiting, failing = submit(owner, 2)
    worker = TestWorker().hello()
    worker.report(failure(worker.start(failing)))
    return [waiting, failing]


def test_pages_show_jobs_workers_and_engines(staff: Client, jobs: list[UUID]) -> None:
    for page in ("job", "worker", "engine", "keptreport", f"job/{jobs[1]}/change"):
        answer = staff.get(f"/admin/jobs/{page}/")
        assert answer.status_code == 200, page
    assert b"engine_failed" in answer.content


@pytest.mark.parametrize(
    ("query", "found"),
    [("status__exact=failed", 1), ("operation=resize", 2), ("q=owner@example.com", 2),
     ("q=nobody@example.com", 0), ("q={id}", 1)],
)  # fmt: skip
def test_list_is_filtered_and_searched(
    staff: Client, jobs: list[UUID], query: str, found: int
) -> None:
    answer = staff.get("/admin/jobs/job/?" + query.format(id=jobs[0]))
    assert answer.context["cl"].result_count == found


def cancel(client: Client, jobs: list[UUID]) -> str:
    chosen = {"action": "cancel", "_selected_action": [str(job) for job in jobs]}
    answer = client.post("/admin/jobs/job/", chosen, follow=True)
    return " ".join(str(message) for message in answer.context["messages"])


def test_cancel_goes_by_lifecycle_and_names_what_had_ended(
    staff: Client, jobs: list[UUID]
) -> None:
    said = cancel(staff, jobs)
    assert "1 cancelled." in said and str(jobs[1]) in said
    statuses = Job.objects.order_by("id").values_list("status", flat=True)
    assert list(statuses) == ["cancelled", "failed"]
    owner = User.objects.get(email="owner@example.com")
    assert [str(one) for one in ledger.balance(owner.pk)] == ["1.0000", "0.0000"]


def test_nothing_is_edited_added_or_deleted(staff: Client, jobs: list[UUID]) -> None:
    page = f"/admin/jobs/job/{jobs[0]}"
    assert staff.post(f"{page}/change/", {"status": "succeeded"}).status_code == 403
    assert staff.post(f"{page}/delete/", {"post": "yes"}).status_code == 403
    assert staff.get("/admin/jobs/job/add/").status_code == 403
    assert Job.objects.get(pk=jobs[0]).status == "queued"


def test_people_who_are_not_staff_see_nothing(jobs: list[UUID]) -> None:
    client = Client()
    client.force_login(User.objects.get(email="owner@example.com"))
    assert client.get("/admin/jobs/job/").status_code == 302
