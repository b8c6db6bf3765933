"""Credits that staff gives and takes, and prices."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import User
from billing import ledger, prices
from billing.models import Entry, Price, Wallet
from nijika.staff.models import Action
from tests.staff.conftest import act

pytestmark = pytest.mark.django_db

USER, PRICE = "accounts_user", "billing_price"


def words_of(page: Any) -> list[str]:
    return re.split(r"[<>\s]+", page.content.decode())


def test_admin_gives_credits_with_a_reason(
    staff: Client, boss: User, owner: User
) -> None:
    assert act(staff, USER, "credits", owner.pk, credits="2.5", reason="hi") == 302
    entry = ledger.statement(owner.pk, limit=1)[0]
    assert (entry.kind, entry.amount) == ("grant", Decimal("2.5"))
    assert (entry.note, entry.created_by) == ("hi", boss)
    deed = Action.objects.get(action="credits given")
    assert (deed.actor, deed.user, deed.reason) == (boss, owner, "hi")
    assert deed.details == {"credits": "2.5000"}


def test_admin_takes_credits_with_a_reason(staff: Client, owner: User) -> None:
    assert act(staff, USER, "credits", owner.pk, credits="-0.4") == 302
    entry = ledger.statement(owner.pk, limit=1)[0]
    assert (entry.kind, entry.amount) == ("adjustment", Decimal("-0.4"))


def test_admin_gives_to_many_at_once(
    staff: Client, owner: User, stranger: User
) -> None:
    assert act(staff, USER, "credits", owner.pk, stranger.pk, credits="3") == 302
    assert ledger.balance(owner.pk) == ledger.balance(stranger.pk) == (53, 0)
    assert Action.objects.filter(action="credits given").count() == 2


def test_taking_from_many_takes_from_all_or_none(
    staff: Client, owner: User, stranger: User
) -> None:
    ledger.adjust(stranger.pk, Decimal(-49), "poor")
    assert act(staff, USER, "credits", owner.pk, stranger.pk, credits="-10") == 200
    assert ledger.balance(owner.pk) == (50, 0)
    assert ledger.balance(stranger.pk) == (1, 0)
    assert not Action.objects.filter(action="credits taken").exists()


@pytest.mark.parametrize(
    ("credits", "reason"),
    [("1", ""), ("1", "  "), ("0", "why"), ("-50.01", "why"), ("0.00001", "why"),
     ("NaN", "why"), ("1e30", "why")],
)  # fmt: skip
def test_no_reason_or_no_amount_moves_nothing(
    staff: Client, owner: User, credits: str, reason: str
) -> None:
    form = {"credits": credits, "reason": reason}
    assert act(staff, USER, "credits", owner.pk, **form) == 200
    assert ledger.balance(owner.pk) == (50, 0)


def test_form_sent_twice_moves_and_is_written_once(staff: Client, owner: User) -> None:
    form = {"credits": "2", "once": str(uuid4())}
    for _ in range(2):
        act(staff, USER, "credits", owner.pk, **form)
    assert ledger.balance(owner.pk) == (52, 0)
    assert Action.objects.filter(action="credits given").count() == 1


def test_form_sent_again_with_another_amount_moves_nothing(
    staff: Client, owner: User
) -> None:
    once = str(uuid4())
    act(staff, USER, "credits", owner.pk, credits="2", once=once)
    assert act(staff, USER, "credits", owner.pk, credits="9", once=once) == 200
    assert ledger.balance(owner.pk) == (52, 0)


def test_nothing_happens_on_get(staff: Client, owner: User) -> None:
    url = reverse("admin:accounts_user_act", args=["credits"])
    query = f"?id={owner.pk}&credits=5&reason=x&once={uuid4()}"
    assert staff.get(url + query).status_code == 200
    assert ledger.balance(owner.pk) == (50, 0)


def test_lists_menu_leads_to_the_form(
    staff: Client, owner: User, stranger: User
) -> None:
    chosen = {"action": "credits", "_selected_action": [owner.pk, stranger.pk]}
    page = staff.post("/admin/accounts/user/", chosen)
    assert page.status_code == 200 and len(page.context["rows"]) == 2
    assert ledger.balance(owner.pk) == (50, 0)


def test_moderator_gives_nothing(helper: Client, owner: User) -> None:
    assert act(helper, USER, "credits", owner.pk, credits="5") == 403
    chosen = {"action": "credits", "_selected_action": [owner.pk]}
    helper.post("/admin/accounts/user/", chosen)
    assert ledger.balance(owner.pk) == (50, 0)


def test_wallets_are_listed_and_found_by_their_owner(
    staff: Client, owner: User, stranger: User
) -> None:
    every = staff.get("/admin/billing/wallet/")
    assert {"50.0000", owner.email, stranger.email} <= {*words_of(every)}
    for query in (f"q={owner.email}", f"user={owner.pk}"):
        page = staff.get(f"/admin/billing/wallet/?{query}")
        assert [row.user for row in page.context["cl"].result_list] == [owner]


@pytest.mark.parametrize("page", ["change", "delete"])
def test_wallets_cannot_be_edited(staff: Client, owner: User, page: str) -> None:
    wallet = Wallet.objects.get(user=owner)
    url = reverse(f"admin:billing_wallet_{page}", args=[wallet.pk])
    assert staff.get(url).status_code == (200 if page == "change" else 403)
    assert staff.post(url, {"available": "5", "post": "yes"}).status_code == 403


@pytest.mark.parametrize("page", ["change", "delete"])
def test_entries_cannot_be_edited(staff: Client, owner: User, page: str) -> None:
    entry = Entry.objects.filter(wallet__user=owner).get()
    url = reverse(f"admin:billing_entry_{page}", args=[entry.pk])
    assert staff.post(url, {"amount": "5", "post": "yes"}).status_code == 403


def test_statement_of_one_user_has_nobody_elses(
    staff: Client, owner: User, stranger: User
) -> None:
    page = staff.get(f"/admin/billing/entry/?user={owner.pk}")
    assert [row.wallet.user for row in page.context["cl"].result_list] == [owner]


def test_entry_is_found_by_its_reference(staff: Client, owner: User) -> None:
    page = staff.get(f"/admin/billing/entry/?q=welcome:{owner.pk}")
    assert [row.wallet.user for row in page.context["cl"].result_list] == [owner]


def removebg() -> Price:
    return Price.objects.get(operation="removebg", own_key=False)


def changed(staff: Client, credits: str, **more: str) -> int:
    page = reverse("admin:billing_price_change", args=[removebg().pk])
    form = {"operation": "removebg", "engine": "", "credits": credits} | more
    return staff.post(page, form).status_code


def test_price_changed_holds_at_once_and_the_log_has_both_and_why(
    staff: Client,
) -> None:
    assert changed(staff, "0.5", reason="GPUs are dear") == 302
    assert prices.price_of("removebg", "classical") == Decimal("0.5")
    deed = Action.objects.get(action="price changed")
    assert "0.01" in deed.details["from"] and "0.5" in deed.details["to"]
    assert deed.reason == "GPUs are dear"


def test_price_changes_by_nobody_without_a_reason(staff: Client) -> None:
    assert changed(staff, "0.5") == changed(staff, "0.5", reason="  ") == 200
    assert removebg().credits == Decimal("0.01")
    assert act(staff, PRICE, "delete", removebg().pk, reason="") == 200
    assert removebg() and not Action.objects.filter(subject__startswith="price")


def test_price_added_and_deleted_is_written_down_with_why(staff: Client) -> None:
    url, form = reverse("admin:billing_price_add"), {"operation": "removebg"}
    form |= {"engine": "birefnet", "credits": "0.2", "reason": "a better one"}
    assert staff.post(url, form).status_code == 302
    assert prices.price_of("removebg", "birefnet") == Decimal("0.2")
    dear = Price.objects.get(engine="birefnet")
    assert act(staff, PRICE, "delete", dear.pk, reason="all the same") == 302
    assert not Price.objects.filter(engine="birefnet").exists()
    reasons = Action.objects.order_by("pk").values_list("action", "reason")
    assert list(reasons.filter(subject=f"price {dear.pk}")) == [
        ("price added", "a better one"),
        ("price deleted", "all the same"),
    ]
