"""Holds, settlements and postings, one caller at a time."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from accounts.models import User
from billing import ledger
from billing.errors import InsufficientCredits, ReferenceReused
from billing.ledger import Held, Hold, Posting, Settlement, Short
from billing.models import Entry

pytestmark = pytest.mark.django_db
PRICE = Decimal("0.25")


def hold(user: User, reference: str, credits: Decimal = PRICE) -> Hold:
    return Hold(user_id=user.pk, credits=credits, reference=reference)


def entries(user: User) -> list[tuple[str, str, str, str, str]]:
    return [
        (e.kind, str(e.amount), str(e.held_amount), str(e.available_after), e.reference)
        for e in reversed(ledger.statement(user.pk, limit=100))
    ]


def test_welcome_without_amount_grants_the_welcome_credits(
    settings: Any,
) -> None:
    settings.WELCOME_CREDITS = Decimal(50)
    user = User.objects.create_user("new@example.com")
    ledger.welcome(user.pk)
    assert ledger.balance(user.pk) == (Decimal(50), 0)


def test_welcome_of_zero_opens_an_empty_wallet() -> None:
    user = User.objects.create_user("new@example.com")
    ledger.welcome(user.pk, Decimal(0))
    assert ledger.balance(user.pk) == (0, 0)
    assert entries(user) == []


def test_hold_moves_credits_aside(owner: User) -> None:
    after = ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    assert after == Decimal("0.75")
    assert ledger.balance(owner.pk) == (Decimal("0.75"), PRICE)
    assert entries(owner)[-1] == ("hold", "-0.2500", "0.2500", "0.7500", "job")


def test_hold_of_more_than_available_is_refused_and_changes_nothing(
    owner: User,
) -> None:
    with pytest.raises(InsufficientCredits) as refusal:
        ledger.hold(user_id=owner.pk, credits=Decimal("1.0001"), reference="job")
    assert refusal.value.fields() == {"needed": "1.0001", "available": "1.0000"}
    assert ledger.balance(owner.pk) == (1, 0)
    assert len(entries(owner)) == 1


def test_hold_repeated_moves_credits_once(owner: User) -> None:
    for _ in range(3):
        after = ledger.hold(user_id=owner.pk, credits=Decimal(1), reference="job")
        assert after == 0
    assert ledger.balance(owner.pk) == (0, 1)


@pytest.mark.parametrize("credits", ["0.5", "2"])
def test_hold_under_a_reference_of_another_amount_is_refused(
    owner: User, credits: str
) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    with pytest.raises(ReferenceReused):
        ledger.hold(user_id=owner.pk, credits=Decimal(credits), reference="job")


def test_hold_under_a_strangers_reference_is_refused(
    owner: User, stranger: User
) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    with pytest.raises(ReferenceReused):
        ledger.hold(user_id=stranger.pk, credits=PRICE, reference="job")
    assert ledger.balance(stranger.pk) == (1, 0)


def test_hold_many_gives_credits_in_the_given_order_while_they_last(
    owner: User, stranger: User
) -> None:
    holds = [
        hold(owner, "a", Decimal("0.6")),
        hold(owner, "b", Decimal("0.6")),
        hold(stranger, "c", Decimal("0.6")),
        hold(owner, "d", Decimal("0.4")),
    ]
    assert ledger.hold_many(holds, wait=False) == [
        Held(available_after=Decimal("0.4")),
        Short(needed=Decimal("0.6"), available=Decimal("0.4")),
        Held(available_after=Decimal("0.4")),
        Held(available_after=Decimal(0)),
    ]
    assert ledger.balance(owner.pk) == (0, 1)


def test_hold_many_writes_the_balance_after_each_hold(owner: User) -> None:
    ledger.hold_many([hold(owner, name) for name in "abc"], wait=True)
    after = [line[3] for line in entries(owner)[1:]]
    assert after == ["0.7500", "0.5000", "0.2500"]


def test_hold_many_with_a_hold_made_before_makes_the_others(owner: User) -> None:
    ledger.hold_many([hold(owner, "a")], wait=True)
    holds = [hold(owner, name) for name in "abcd"]
    outcomes = ledger.hold_many(holds, wait=False)
    available = [outcome.available_after for outcome in outcomes]
    assert available == [PRICE * 3, PRICE * 2, PRICE, 0]
    assert ledger.balance(owner.pk) == (0, 1)


def test_hold_for_a_user_without_wallet_is_short() -> None:
    user = User.objects.create_user("new@example.com")
    [outcome] = ledger.hold_many([hold(user, "a")], wait=True)
    assert outcome == Short(needed=PRICE, available=Decimal(0))


def test_settle_keeps_the_charge_and_gives_back_the_rest(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    after = ledger.settle(reference="job", charge=Decimal("0.1"))
    assert after == Decimal("0.9")
    assert ledger.balance(owner.pk) == (Decimal("0.9"), 0)
    assert entries(owner)[-1] == ("settle", "0.1500", "-0.2500", "0.9000", "job")


def test_settle_without_charge_releases_the_hold(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    ledger.settle(reference="job", charge=Decimal(0))
    assert ledger.balance(owner.pk) == (1, 0)


def test_settle_of_a_free_hold_writes_both_entries(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=Decimal(0), reference="job")
    ledger.settle(reference="job", charge=Decimal(0))
    assert [line[0] for line in entries(owner)] == ["grant", "hold", "settle"]


def test_settle_repeated_with_any_charge_moves_nothing_again(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    ledger.settle(reference="job", charge=PRICE)
    assert ledger.settle(reference="job", charge=Decimal(0)) == Decimal("0.75")
    assert ledger.balance(owner.pk) == (Decimal("0.75"), 0)


def test_settle_many_of_several_users_gives_each_its_balance(
    owner: User, stranger: User
) -> None:
    ledger.hold_many(
        [hold(owner, "a"), hold(stranger, "b"), hold(owner, "c")], wait=True
    )
    after = ledger.settle_many(
        [
            Settlement(reference="c", charge=PRICE),
            Settlement(reference="b", charge=Decimal(0)),
            Settlement(reference="a", charge=Decimal(0)),
        ],
        wait=False,
    )
    assert after == {"c": Decimal("0.5"), "b": Decimal(1), "a": Decimal("0.75")}


def test_settle_of_what_nobody_held_is_a_bug(owner: User) -> None:
    with pytest.raises(Entry.DoesNotExist):
        ledger.settle(reference="job", charge=Decimal(0))


def test_settle_above_the_hold_is_a_bug(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    with pytest.raises(ValueError, match="charge"):
        ledger.settle(reference="job", charge=Decimal("0.2501"))
    assert ledger.balance(owner.pk) == (Decimal("0.75"), PRICE)


@pytest.mark.parametrize(
    "credits", ["-1", "0.00001", "NaN", "Infinity", "1e12", "1e99"]
)
def test_hold_of_an_amount_that_is_no_amount_is_a_bug(
    owner: User, credits: str
) -> None:
    with pytest.raises(ValueError):
        ledger.hold(user_id=owner.pk, credits=Decimal(credits), reference="job")


def test_hold_of_a_float_is_a_bug(owner: User) -> None:
    with pytest.raises(ValueError):
        ledger.hold(user_id=owner.pk, credits=0.1, reference="job")  # type: ignore[arg-type]


def test_hold_many_with_a_reference_twice_is_a_bug(owner: User) -> None:
    with pytest.raises(ValueError):
        ledger.hold_many([hold(owner, "a"), hold(owner, "a")], wait=True)


def test_amounts_that_no_float_can_hold_stay_exact(owner: User) -> None:
    holds = [hold(owner, f"job {n}", Decimal("0.0001")) for n in range(999)]
    ledger.hold_many(holds, wait=True)
    ledger.settle_many(
        [Settlement(reference=one.reference, charge=one.credits) for one in holds],
        wait=True,
    )
    assert ledger.balance(owner.pk) == (Decimal("0.9001"), 0)


def test_grant_repeated_gives_once(owner: User) -> None:
    for _ in range(2):
        assert ledger.grant(owner.pk, Decimal(2), "gift", note="hello") == 3
    assert entries(owner)[-1] == ("grant", "2.0000", "0.0000", "3.0000", "gift")


def test_grant_under_a_reference_of_another_amount_is_refused(owner: User) -> None:
    ledger.grant(owner.pk, Decimal(2), "gift")
    with pytest.raises(ReferenceReused):
        ledger.grant(owner.pk, Decimal(3), "gift")


def test_grant_of_nothing_is_a_bug(owner: User) -> None:
    with pytest.raises(ValueError):
        ledger.grant(owner.pk, Decimal(0), "gift")


def test_adjust_takes_and_says_who_did_it_and_why(owner: User, stranger: User) -> None:
    ledger.adjust(
        owner.pk, Decimal("-0.4"), "fix", note="a typo", created_by_id=stranger.pk
    )
    [entry, _] = ledger.statement(owner.pk, limit=5)
    assert (entry.amount, entry.note, entry.created_by_id) == (
        Decimal("-0.4"),
        "a typo",
        stranger.pk,
    )
    assert ledger.balance(owner.pk) == (Decimal("0.6"), 0)


def test_adjust_below_zero_is_refused_for_all(owner: User, stranger: User) -> None:
    postings = [
        Posting(user_id=stranger.pk, credits=Decimal(1), reference="a"),
        Posting(user_id=owner.pk, credits=Decimal("-1.5"), reference="b"),
    ]
    with pytest.raises(InsufficientCredits):
        ledger.adjust_many(postings)
    assert ledger.balance(stranger.pk) == ledger.balance(owner.pk) == (1, 0)


def test_adjust_cannot_take_what_is_held(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    with pytest.raises(InsufficientCredits):
        ledger.adjust(owner.pk, Decimal(-1), "fix")


def test_refund_gives_back_a_charge_once(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    ledger.settle(reference="job", charge=PRICE)
    for _ in range(2):
        assert ledger.refund(owner.pk, PRICE, "job", note="sorry") == 1


def test_refund_of_more_than_was_charged_is_a_bug(owner: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    ledger.settle(reference="job", charge=Decimal("0.1"))
    with pytest.raises(ValueError):
        ledger.refund(owner.pk, PRICE, "job")


def test_refund_of_a_strangers_charge_is_a_bug(owner: User, stranger: User) -> None:
    ledger.hold(user_id=owner.pk, credits=PRICE, reference="job")
    ledger.settle(reference="job", charge=PRICE)
    with pytest.raises(Entry.DoesNotExist):
        ledger.refund(stranger.pk, PRICE, "job")


def test_statement_pages_newest_first(owner: User) -> None:
    ledger.hold_many([hold(owner, name) for name in "abc"], wait=True)
    first = ledger.statement(owner.pk, limit=2)
    rest = ledger.statement(owner.pk, limit=9, before=first[-1].pk)
    assert [e.reference for e in first] == ["c", "b"]
    assert [e.reference for e in rest] == ["a", f"welcome:{owner.pk}"]


@pytest.mark.django_db(transaction=True)
def test_hold_outside_a_transaction_is_a_bug() -> None:
    user = User.objects.create_user("new@example.com")
    with pytest.raises(transaction.TransactionManagementError):
        ledger.hold_many([hold(user, "a")], wait=True)
