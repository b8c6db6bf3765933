"""The system page, queues and workers live, and the search field."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.management import call_command
from django.test import Client

from accounts import issuing
from accounts.models import User
from billing import ledger
from billing.models import LedgerCheck
from jobs.upkeep import figures
from tests.jobs.queueing import queued, start, worker
from tests.jobs.working import TestWorker, failure, submit, success

pytestmark = pytest.mark.django_db(transaction=True)


def test_live_says_depth_busy_and_heartbeat(staff: Client, owner: User) -> None:
    worker("cpu-1", slots=2, free=1)
    worker("cpu-2", slots=3, silent_s=60)
    first, *_ = queued(owner, 3)
    start(first)
    page = staff.get("/admin/live/")
    [crew] = page.context["crews"]
    assert (crew.queue.waiting, crew.queue.running) == (2, 1)
    assert (crew.queue.workers, crew.queue.slots, crew.queue.busy) == (1, 2, 50)
    busy, silent = crew.workers
    assert (busy.name, busy.running, busy.is_alive) == ("cpu-1", 1, True)
    assert (silent.name, silent.is_alive) == ("cpu-2", False)
    assert silent.silent.total_seconds() >= 60


def test_live_asks_for_its_middle_alone(helper: Client) -> None:
    page = helper.get("/admin/live/", headers={"HX-Request": "true"})
    assert "<html" not in page.content.decode()
    assert [t.name for t in page.templates] == ["staff/_live.html"]


def test_live_is_for_staff(owner: User, client: Client) -> None:
    client.force_login(owner)
    assert client.get("/admin/live/").status_code == 302


def test_live_shows_a_worker_whose_queue_no_setting_names(owner: User) -> None:
    worker("odd-1", queue="odd", slots=2)
    assert [(one.name, one.workers) for one in figures.queues()][-1] == ("odd", 1)


def test_depth_stops_counting_somewhere(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "DEEPEST", 2)
    queued(owner, 3)
    [queue] = figures.queues()
    assert (queue.waiting, queue.is_deepest) == (2, True)


def test_system_says_what_became_of_the_jobs(staff: Client, owner: User) -> None:
    good, bad, _ = submit(owner, 3)
    crew = TestWorker().hello()
    crew.report(success(crew.start(good)), failure(crew.start(bad)))
    context = staff.get("/admin/").context
    [operation] = context["operations"]
    assert (operation.operation, operation.jobs) == ("resize", 3)
    assert (operation.succeeded, operation.failed) == (1, 1)
    assert context["rate"] == operation.success_rate == 50
    totals = context["totals"]
    assert (totals.users, totals.jobs) == (2, 3)
    assert totals.available + totals.held == Decimal("99.99")


def test_system_says_when_the_ledger_was_checked(staff: Client, owner: User) -> None:
    assert b"never" in staff.get("/admin/").content
    call_command("check_ledger")
    check = staff.get("/admin/").context["ledger_check"]
    assert (check.differences, check.entries) == (0, 2)


def test_system_shouts_when_the_ledger_is_wrong(staff: Client, owner: User) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "ZERO", Decimal(0))
        LedgerCheck.objects.create(
            differences=1, examples=["wallet of user 7"], entries=2, seconds=1
        )
    assert b"wallet of user 7" in staff.get("/admin/").content


@pytest.mark.parametrize("part", ["id", "email", "beginning", "key", "job"])
def test_search_field_leads_there(staff: Client, owner: User, part: str) -> None:
    [job] = submit(owner)
    issued = issuing.issue(owner)
    user = f"/admin/accounts/user/{owner.pk}/change/"
    wanted = {
        "id": (str(owner.pk), user),
        "email": ("OWNER@example.com", user),
        "beginning": ("owner@", user),
        "key": (issued.secret, f"/admin/accounts/apikey/{issued.key.pk}/change/"),
        "job": (str(job), f"/admin/jobs/job/{job}/change/"),
    }
    term, page = wanted[part]
    answer = staff.get("/admin/search/", {"s": term, "extended": "1"})
    assert page in answer.content.decode()
