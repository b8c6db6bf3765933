"""Books that balance pass; each promise that is broken by hand is named."""

from collections.abc import Iterator
from decimal import Decimal
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from accounts.models import User
from billing import ledger
from jobs import lifecycle
from jobs.upkeep import books
from tests.jobs.working import PRICE, TestWorker, submit, success, user_with

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def owner() -> User:
    return user_with("1")


@pytest.fixture
def jobs(owner: User) -> dict[str, UUID]:
    """One job of each status."""
    made = dict(
        zip(("succeeded", "cancelled", "running"), submit(owner, 3), strict=True)
    )
    worker = TestWorker().hello()
    run = worker.start(made["succeeded"])
    assert worker.report(success(run)) == {run}
    lifecycle.cancel(made["cancelled"], user_id=owner.pk, test=False)
    worker.start(made["running"])
    [made["queued"]] = submit(owner)
    return made


@pytest.fixture
def by_hand() -> Iterator[None]:
    """Somebody works on the tables without the ledger."""
    run("ALTER TABLE billing_entry DISABLE TRIGGER USER")
    yield
    run("ALTER TABLE billing_entry ENABLE TRIGGER USER")


def run(change: str, *parameters: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(change, parameters)


def broken() -> set[str]:
    return {difference.promise for difference in books.differences()}


def check_ledger() -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("check_ledger", stdout=out)
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_books_of_jobs_in_every_status_balance(jobs: dict[str, UUID]) -> None:
    code, said = check_ledger()
    assert (code, books.differences()) == (0, [])
    assert "1 wallets, 7 entries, 4 jobs" in said


def test_books_with_every_kind_of_entry_balance(
    owner: User, jobs: dict[str, UUID]
) -> None:
    ledger.refund(owner.pk, PRICE, str(jobs["succeeded"]))
    ledger.adjust(owner.pk, Decimal("-0.5"), "fix")
    ledger.grant(owner.pk, Decimal("0.5"), "gift")
    assert books.differences() == []


def test_books_of_test_jobs_have_no_entries(owner: User) -> None:
    submit(owner, test=True)
    assert books.differences() == []


def test_wallet_that_is_not_the_sum_of_its_entries_is_named(
    owner: User, jobs: dict[str, UUID]
) -> None:
    run("UPDATE billing_wallet SET available = available + 0.0001")
    code, said = check_ledger()
    assert code == 1
    assert f"wallet of user {owner.pk}: a wallet is the sum of its entries" in said


@pytest.mark.usefixtures("by_hand")
def test_entry_with_a_wrong_balance_is_named(jobs: dict[str, UUID]) -> None:
    run("UPDATE billing_entry SET available_after = 7 WHERE kind = 'settle'")
    assert broken() == {"an entry says the balance after it"}


def test_hold_without_a_job_is_named(owner: User) -> None:
    with transaction.atomic():
        ledger.hold(user_id=owner.pk, credits=PRICE, reference="no job")
    assert broken() == {"a hold belongs to a job of its owner"}


def test_hold_for_a_strangers_job_is_named(jobs: dict[str, UUID]) -> None:
    stranger = user_with("1")
    run("UPDATE jobs_job SET user_id = %s WHERE status = 'queued'", stranger.pk)
    assert broken() == {"a hold belongs to a job of its owner"}


def test_job_that_holds_another_price_is_named(jobs: dict[str, UUID]) -> None:
    run("UPDATE jobs_job SET price = 0.02 WHERE status = 'running'")
    assert broken() == {"a job holds its price"}


@pytest.mark.usefixtures("by_hand")
def test_job_without_a_hold_is_named(jobs: dict[str, UUID]) -> None:
    run("DELETE FROM billing_entry WHERE reference = %s", str(jobs["queued"]))
    assert "a job holds its price" in broken()


def test_test_job_with_a_hold_is_named(jobs: dict[str, UUID]) -> None:
    run("UPDATE jobs_job SET test = true WHERE status = 'queued'")
    assert broken() == {"a test job costs nothing"}


@pytest.mark.usefixtures("by_hand")
def test_ended_job_without_settlement_is_named(jobs: dict[str, UUID]) -> None:
    run("DELETE FROM billing_entry WHERE kind = 'settle'")
    assert "a job is settled when it ends" in broken()


def test_unfinished_job_with_settlement_is_named(jobs: dict[str, UUID]) -> None:
    run(
        "UPDATE jobs_job SET status = 'queued', ended_at = NULL WHERE id = %s",
        jobs["cancelled"],
    )
    assert broken() == {"a job is settled when it ends"}


def test_job_charged_otherwise_than_paid_is_named(jobs: dict[str, UUID]) -> None:
    run("UPDATE jobs_job SET charged = 0.005 WHERE status = 'succeeded'")
    assert broken() == {"what a job charged is what its owner paid"}


def test_success_that_was_not_charged_is_named(jobs: dict[str, UUID]) -> None:
    run("UPDATE jobs_job SET charged = 0 WHERE status = 'succeeded'")
    assert "success is charged, and nothing else" in broken()


@pytest.mark.usefixtures("by_hand")
def test_settlement_of_another_hold_is_named(jobs: dict[str, UUID]) -> None:
    run(
        "UPDATE billing_entry SET settles_id = (SELECT id FROM billing_entry "
        "WHERE kind = 'hold' AND reference = %s) WHERE kind = 'settle' "
        "AND reference = %s",
        str(jobs["queued"]),
        str(jobs["cancelled"]),
    )
    assert broken() == {"a settlement ends the hold of its job, whole"}


@pytest.mark.usefixtures("by_hand")
def test_refund_above_what_was_paid_is_named(
    owner: User, jobs: dict[str, UUID]
) -> None:
    ledger.refund(owner.pk, PRICE, str(jobs["succeeded"]))
    run("UPDATE billing_entry SET amount = 1 WHERE kind = 'refund'")
    assert "a refund gives back what was paid at most" in broken()
