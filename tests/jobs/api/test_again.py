"""A job run again: another job, on the same files, paid as any other."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db.models.functions import Now

from billing import ledger
from jobs import retention
from jobs.errors import JobNotEnded, OwnKeyNeeded, ResultErased
from jobs.models import Job, Pin
from jobs.requests import again
from jobs.requests.orders import Orderer
from tests.jobs.api.conftest import DATA_URL, Person, succeed
from tests.jobs.working import TestWorker, failure


def job_of(made: dict[str, str]) -> Job:
    return Job.objects.get(pk=made["id"])


def orderer(owner: Person, key: str | None = None) -> Orderer:
    assert owner.user is not None
    return Orderer(user_id=owner.user.pk, test=False, idempotency_key=key)


@pytest.fixture
def failed(owner: Person, worker: TestWorker) -> Job:
    made = owner.submit(
        operation="edit", image=DATA_URL, mask=DATA_URL, parameters={"size": 3}
    )
    worker.report(failure(worker.start(UUID(made["id"]))))
    return job_of(made)


def test_again_is_a_new_job_on_the_same_files(owner: Person, failed: Job) -> None:
    job = again.run_again(failed, orderer(owner)).job
    assert job.pk != failed.pk and job.retry_of == failed.pk
    assert (job.status, job.parameters) == ("queued", failed.parameters)
    assert job.inputs == failed.inputs
    assert Pin.objects.get().source_id == failed.pk
    failed.refresh_from_db()
    assert failed.status == "failed"
    assert owner.user and ledger.balance(owner.user.pk)[1] == job.price


def test_again_runs_to_its_end(owner: Person, failed: Job, worker: TestWorker) -> None:
    job = again.run_again(failed, orderer(owner)).job
    succeed(worker, str(job.pk))
    assert owner.get(f"jobs/{job.pk}").json()["status"] == "succeeded"


def test_again_twice_with_one_key_is_one_job(owner: Person, failed: Job) -> None:
    first, second = (again.run_again(failed, orderer(owner, "k")) for _ in range(2))
    assert first.job.pk == second.job.pk and second.replayed


def test_again_of_an_unfinished_job_is_refused(owner: Person) -> None:
    waiting = job_of(owner.submit())
    assert not again.may_run_again(waiting)
    with pytest.raises(JobNotEnded):
        again.run_again(waiting, orderer(owner))


def test_again_without_the_files_is_refused(owner: Person, failed: Job) -> None:
    retention.erase(failed.pk, user_id=failed.user_id, test=False)
    failed.refresh_from_db()
    assert not again.may_run_again(failed)
    with pytest.raises(ResultErased):
        again.run_again(failed, orderer(owner))


def test_again_of_what_an_own_key_paid_is_refused(owner: Person, failed: Job) -> None:
    """Its price was another, and the key is gone."""
    Job.objects.filter(pk=failed.pk).update(own_key=True)
    failed.refresh_from_db()
    assert not again.may_run_again(failed)
    with pytest.raises(OwnKeyNeeded):
        again.run_again(failed, orderer(owner))


def test_again_after_the_files_expired_is_refused(owner: Person, failed: Job) -> None:
    Job.objects.filter(pk=failed.pk).update(expires_at=Now())
    failed.refresh_from_db()
    with pytest.raises(ResultErased):
        again.run_again(failed, orderer(owner))
