"""Many connections at once, and each wall behind the ledger by itself."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from accounts.joining import join
from accounts.models import User
from billing import ledger
from billing.errors import InsufficientCredits, WalletBusy
from billing.ledger import Held, Hold, Locked, Settlement, Short
from billing.models import Entry, Wallet

pytestmark = pytest.mark.django_db(transaction=True)
ONE = Decimal(1)


@pytest.fixture
def owner() -> User:
    return join("owner@example.com", credits=ONE)


@pytest.fixture
def stranger() -> User:
    return join("stranger@example.com", credits=ONE)


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """What `act(0)` … `act(count - 1)` gave or raised, started together."""
    barrier = threading.Barrier(count)

    def one(number: int) -> Any:
        try:
            connection.ensure_connection()
            barrier.wait(timeout=30)
            with transaction.atomic():
                return act(number)
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@contextmanager
def locked(user: User) -> Iterator[None]:
    """Another connection's transaction has the user's wallet."""
    taken, done = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        list(Wallet.objects.select_for_update().filter(user=user))
        taken.set()
        done.wait(10)

    thread = threading.Thread(target=at_once, args=(1, hold))
    thread.start()
    taken.wait(10)
    try:
        yield
    finally:
        done.set()
        thread.join()


def one(user: User, reference: str) -> Hold:
    return Hold(user_id=user.pk, credits=ONE, reference=reference)


def impatient() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '50ms'")


def somebody_waits() -> bool:
    """For the end of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' "
            "AND transactionid = pg_current_xact_id()::xid"
        )
        return cursor.fetchone() is not None


def assert_books_balance(user: User) -> None:
    entries = Entry.objects.filter(wallet__user=user)
    sums = [
        sum(column, Decimal(0))
        for column in zip(*entries.values_list("amount", "held_amount"), strict=True)
    ]
    assert list(ledger.balance(user.pk)) == sums


def test_fifty_holds_with_credits_for_one_make_one(owner: User) -> None:
    outcomes = at_once(
        50,
        lambda n: ledger.hold(user_id=owner.pk, credits=ONE, reference=f"job {n}"),
    )
    refusals = [o for o in outcomes if isinstance(o, InsufficientCredits)]
    assert (outcomes.count(0), len(refusals)) == (1, 49)
    assert ledger.balance(owner.pk) == (0, 1)
    assert_books_balance(owner)


def test_hold_that_waited_for_the_wallet_decides_on_what_is_left_then(
    owner: User,
) -> None:
    def hold(number: int) -> Decimal:
        if number == 1:
            first.wait(10)
        left = ledger.hold(user_id=owner.pk, credits=ONE, reference=f"job {number}")
        first.set()
        end = time.monotonic() + 10
        while number == 0 and not somebody_waits() and time.monotonic() < end:
            time.sleep(0.01)
        return left

    first = threading.Event()
    spent, refusal = at_once(2, hold)
    assert spent == 0
    assert isinstance(refusal, InsufficientCredits)
    assert_books_balance(owner)


def test_fifty_holds_in_one_call_with_credits_for_one_make_one(owner: User) -> None:
    with transaction.atomic():
        outcomes = ledger.hold_many(
            [one(owner, f"job {n}") for n in range(50)], wait=False
        )
    assert outcomes[0] == Held(available_after=Decimal(0))
    assert outcomes[1:] == [Short(needed=ONE, available=Decimal(0))] * 49


def test_twin_holds_move_credits_once(owner: User) -> None:
    outcomes = at_once(
        8, lambda n: ledger.hold(user_id=owner.pk, credits=ONE, reference="job")
    )
    assert outcomes == [0] * 8
    assert ledger.balance(owner.pk) == (0, 1)


def test_twin_settlements_move_credits_once(owner: User) -> None:
    with transaction.atomic():
        ledger.hold(user_id=owner.pk, credits=ONE, reference="job")
    charges = [ONE, Decimal(0)] * 4
    outcomes = at_once(8, lambda n: ledger.settle(reference="job", charge=charges[n]))
    assert len(set(outcomes)) == 1 and outcomes[0] in (0, 1)
    assert Entry.objects.filter(kind="settle").count() == 1
    assert_books_balance(owner)


