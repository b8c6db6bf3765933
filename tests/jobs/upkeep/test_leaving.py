"""What becomes of the work of somebody who leaves, and what they can take along."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID

import pytest
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from accounts import exporting
from accounts.leaving import leave
from accounts.models import User
from billing import ledger
from billing.models import Entry
from jobs import retention
from jobs.files import uploads
from jobs.models import (
    IdempotencyKey,
    Job,
    Upload,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)
from jobs.storage import LocalStore, store
from jobs.upkeep import leaving
from jobs.upkeep.books import differences
from jobs.webhooks import endpoints
from jobs.webhooks.endpoints import Owner
from tests.jobs.working import TestWorker, submit, success, user_with

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "a wish of ada"
PUT_IN = {
    "parameters": {"prompt": SECRET},
    "metadata": {"order": SECRET},
    "then": [{"operation": "resize", "parameters": {"note": SECRET}}],
    "inputs": [{"role": "image", "key": "", "url": f"https://x.example/{SECRET}"}],
}


@pytest.fixture(autouse=True)
def files(settings: Settings, tmp_path: Path) -> LocalStore:
    settings.STORAGE_URL = f"file://{tmp_path}/store"
    found = store()
    assert isinstance(found, LocalStore)
    return found


@pytest.fixture
def ada() -> User:
    return user_with("1", "ada@example.com")


def succeeded(owner: User) -> UUID:
    [job_id] = submit(owner, **PUT_IN)
    worker = TestWorker().hello()
    report = success(worker.start(job_id))
    for key in (f"inputs/{job_id}/0", report.results[0].key):
        store().write(key, b"x")
    assert worker.report(report)
    return job_id


def erase_for_good() -> None:
    leaving.LATE_WORK = leaving.LATE_WORK * 0
    assert leaving.erase() == 1


@pytest.fixture(autouse=True)
def _late_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LATE_WORK", leaving.LATE_WORK)


def texts_of(user: User) -> str:
    """All that the rows of the user's jobs say."""
    rows = Job.objects.filter(user=user).values()
    return json.dumps(list(rows), default=str)


def test_ended_jobs_are_blanked_and_their_files_erased(ada: User) -> None:
    job_id = succeeded(ada)
    leave(ada)

    erase_for_good()
    retention.expire()

    job = Job.objects.get()
    assert (job.pk, job.status, job.parameters, job.inputs) == (
        job_id,
        "succeeded",
        {},
        [],
    )
    assert SECRET not in texts_of(ada) and "webhook.example" not in texts_of(ada)
    assert job.erased_at is not None
    assert not list(store().list())
    assert User.objects.get().erased_at is not None


def test_ledger_keeps_its_entries_and_balances(ada: User) -> None:
    succeeded(ada)
    submit(ada, 2)
    leave(ada)

    erase_for_good()

    assert Entry.objects.filter(kind="hold").count() == 3
    available, held = ledger.balance(ada.pk)
    assert (str(available), held) == ("0.9900", 0)
    assert not differences()


def test_unfinished_jobs_are_cancelled_and_nobody_is_told(ada: User) -> None:
    owner = Owner(user_id=ada.pk, test=False)
    endpoints.create(owner, url="https://x.example", events=["job.cancelled"])
    endpoints.account_secret(owner)
    submit(ada, 2, webhook_url="https://webhook.example/")
    [running] = submit(ada)
    TestWorker().hello().start(running)
    leave(ada)

    erase_for_good()

    assert set(Job.objects.values_list("status", flat=True)) == {"cancelled"}
    assert not WebhookEndpoint.objects.exists()
    assert not WebhookSecret.objects.exists()
    assert not WebhookDelivery.objects.exists()


def test_uploads_and_idempotency_keys_go(ada: User) -> None:
    announced = uploads.announce(
        user_id=ada.pk,
        test=False,
        content_type="image/png",
        size_bytes=10,
        idempotency_key="of ada",
    )
    folder = f"uploads/{announced.upload.pk}"
    store().write(f"{folder}/sent", b"x")
    leave(ada)

    erase_for_good()

    assert not Upload.objects.exists() and not IdempotencyKey.objects.exists()
    assert not list(store().list(folder))


def test_work_that_arrives_late_is_erased_too(ada: User) -> None:
    leave(ada)
    assert leaving.erase() == 0  # not for good yet
    submit(ada, **PUT_IN)

    erase_for_good()

    assert SECRET not in texts_of(ada)
    assert leaving.erase() == 0


def test_others_keep_everything(ada: User) -> None:
    eve = user_with("1", "eve@example.com")
    job_id = succeeded(eve)
    submit(eve)
    leave(ada)

    erase_for_good()

    assert Job.objects.get(pk=job_id).parameters == PUT_IN["parameters"]
    assert Job.objects.filter(user=eve, status="queued").count() == 1


def test_many_jobs_are_blanked_page_by_page(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "AT_ONCE", 3)
    submit(ada, 8, **PUT_IN)
    Job.objects.update(created_at=Now())  # all at one moment
    submit(ada, 2, test=True, price=0, **PUT_IN)
    leave(ada)

    erase_for_good()

    assert SECRET not in texts_of(ada)


def test_export_has_jobs_entries_and_webhooks(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "AT_ONCE", 2)
    submit(ada, 5, **PUT_IN)
    Job.objects.update(created_at=Now())
    submit(ada, 2, test=True, price=0)
    submit(user_with("1"), 1)
    owner = Owner(user_id=ada.pk, test=False)
    endpoints.create(owner, url="https://x.example/hook", events=["job.succeeded"])

    document = json.loads(b"".join(exporting.document(ada)))

    assert len({one["id"] for one in document["jobs"]}) == len(document["jobs"]) == 7
    assert document["jobs"][0]["metadata"] == PUT_IN["metadata"]
    assert len(document["ledger"]) == 6
    assert [one["url"] for one in document["webhook_endpoints"]] == [
        "https://x.example/hook"
    ]
