"""Files go when nobody needs them any more, and not before."""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from accounts.models import User
from jobs import lifecycle, retention
from jobs.errors import JobNotEnded, JobNotFound
from jobs.models import Fetch, IdempotencyKey, Job, JobEvent, Pin, Worker
from jobs.storage import LocalStore, store
from tests.jobs.queueing import within, worker
from tests.jobs.submitting import locked, together
from tests.jobs.working import TestWorker, submit, success, user_with

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def files(settings: Settings, tmp_path: Path) -> LocalStore:
    settings.STORAGE_URL = f"file://{tmp_path}/store"
    settings.ORPHAN_AFTER_S = 3600
    found = store()
    assert isinstance(found, LocalStore)
    return found


@pytest.fixture
def owner() -> User:
    return user_with("1")


def keys() -> set[str]:
    return {file.key for file in store().list()}


def write(*names: str, hours_old: float = 0) -> None:
    for name in names:
        store().write(name, b"x")
        path, then = store().path(name), time.time() - hours_old * 3600
        assert path is not None
        os.utime(path, (then, then))


def succeeded(owner: User, *, hours_old: float = 0) -> UUID:
    """A job that has ended well, with its input and its result in the store."""
    [job_id] = submit(owner)
    worker = TestWorker().hello()
    report = success(worker.start(job_id))
    write(f"inputs/{job_id}/0", report.results[0].key, hours_old=hours_old)
    assert worker.report(report)
    return job_id


def reading(owner: User, source: UUID) -> UUID:
    """An unfinished job whose input is another's result."""
    [job_id] = submit(owner, sources=(source,))
    return job_id


def let_expire(*job_ids: UUID) -> None:
    Job.objects.filter(id__in=job_ids).update(expires_at=Now())


# Expiring


def test_expired_job_loses_its_files_and_keeps_its_row(owner: User) -> None:
    job_id, other = succeeded(owner), succeeded(owner)
    let_expire(job_id)
    assert retention.expire() == 1
    job = Job.objects.get(pk=job_id)
    assert (job.status, job.results) == ("succeeded", [])
    assert job.erased_at is not None
    assert all(str(other) in key for key in keys())
    assert len(keys()) == 2
    assert JobEvent.objects.filter(job_id=job_id, type="erased").count() == 1


def test_job_that_has_not_expired_keeps_everything(owner: User) -> None:
    job_id = succeeded(owner)
    assert (retention.expire(), len(keys())) == (0, 2)
    assert Job.objects.get(pk=job_id).erased_at is None


def test_expired_job_whose_file_is_still_read_stays_until_that_ends(
    owner: User,
) -> None:
    source = succeeded(owner)
    reader = reading(owner, source)
    let_expire(source)
    assert (retention.expire(), len(keys())) == (0, 2)
    lifecycle.cancel(reader, user_id=owner.pk, test=False)
    assert (retention.expire(), len(keys())) == (1, 0)


def test_job_being_pinned_at_this_moment_does_not_expire(owner: User) -> None:
    source = succeeded(owner)
    let_expire(source)
    pin = """
        WITH source AS (SELECT id FROM jobs_job WHERE id = %s FOR SHARE)
        INSERT INTO jobs_pin (job_id, source_id) SELECT %s, id FROM source
    """
    [reader] = submit(owner)
    with locked(pin, [source, reader]):
        assert retention.expire() == 0
    assert (retention.expire(), len(keys())) == (0, 2)