def test_twin_grants_give_once(owner: User) -> None:
    outcomes = at_once(8, lambda n: ledger.grant(owner.pk, ONE, "gift"))
    assert outcomes == [2] * 8


def test_first_grants_open_one_wallet() -> None:
    user = User.objects.create_user("new@example.com")
    at_once(8, lambda n: ledger.grant(user.pk, ONE, f"gift {n}"))
    assert ledger.balance(user.pk) == (8, 0)


def test_holds_and_settlements_of_the_same_users_in_any_order_never_deadlock(
    owner: User, stranger: User
) -> None:
    for user in (owner, stranger):
        ledger.grant(user.pk, Decimal(1000), f"gift {user.pk}")

    def churn(number: int) -> int:
        both = [one(owner, f"o{number}"), one(stranger, f"s{number}")]
        both = both[:: 1 if number % 2 else -1]
        ledger.hold_many(both, wait=True)
        ends = [Settlement(reference=h.reference, charge=ONE) for h in both]
        return len(ledger.settle_many(ends[::-1], wait=True))

    assert at_once(24, churn) == [2] * 24
    for user in (owner, stranger):
        assert ledger.balance(user.pk) == (1001 - 24, 0)
        assert_books_balance(user)


def somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


@pytest.mark.parametrize("ends", [False, True], ids=["holds", "settlements"])
def test_wallets_are_locked_in_the_order_of_their_ids(
    owner: User, stranger: User, ends: bool
) -> None:
    both = [one(stranger, "s"), one(owner, "o")]
    if ends:
        at_once(1, lambda _: ledger.hold_many(both, wait=True))
    ledger.grant(stranger.pk, ONE, "more")
    settlements = [Settlement(reference=h.reference, charge=ONE) for h in both]

    def lock_both(_: int) -> object:
        if ends:
            return ledger.settle_many(settlements, wait=True)
        return ledger.hold_many(both, wait=True)

    waiting = threading.Thread(target=at_once, args=(1, lock_both))
    with locked(owner):
        waiting.start()
        while not somebody_waits_for_a_lock():
            time.sleep(0.005)
        with transaction.atomic():
            [outcome] = ledger.hold_many([one(stranger, "free")], wait=False)
    waiting.join()
    assert isinstance(outcome, Held)  # whoever waits for the first has no later one


def test_hold_passes_over_a_locked_wallet_and_serves_the_others(
    owner: User, stranger: User
) -> None:
    with locked(owner), transaction.atomic():
        outcomes = ledger.hold_many([one(owner, "a"), one(stranger, "b")], wait=False)
    assert outcomes == [Locked(), Held(available_after=Decimal(0))]
    assert ledger.balance(owner.pk) == (1, 0)


def test_settle_passes_over_a_locked_wallet_and_serves_the_others(
    owner: User, stranger: User
) -> None:
    with transaction.atomic():
        ledger.hold_many([one(owner, "a"), one(stranger, "b")], wait=True)
    ends = [Settlement(reference=name, charge=ONE) for name in "ab"]
    with locked(owner), transaction.atomic():
        assert ledger.settle_many(ends, wait=False) == {"b": 0}
    with transaction.atomic():
        assert ledger.settle_many(ends, wait=False) == {"a": 0, "b": 0}


def test_waiting_for_a_locked_wallet_ends_after_the_lock_timeout(owner: User) -> None:
    with locked(owner), pytest.raises(WalletBusy), transaction.atomic():
        impatient()
        ledger.hold_many([one(owner, "a")], wait=True)
    assert ledger.balance(owner.pk) == (1, 0)


def test_hold_undone_by_its_transaction_leaves_nothing(owner: User) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        ledger.hold(user_id=owner.pk, credits=ONE, reference="job")
        raise RuntimeError
    assert ledger.balance(owner.pk) == (1, 0)
    assert not Entry.objects.filter(kind="hold").exists()


# The walls one by one


