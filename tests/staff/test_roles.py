"""Who of staff may do what, and to whom."""

from __future__ import annotations

import pytest
from django.contrib.auth import authenticate
from django.test import Client
from django.urls import reverse

from accounts import leaving
from accounts import staff as roles
from accounts.joining import join
from accounts.models import User
from billing import ledger
from billing.models import Price
from nijika.staff.models import Action
from tests.staff.conftest import act, act_url, client_of

pytestmark = pytest.mark.django_db

USER = "accounts_user"


def reload(user: User) -> User:
    return User.objects.get(pk=user.pk)


def test_moderator_suspends_and_resumes_a_user(helper: Client, owner: User) -> None:
    assert act(helper, USER, "suspend", owner.pk) == 302
    assert reload(owner).suspended_at is not None
    assert act(helper, USER, "resume", owner.pk) == 302
    assert reload(owner).suspended_at is None


@pytest.mark.parametrize("name", ["suspend", "resume"])
def test_moderator_touches_no_staff(
    helper: Client, boss: User, moderator: User, owner: User, name: str
) -> None:
    other = join("other@example.com", role=User.Role.ADMIN)
    User.objects.filter(pk=other.pk).update(suspended_at="2026-01-01T00:00Z")
    for target in (boss, moderator, other):
        before = reload(target).suspended_at
        assert act(helper, USER, name, owner.pk, target.pk) == 200
        assert reload(target).suspended_at == before
    assert reload(owner).suspended_at is None  # all or none
    assert not Action.objects.filter(user=owner).exists()


@pytest.mark.parametrize("name", ["credits", "key", "role", "password"])
def test_moderator_has_no_other_act(helper: Client, owner: User, name: str) -> None:
    form = {"credits": "5", "name": "x", "role": "admin", "password": "a long password"}
    assert act(helper, USER, name, owner.pk, **form) == 403
    assert helper.get(f"{act_url(USER, name)}?id={owner.pk}").status_code == 403
    assert reload(owner).role == "user" and ledger.balance(owner.pk) == (50, 0)
    assert not owner.api_keys.exists()


def test_moderator_changes_no_price_and_adds_nobody(helper: Client) -> None:
    price = Price.objects.filter(operation="removebg").first()
    assert price is not None
    page = reverse("admin:billing_price_change", args=[price.pk])
    form = {"operation": "removebg", "engine": "", "credits": "9", "reason": "x"}
    assert helper.get(page).status_code == 200
    assert act(helper, "billing_price", "delete", price.pk) == 403
    for url in (page, page.replace("change", "delete")):
        assert helper.post(url, form | {"post": "yes"}).status_code == 403
    assert helper.post("/admin/accounts/user/add/", {}).status_code == 403
    assert Price.objects.get(pk=price.pk).credits == price.credits


def test_user_page_of_a_moderator_offers_only_suspension(
    helper: Client, owner: User
) -> None:
    page = helper.get(reverse("admin:accounts_user_change", args=[owner.pk]))
    assert [one["act"].name for one in page.context["acts"]] == ["suspend"]


def test_admin_gives_a_role_that_holds_at_once(staff: Client, owner: User) -> None:
    person = client_of(owner)
    assert person.get("/admin/").status_code == 302
    assert act(staff, USER, "role", owner.pk, role="moderator") == 302
    assert person.get("/admin/").status_code == 200
    assert act(staff, USER, "role", owner.pk, role="user") == 302
    assert person.get("/admin/").status_code == 302


def test_role_lost_by_a_superuser_is_lost_whole(staff: Client) -> None:
    lord = User.objects.create_superuser("lord@example.com")
    assert act(staff, USER, "role", lord.pk, role="user") == 302
    assert not reload(lord).is_staff and not reload(lord).has_perm("jobs.change_job")


@pytest.mark.parametrize("form", [{"role": "user"}, {"role": "moderator"}])
def test_last_admin_cannot_demote_himself(
    staff: Client, boss: User, form: dict[str, str]
) -> None:
    assert act(staff, USER, "role", boss.pk, **form) == 200
    assert act(staff, USER, "suspend", boss.pk) == 200
    assert reload(boss).role == "admin" and reload(boss).is_active


def test_suspended_admin_is_no_admin_to_rely_on(staff: Client, boss: User) -> None:
    other = join("other@example.com", role=User.Role.ADMIN)
    roles.suspend(other.pk)
    assert act(staff, USER, "role", boss.pk, role="user") == 200
    assert reload(boss).role == "admin"


def test_admin_with_another_one_may_go(staff: Client, boss: User) -> None:
    join("other@example.com", role=User.Role.ADMIN)
    assert act(staff, USER, "role", boss.pk, role="user") == 302
    assert reload(boss).role == "user"


def test_suspended_staff_is_out_at_once(helper: Client, moderator: User) -> None:
    assert helper.get("/admin/").status_code == 200
    roles.suspend(moderator.pk)
    assert helper.get("/admin/").status_code == 302


def test_staff_gets_a_password_and_customers_none(
    staff: Client, moderator: User, owner: User
) -> None:
    word = "correct horse battery"
    assert act(staff, USER, "password", moderator.pk, password=word) == 302
    assert act(staff, USER, "password", owner.pk, password=word) == 200
    assert authenticate(username=moderator.email, password=word) == moderator
    assert not reload(owner).has_usable_password()
    assert word not in str(list(Action.objects.values()))


def test_nothing_is_done_to_who_has_left(staff: Client, owner: User) -> None:
    leaving.leave(owner)
    page = staff.get(reverse("admin:accounts_user_change", args=[owner.pk]))
    assert page.context["acts"] == []
    form = {"credits": "5", "name": "x", "role": "admin"}
    for name in ("credits", "key", "role", "suspend"):
        assert act(staff, USER, name, owner.pk, **form) == 200
    assert ledger.balance(owner.pk) == (50, 0) and not owner.api_keys.exists()
    assert reload(owner).role == "user"


def test_nobody_is_deleted(staff: Client, owner: User) -> None:
    page = reverse("admin:accounts_user_delete", args=[owner.pk])
    assert staff.post(page, {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [owner.pk]}
    staff.post("/admin/accounts/user/", chosen | {"post": "yes"})
    assert reload(owner)


def test_user_added_gets_a_wallet_and_no_password(staff: Client) -> None:
    page, form = "/admin/accounts/user/add/", {"email": "n@example.com"}
    assert staff.post(page, form).status_code == 200  # it asks why
    assert staff.post(page, form | {"reason": "ours"}).status_code == 302
    user = User.objects.get(email="n@example.com")
    assert ledger.balance(user.pk) == (50, 0) and user.role == "user"
    assert not user.has_usable_password()
    deed = Action.objects.get(action="user added")
    assert (deed.user_id, deed.reason) == (user.pk, "ours")


def test_user_added_twice_in_another_case_is_refused(
    staff: Client, owner: User
) -> None:
    form = {"email": "OWNER@example.com", "reason": "again"}
    assert staff.post("/admin/accounts/user/add/", form).status_code == 200
    assert User.objects.filter(email__iexact=owner.email).count() == 1