def test_pin_committed_after_the_look_and_before_the_lock_counts(
    owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look's snapshot is older than its locks; the second one decides."""
    source = succeeded(owner)
    let_expire(source)
    reader = reading(owner, source)
    monkeypatch.setattr(
        retention, "_EXPIRED", retention._EXPIRED.replace(retention._UNPINNED, "true")
    )
    assert retention.expire() == 0
    assert Job.objects.get(pk=source).erased_at is None
    assert Pin.objects.filter(job_id=reader).exists()


def test_expiry_beside_another_copy_erases_each_job_once(owner: User) -> None:
    jobs = [succeeded(owner) for _ in range(5)]
    let_expire(*jobs)
    assert sum(together(retention.expire, retention.expire)) == 5
    assert JobEvent.objects.filter(type="erased").count() == 5


# Erasing


def test_erase_removes_the_files_now_and_may_be_repeated(owner: User) -> None:
    job_id = succeeded(owner)
    for _ in range(2):
        retention.erase(job_id, user_id=owner.pk, test=False)
    assert keys() == set()
    assert Job.objects.get(pk=job_id).results == []
    assert JobEvent.objects.filter(job_id=job_id, type="erased").count() == 1


def test_erase_of_an_unfinished_job_is_refused(owner: User) -> None:
    [job_id] = submit(owner)
    with pytest.raises(JobNotEnded):
        retention.erase(job_id, user_id=owner.pk, test=False)
    assert Job.objects.get(pk=job_id).erased_at is None


def test_erase_of_anothers_job_finds_nothing(owner: User) -> None:
    job_id, stranger = succeeded(owner), user_with("1")
    for user_id, test in [(stranger.pk, False), (owner.pk, True)]:
        with pytest.raises(JobNotFound):
            retention.erase(job_id, user_id=user_id, test=test)
    assert len(keys()) == 2


def test_erased_files_that_a_job_still_reads_go_once_it_has_ended(
    owner: User, settings: Settings
) -> None:
    settings.ORPHAN_AFTER_S = 0
    source = succeeded(owner, hours_old=2)
    reader = reading(owner, source)
    retention.erase(source, user_id=owner.pk, test=False)
    retention.sweep()
    assert len(keys()) == 2
    lifecycle.cancel(reader, user_id=owner.pk, test=False)
    retention.sweep()
    assert keys() == set()


def test_erase_waits_for_whoever_is_pinning_and_then_sees_the_pin(
    owner: User,
) -> None:
    source = succeeded(owner)
    [reader] = submit(owner)
    pin = """
        WITH source AS (SELECT id FROM jobs_job WHERE id = %s FOR SHARE)
        INSERT INTO jobs_pin (job_id, source_id) SELECT %s, id FROM source
    """
    with locked(pin, [source, reader]) as commit:

        def erase() -> None:
            retention.erase(source, user_id=owner.pk, test=False)

        def release() -> None:
            assert within(5, is_waiting)
            commit()

        together(erase, release)
    assert len(keys()) == 2


def is_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[0])


# Orphans


def test_sweep_removes_old_inputs_without_a_job_and_no_fresh_ones() -> None:
    old, fresh = uuid4(), uuid4()
    write(f"inputs/{old}/0", hours_old=2)
    write(f"inputs/{fresh}/0")
    assert retention.sweep() == [f"inputs/{old}"]
    assert keys() == {f"inputs/{fresh}/0"}


def test_sweep_keeps_the_named_result_and_removes_other_runs(owner: User) -> None:
    job_id = succeeded(owner, hours_old=2)
    mine = keys()
    write(f"results/{job_id}/2-late/0", hours_old=2)
    assert retention.sweep() == [f"results/{job_id}/2-late"]
    assert keys() == mine


def test_sweep_keeps_every_run_of_an_unfinished_job(owner: User) -> None:
    [job_id] = submit(owner)
    names = {f"inputs/{job_id}/0", f"results/{job_id}/1-a/0", f"results/{job_id}/2-b/0"}
    write(*names, hours_old=2)
    assert (retention.sweep(), keys()) == ([], names)


def test_sweep_removes_what_a_late_worker_wrote_after_the_erasing(
    owner: User,
) -> None:
    job_id = succeeded(owner)
    retention.erase(job_id, user_id=owner.pk, test=False)
    write(f"results/{job_id}/1-late/0", hours_old=2)
    write(f"inputs/{job_id}/0", hours_old=2)
    retention.sweep()
    assert keys() == set()


def test_sweep_removes_results_of_a_job_that_did_not_succeed(owner: User) -> None:
    [job_id] = submit(owner)
    write(f"inputs/{job_id}/0", f"results/{job_id}/1-a/0", hours_old=2)
    lifecycle.cancel(job_id, user_id=owner.pk, test=False)
    retention.sweep()
    assert keys() == {f"inputs/{job_id}/0"}


def test_sweep_leaves_strangers_files_alone() -> None:
    names = {"inputs/readme/0", "elsewhere/0"}
    write(*names, hours_old=9)
    assert (retention.sweep(), keys()) == ([], names)


# The tables


def test_clean_forgets_old_keys_and_workers_but_no_live_ones(
    owner: User, settings: Settings
) -> None:
    for key, hours in (("old", 49), ("young", 1)):
        row = IdempotencyKey.objects.create(
            user=owner, test=False, key=key, digest="", made=uuid4()
        )
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE jobs_idempotencykey SET created_at = now() - %s * interval '1h'"
                " WHERE id = %s",
                [hours, row.pk],
            )
    worker("gone", silent_s=3 * 86400)
    worker("here")
    retention.clean()
    assert [row.key for row in IdempotencyKey.objects.all()] == ["young"]
    assert [row.name for row in Worker.objects.all()] == ["here"]


def test_clean_forgets_the_pins_and_fetches_of_ended_jobs(owner: User) -> None:
    source = succeeded(owner)
    waiting, ended = reading(owner, source), reading(owner, source)
    for job_id in (waiting, ended):
        Fetch.objects.create(
            job_id=job_id, user=owner, position=0, url="http://x/", host="x"
        )
    lifecycle.cancel(ended, user_id=owner.pk, test=False)
    retention.clean()
    assert [row.job_id for row in Pin.objects.all()] == [waiting]
    assert [row.job_id for row in Fetch.objects.all()] == [waiting]
