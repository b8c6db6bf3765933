"""Every page of the admin opens, for an admin and for a moderator."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts import issuing
from accounts.models import User
from billing import checks
from jobs.models import Batch, KeptReport, RenditionUse, Upload
from jobs.webhooks import deliveries, endpoints
from jobs.webhooks.endpoints import Owner
from tests.jobs.working import TestWorker, failure, submit
from tests.staff.conftest import act

MODELS = list(admin.site._registry)


def named(model: type[Model]) -> str:
    return f"{model._meta.app_label}_{model._meta.model_name}"


@pytest.fixture
def world(transactional_db: None, owner: User, staff: Client) -> list[UUID]:
    """A row of everything; the jobs wait, and have failed."""
    waiting, failing = submit(owner, 2)
    worker = TestWorker().hello()
    worker.report(failure(worker.start(failing)))
    hook = Owner(user_id=owner.pk, test=False)
    endpoint = endpoints.create(hook, url="https://example.com/x", events=["*"])
    deliveries.ping(hook, endpoint.pk)
    issuing.issue(owner)
    days = {"send_by": "2030-01-01T00:00Z", "expires_at": "2030-01-01T00:00Z"}
    Upload.objects.create(id=waiting, user=owner, size_bytes=3, **days)
    Batch.objects.create(id=waiting, user=owner, size=2)
    KeptReport.objects.create(job_id=failing, report="{}", reason="strange")
    RenditionUse.objects.create(user=owner, day="2026-01-01")
    checks.write(["a wallet is wrong"], seconds=1.5, entries=7)
    assert act(staff, "accounts_user", "suspend", owner.pk) == 302
    return [waiting, failing]


def pages() -> Iterator[str]:
    yield reverse("admin:index")
    yield reverse("admin:live")
    for model in MODELS:
        yield reverse(f"admin:{named(model)}_changelist")
        if row := model._default_manager.first():
            yield reverse(f"admin:{named(model)}_change", args=[row.pk])


@pytest.mark.usefixtures("world")
def test_every_page_opens_for_all_staff(staff: Client, helper: Client) -> None:
    found = list(pages())
    assert len(found) > 25
    for page in found:
        for client in (staff, helper):
            assert client.get(page).status_code == 200, page


def test_job_page_shows_its_error_and_timeline(
    staff: Client, world: list[UUID]
) -> None:
    page = reverse("admin:jobs_job_change", args=[world[1]])
    text = staff.get(page).content.decode()
    assert "engine_failed" in text and "It went wrong." in text
    assert "started" in text and "hold" in text


def test_user_page_shows_balance_keys_jobs_and_deeds(
    staff: Client, owner: User, world: list[UUID]
) -> None:
    page = reverse("admin:accounts_user_change", args=[owner.pk])
    text = staff.get(page).content.decode()
    for shown in ("49.9", "Welcome", "nj_live_", str(world[0]), "suspended", "because"):
        assert shown in text, shown


def test_nobody_but_staff_sees_anything(owner: User, client: Client) -> None:
    client.force_login(owner)
    for page in pages():
        assert client.get(page).status_code == 302


def test_pages_of_libraries_are_not_there(staff: Client) -> None:
    assert staff.get("/admin/socialaccount/socialaccount/").status_code == 404
    assert staff.get("/admin/auth/group/").status_code == 404
