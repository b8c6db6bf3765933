"""The link through its front door `handle`: claims, beats, checkpoints, reports."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest

from accounts.models import User
from billing import ledger
from gpu_worker.contract import Beat, Checkpoint, ContractError, Progress, Report, Run
from jobs import lifecycle, link, reaping
from jobs.models import Job, JobEvent, KeptReport
from tests.jobs.working import (
    TestWorker,
    check_books,
    failure,
    lease_ends,
    run_of,
    status,
    submit,
    success,
    user_with,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def user() -> User:
    return user_with("1")


@pytest.fixture
def worker() -> TestWorker:
    return TestWorker().hello()


def events(job: object) -> list[str]:
    found = JobEvent.objects.filter(job_id=job).order_by("id")
    return list(found.values_list("type", flat=True))


# Claims


def test_claim_starts_the_job_and_tells_where_results_go(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = run_of(job)
    [grant] = worker.say(claims=(run,)).grants
    assert grant.granted
    [output] = grant.outputs
    assert output.key == f"results/{job}/1-{run.claim}/0"
    assert output.location.endswith(output.key)
    row = Job.objects.get(pk=job)
    assert (row.status, row.attempt, row.worker) == ("running", 1, "cpu-1")
    assert row.incarnation == worker.incarnation
    assert events(job) == ["queued", "started"]


def test_claim_whose_answer_was_lost_is_granted_again(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    assert worker.claim(run) == {run}
    assert (Job.objects.get(pk=job).attempt, events(job)) == (1, ["queued", "started"])


def test_claim_of_a_message_delivered_twice_is_granted_once(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    first = worker.start(job)
    other = TestWorker("cpu-2").hello()
    assert other.claim(run_of(job)) == worker.claim(run_of(job)) == set()
    assert worker.beat(first) == {first}


def test_claims_of_one_attempt_in_one_call_are_granted_once(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    assert len(worker.claim(run_of(job), run_of(job))) == 1
    assert events(job) == ["queued", "started"]


@pytest.mark.parametrize("attempt", [1, 3, 2**31 - 1])
def test_claim_of_another_attempt_than_the_next_is_refused(
    attempt: int, user: User, worker: TestWorker
) -> None:
    """Yesterday's message is old, and nobody can know a later attempt."""
    [job] = submit(user)
    worker.say(hand_backs=(worker.start(job),))
    assert worker.claim(run_of(job, attempt)) == set()
    assert worker.claim(run_of(job, 2))