def without(wall: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(wall)


UNIQUE = {
    "entry_once_per_kind_and_reference": "(kind, reference)",
    "billing_entry_settles_id_key": "(settles_id)",
}


@pytest.fixture
def no_unique_indexes(owner: User) -> Iterator[None]:
    """The guard in the statement stands alone."""
    for name in UNIQUE:
        without(f"ALTER TABLE billing_entry DROP CONSTRAINT {name}")
    yield
    without("TRUNCATE billing_entry")
    for name, columns in UNIQUE.items():
        without(f"ALTER TABLE billing_entry ADD CONSTRAINT {name} UNIQUE {columns}")


@pytest.fixture
def no_guard(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unique indexes stand alone."""
    guard = "made.kind = %s::text AND made.reference = wanted.reference"
    assert guard in ledger._MOVE
    unguarded = ledger._MOVE.replace(guard, "made.kind = %s::text AND false")
    monkeypatch.setattr(ledger, "_MOVE", unguarded)


@pytest.mark.usefixtures("no_unique_indexes")
def test_settling_twice_is_impossible_by_the_guard_alone(owner: User) -> None:
    ledger.grant(owner.pk, Decimal(5), "gift")
    with transaction.atomic():
        ledger.hold_many([one(owner, "job"), one(owner, "other")], wait=True)
    at_once(8, lambda n: ledger.settle(reference="job", charge=Decimal(0)))
    assert Entry.objects.filter(kind="settle").count() == 1
    assert ledger.balance(owner.pk) == (5, 1)


@pytest.mark.usefixtures("no_guard")
@pytest.mark.parametrize("other", UNIQUE)
def test_settling_twice_is_impossible_by_either_unique_index_alone(
    owner: User, other: str
) -> None:
    without(f"ALTER TABLE billing_entry DROP CONSTRAINT {other}")
    ledger.grant(owner.pk, Decimal(5), "gift")
    with transaction.atomic():
        ledger.hold_many([one(owner, "job"), one(owner, "other")], wait=True)
        ledger.settle(reference="job", charge=Decimal(0))
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.settle(reference="job", charge=Decimal(0))
    without(f"ALTER TABLE billing_entry ADD CONSTRAINT {other} UNIQUE {UNIQUE[other]}")
    assert ledger.balance(owner.pk) == (5, 1)


@pytest.mark.usefixtures("no_guard")
def test_holding_twice_is_impossible_by_the_unique_index_alone(owner: User) -> None:
    ledger.grant(owner.pk, Decimal(5), "gift")
    outcomes = at_once(
        4, lambda n: ledger.hold(user_id=owner.pk, credits=ONE, reference="job")
    )
    refused = [o for o in outcomes if isinstance(o, IntegrityError)]
    assert (outcomes.count(5), len(refused)) == (1, 3)
    assert ledger.balance(owner.pk) == (5, 1)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE billing_entry SET amount = 100",
        "UPDATE billing_entry SET note = 'other'",
        "DELETE FROM billing_entry",
    ],
)
def test_entry_cannot_be_changed_or_removed(owner: User, change: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        without(change)
    assert ledger.balance(owner.pk) == (1, 0)
    assert Entry.objects.get().amount == 1


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE billing_wallet SET available = -0.0001",
        "UPDATE billing_wallet SET held = -0.0001",
    ],
)
def test_wallet_cannot_be_negative(owner: User, change: str) -> None:
    with pytest.raises(IntegrityError, match="not_negative"), transaction.atomic():
        without(change)


@pytest.mark.parametrize(
    ("kind", "amount", "held", "settles"),
    [
        ("hold", 1, -1, False),
        ("hold", -1, 2, False),
        ("settle", 0, -1, False),
        ("settle", 2, -1, True),
        ("settle", -1, -1, True),
        ("grant", 1, 0, True),
    ],
)
def test_entry_that_breaks_the_rules_of_its_kind_is_refused(
    owner: User, kind: str, amount: int, held: int, settles: bool
) -> None:
    first = Entry.objects.get()
    entry = Entry(
        wallet=first.wallet,
        kind=kind,
        amount=amount,
        held_amount=held,
        available_after=0,
        held_after=0,
        reference="x",
        settles=first if settles else None,
    )
    with pytest.raises(IntegrityError, match="entry_"), transaction.atomic():
        entry.save(force_insert=True)
