"""The link, through its front door `handle`, with real rows."""

import pytest

from billing import ledger
from jobs.models import Job, JobEvent
from tests.jobs.working import TestWorker, status, submit, success, user_with


@pytest.mark.django_db
def test_report_of_a_granted_run_ends_and_charges() -> None:
    user = user_with("1")
    [job] = submit(user)
    worker = TestWorker().hello()
    run = worker.start(job)
    assert worker.report(success(run)) == {run}
    assert status(job) == "succeeded"
    assert [str(one) for one in ledger.balance(user.pk)] == ["0.9900", "0.0000"]
    events = JobEvent.objects.filter(job_id=job).values_list("type", flat=True)
    assert list(events.order_by("id")) == ["queued", "started", "succeeded"]
    row = Job.objects.get(pk=job)
    assert row.result_prefix == f"results/{job}/1-{run.claim}/"
