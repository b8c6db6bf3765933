"""Staff pages about credits, through the admin's own URLs."""

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from accounts.joining import join
from accounts.models import User
from billing import ledger, prices
from billing.models import Entry, Price

pytestmark = pytest.mark.django_db


@pytest.fixture
def boss() -> User:
    return join("boss@example.com", role=User.Role.ADMIN)


@pytest.fixture
def staff(client: Client, boss: User) -> Client:
    client.force_login(boss)
    return client


def credits_page(user: User) -> str:
    return reverse("admin:billing_wallet_credits", args=[user.wallet.pk])


def reference(page: str, client: Client) -> str:
    return str(client.get(page).context["form"]["reference"].value())


def send(client: Client, user: User, credits: str, reason: str = "because") -> int:
    page = credits_page(user)
    form = {"credits": credits, "reason": reason, "reference": reference(page, client)}
    return client.post(page, form).status_code


def test_staff_gives_credits_with_a_reason(
    staff: Client, boss: User, owner: User
) -> None:
    assert send(staff, owner, "2.5", "a present") == 302
    entry = ledger.statement(owner.pk, limit=1)[0]
    assert (entry.kind, entry.amount) == ("grant", Decimal("2.5"))
    assert (entry.note, entry.created_by) == ("a present", boss)


def test_staff_takes_credits_with_a_reason(staff: Client, owner: User) -> None:
    assert send(staff, owner, "-0.4") == 302
    entry = ledger.statement(owner.pk, limit=1)[0]
    assert (entry.kind, entry.amount) == ("adjustment", Decimal("-0.4"))


@pytest.mark.parametrize(
    ("credits", "reason"),
    [("1", ""), ("1", "  "), ("0", "why"), ("-1.0001", "why"), ("0.00001", "why")],
)
def test_staff_without_a_reason_or_for_no_amount_moves_nothing(
    staff: Client, owner: User, credits: str, reason: str
) -> None:
    assert send(staff, owner, credits, reason) == 200
    assert ledger.balance(owner.pk) == (1, 0)


def test_staff_sending_the_form_twice_moves_credits_once(
    staff: Client, owner: User
) -> None:
    page = credits_page(owner)
    form = {"credits": "2", "reason": "x", "reference": reference(page, staff)}
    for _ in range(2):
        staff.post(page, form)
    assert ledger.balance(owner.pk) == (3, 0)


def test_moderator_may_look_and_not_move_credits(client: Client, owner: User) -> None:
    client.force_login(join("helper@example.com", role=User.Role.MODERATOR))
    assert client.get("/admin/billing/wallet/").status_code == 200
    assert client.post(credits_page(owner), {"credits": "5"}).status_code == 403


def test_wallet_page_leads_to_entries_and_credits(staff: Client, owner: User) -> None:
    page = reverse("admin:billing_wallet_change", args=[owner.wallet.pk])
    text = staff.get(page).content.decode()
    assert credits_page(owner) in text
    entries = f"/admin/billing/entry/?wallet__id__exact={owner.wallet.pk}"
    assert entries in text
    assert staff.get(entries).status_code == 200


@pytest.mark.parametrize("model", ["wallet", "entry"])
def test_books_cannot_be_edited_by_staff(
    staff: Client, owner: User, model: str
) -> None:
    row = owner.wallet if model == "wallet" else Entry.objects.first()
    change = reverse(f"admin:billing_{model}_change", args=[row.pk])
    assert staff.get(f"/admin/billing/{model}/").status_code == 200
    assert staff.get(change).status_code == 200
    for page in (change, change.replace("change", "delete")):
        assert staff.post(page, {"amount": "5"}).status_code == 403
    assert staff.get(f"/admin/billing/{model}/add/").status_code == 403


def test_price_changed_by_staff_holds_at_once(staff: Client) -> None:
    price = Price.objects.get(operation="removebg")
    page = reverse("admin:billing_price_change", args=[price.pk])
    form = {"operation": "removebg", "engine": "", "credits": "0.5"}
    assert staff.post(page, form).status_code == 302
    assert prices.price_of("removebg", "classical") == Decimal("0.5")