def test_claim_of_an_ended_job_is_refused(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    run = worker.start(job)
    worker.report(success(run))
    assert worker.claim(run, run_of(job), run_of(job, 2)) == set()
    assert status(job) == "succeeded"


def test_claims_of_a_message_are_each_answered(user: User, worker: TestWorker) -> None:
    first, gone, last = submit(user, 3)
    lifecycle.cancel(gone, user_id=user.pk, test=False)
    runs = [run_of(job) for job in (first, gone, last)]
    assert worker.claim(*runs) == {runs[0], runs[2]}


@pytest.mark.parametrize(
    "run",
    [
        Run(job_id="no id", attempt=1, claim="x"),
        Run(job_id="019AB7D0-0000-7000-8000-00000000000A", attempt=1, claim="x"),
        Run(job_id=str(uuid4()), attempt=0, claim="x"),
        Run(job_id=str(uuid4()), attempt=2**40, claim="x"),
        Run(job_id=str(uuid4()), attempt=1, claim="../../x"),
        Run(job_id=str(uuid4()), attempt=1, claim="x" * 41),
        Run(job_id=str(uuid4()), attempt=1, claim="\x00"),
        Run(job_id=str(uuid4()), attempt=1, claim="unknown"),
    ],
)
def test_run_that_cannot_be_is_refused_beside_good_ones(
    run: Run, user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    good = run_of(job)
    answer = worker.say(
        claims=(run, good),
        beats=(Beat(run=run),),
        checkpoints=(Checkpoint(run=run, text="x"),),
        hand_backs=(run,),
        reports=(success(run), failure(run)),
    )
    assert [grant.granted for grant in answer.grants] == [False, True]
    assert (answer.stop, set(answer.acknowledged)) == ((run,), {run})


@pytest.mark.parametrize(
    "head",
    [
        {"name": ""},
        {"name": "a\x00"},
        {"queue": "x" * 41},
        {"slots": 2**15},
        {"number": 2**63},
        {"incarnation": -1},
        {"specs_digest": "x" * 17},
    ],
)
def test_call_that_no_worker_makes_raises(
    head: dict[str, object], worker: TestWorker
) -> None:
    with pytest.raises(ContractError):
        link.handle(worker.call(**head))


# Beats


def test_beat_renews_the_lease_and_keeps_progress(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    before = Job.objects.get(pk=job).lease_until
    step = Progress(step=1, total=4, message="half\x00way \ud800")
    answer = worker.say(beats=(Beat(run=run, progress=step),))
    row = Job.objects.get(pk=job)
    assert answer.stop == ()
    assert row.lease_until and before and row.lease_until > before
    assert row.progress == {"step": 1, "total": 4, "message": "halfway ?"}
    worker.beat(run)
    assert Job.objects.get(pk=job).progress == row.progress


def test_beat_of_another_claim_or_attempt_stops_and_renews_nothing(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    lease = Job.objects.get(pk=job).lease_until
    assert worker.beat(run_of(job), run_of(job, 2, run.claim)) == set()
    assert Job.objects.get(pk=job).lease_until == lease


def test_beat_after_cancel_stops(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    run = worker.start(job)
    lifecycle.cancel(job, user_id=user.pk, test=False)
    assert worker.beat(run) == set()


def test_beat_of_a_lost_run_does_not_renew_the_next_one(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    lost = worker.start(job)
    lease_ends(job)
    reaping.reap()
    assert worker.beat(lost) == set()
    other = TestWorker("cpu-2").hello()
    run = other.start(job, 2)
    assert worker.beat(lost) == set()
    assert other.beat(run) == {run}


def test_expired_lease_that_nobody_reaped_is_renewed(
    user: User, worker: TestWorker
) -> None:
    """After an outage the workers come first."""
    [job] = submit(user)
    run = worker.start(job)
    lease_ends(job)
    assert worker.beat(run) == {run}
    assert reaping.reap() == set()


# Checkpoints and hand-backs


def test_checkpoint_comes_with_the_next_grant(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    run = worker.start(job)
    worker.say(checkpoints=(Checkpoint(run=run, text="request 7"),), hand_backs=(run,))
    [grant] = worker.say(claims=(run_of(job, 2),)).grants
    assert (grant.granted, grant.checkpoint) == (True, "request 7")


@pytest.mark.parametrize("text", ["x" * 4097, "é" * 2049, "a\x00b", "\ud800"])
def test_checkpoint_that_cannot_be_kept_whole_changes_nothing(
    text: str, user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    worker.say(checkpoints=(Checkpoint(run=run, text="old"),))
    worker.say(checkpoints=(Checkpoint(run=run, text=text),))
    assert Job.objects.get(pk=job).checkpoint == "old"


def test_words_of_an_older_run_change_nothing(user: User, worker: TestWorker) -> None:
    [job] = submit(user)
    old = worker.start(job)
    worker.say(hand_backs=(old,))
    run = worker.start(job, 2)
    for stranger in (old, run_of(job, 2), run_of(job, 1, run.claim)):
        worker.say(
            checkpoints=(Checkpoint(run=stranger, text="no"),), hand_backs=(stranger,)
        )
        assert worker.report(failure(stranger, retryable=True)) == {stranger}
        assert worker.report(failure(stranger)) == {stranger}
    row = Job.objects.get(pk=job)
    assert (row.status, row.attempt, row.checkpoint) == ("running", 2, None)
    assert (row.failures, row.hand_backs) == (0, 1)


# Reports


def test_report_of_a_granted_run_ends_and_charges(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    assert worker.report(success(run)) == {run}
    row = Job.objects.get(pk=job)
    assert (row.status, row.engine_ms) == ("succeeded", 5)
    assert row.result_prefix == f"results/{job}/1-{run.claim}/"
    assert row.results[0]["key"] == f"{row.result_prefix}0"
    assert ledger.balance(user.pk) == (Decimal("0.99"), Decimal(0))
    assert events(job) == ["queued", "started", "succeeded"]


def test_report_repeated_is_acknowledged_and_charged_once(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    for _ in range(2):
        assert worker.report(success(run), success(run)) == {run}
    assert worker.report(failure(run)) == {run}
    assert events(job) == ["queued", "started", "succeeded"]
    assert not KeptReport.objects.exists(), "only the unique index stood in the way"
    check_books()


def test_failure_is_shown_without_what_cannot_be_stored(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    report = failure(worker.start(job), "Bad Code\x00")
    assert report.failure
    worker.report(report)
    row = Job.objects.get(pk=job)
    assert (row.status, row.error["code"]) == ("failed", "engine_failed")
    assert ledger.balance(user.pk) == (Decimal(1), Decimal(0))


def test_success_of_an_older_attempt_ends_the_job_and_stops_the_newer(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    slow = worker.start(job)
    lease_ends(job)
    reaping.reap()
    other = TestWorker("cpu-2").hello()
    newer = other.start(job, 2)
    worker.report(success(slow))
    row = Job.objects.get(pk=job)
    assert (row.status, row.result_prefix) == (
        "succeeded",
        f"results/{job}/1-{slow.claim}/",
    )
    assert other.beat(newer) == set()
    assert other.report(success(newer)) == {newer}
    assert Job.objects.get(pk=job).results == row.results
    check_books()


def test_success_ends_a_job_that_was_queued_again(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    slow = worker.start(job)
    lease_ends(job)
    reaping.reap()
    worker.report(success(slow))
    assert status(job) == "succeeded"
    assert worker.claim(run_of(job, 2)) == set()
    check_books()


def test_success_of_a_run_that_was_never_granted_changes_nothing(
    user: User, worker: TestWorker
) -> None:
    [queued, running, returned] = submit(user, 3)
    worker.start(running)
    worker.say(hand_backs=(worker.start(returned),))
    never = [run_of(queued), run_of(running), run_of(returned), run_of(running, 2)]
    for run in never:
        assert worker.report(success(run)) == {run}
    found = [status(job) for job in (queued, running, returned)]
    assert found == ["queued", "running", "queued"]


@pytest.mark.parametrize(
    "changes",
    [
        {"key": "results/of/another/0"},
        {"key": "inputs/x/0"},
        {"index": 1},
        {"size_bytes": 1, "details": {"text": "\x00"}},
    ],
)
def test_success_that_is_not_believed_fails_the_job_and_is_kept(
    changes: dict[str, object], user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    assert worker.report(success(run, **changes)) == {run}
    row = Job.objects.get(pk=job)
    assert (row.status, row.error["code"]) == ("failed", "engine_failed")
    assert str(job) in KeptReport.objects.get(job=row).report
    check_books()


def test_success_without_results_is_not_believed(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run = worker.start(job)
    assert worker.report(Report(run=run)) == {run}
    assert status(job) == "failed"


def test_success_under_another_runs_prefix_is_not_believed(
    user: User, worker: TestWorker
) -> None:
    mine, other = submit(user, 2)
    run, foreign = worker.start(mine), worker.start(other)
    key = f"results/{other}/1-{foreign.claim}/0"
    worker.report(success(run, key=key))
    assert (status(mine), status(other)) == ("failed", "running")


def test_report_that_the_database_refuses_spares_its_neighbours(
    user: User, worker: TestWorker
) -> None:
    jobs = submit(user, 4)
    runs = [worker.start(job) for job in jobs]
    reports = [success(run) for run in runs]
    poison = reports[1]
    reports[1] = replace(poison, engine_ms=2**40)
    assert worker.report(*reports) == set(runs)
    found = [status(job) for job in jobs]
    assert found == ["succeeded", "failed", "succeeded", "succeeded"]
    assert "out of range" in KeptReport.objects.get().reason
    check_books()


def test_report_about_a_job_that_is_not_there_is_acknowledged(
    user: User, worker: TestWorker
) -> None:
    [job] = submit(user)
    run, ghost = worker.start(job), run_of(uuid4())
    assert worker.report(success(run), success(ghost)) == {run, ghost}
    assert status(job) == "succeeded"


def test_report_whose_books_are_wrong_comes_again_and_spares_its_neighbours(
    user: User, worker: TestWorker
) -> None:
    good, odd = submit(user, 2)
    runs = worker.start(good), worker.start(odd)
    Job.objects.filter(pk=odd).update(price=Decimal(9))  # more than was held
    assert worker.report(*map(success, runs)) == {runs[0]}
    assert (status(good), status(odd)) == ("succeeded", "running")


def test_one_call_carries_everything(user: User, worker: TestWorker) -> None:
    new, going, ending, leaving = submit(user, 4)
    runs = {job: worker.start(job) for job in (going, ending, leaving)}
    claim = run_of(new)
    answer = worker.say(
        claims=(claim,),
        beats=tuple(Beat(run=run) for run in runs.values()),
        hand_backs=(runs[leaving],),
        reports=(success(runs[ending]),),
    )
    assert [grant.granted for grant in answer.grants] == [True]
    assert (answer.stop, answer.acknowledged) == ((), (runs[ending],))
    found = [status(job) for job in (new, going, ending, leaving)]
    assert found == ["running", "running", "succeeded", "queued"]
