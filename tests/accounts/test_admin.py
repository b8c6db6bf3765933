"""Staff pages about users and keys, through the admin's own URLs."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts import issuing, keys
from accounts.joining import join
from accounts.models import ApiKey, User
from billing import ledger

pytestmark = pytest.mark.django_db
KEYS = "/admin/accounts/apikey/"
USERS = "/admin/accounts/user/"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(join("boss@example.com", role=User.Role.ADMIN))
    return client


def test_user_added_gets_a_wallet_with_the_welcome_grant(staff: Client) -> None:
    form = {"email": "new@example.com", "role": "user", "usable_password": "false"}
    assert staff.post(f"{USERS}add/", form).status_code == 302
    user = User.objects.get(email="new@example.com")
    assert ledger.balance(user.pk) == (50, 0)
    assert not user.has_usable_password()


def test_user_added_twice_in_another_case_is_refused(
    staff: Client, owner: User
) -> None:
    form = {"email": "OWNER@example.com", "role": "user", "usable_password": "false"}
    assert staff.post(f"{USERS}add/", form).status_code == 200
    assert User.objects.count() == 2


def test_user_is_suspended_and_resumed_by_actions(staff: Client, owner: User) -> None:
    for action, suspended in (("suspend", True), ("resume", False)):
        staff.post(USERS, {"action": action, "_selected_action": [owner.pk]})
        owner.refresh_from_db()
        assert (owner.suspended_at is not None) is suspended


def test_user_page_shows_and_saves_the_role(staff: Client, owner: User) -> None:
    page = reverse("admin:accounts_user_change", args=[owner.pk])
    assert staff.get(page).status_code == 200
    form = {"email": owner.email, "role": "moderator"}
    form |= {"suspended_at_0": "", "suspended_at_1": ""}
    assert staff.post(page, form).status_code == 302
    owner.refresh_from_db()
    assert owner.role == "moderator"


def test_key_added_is_shown_once(staff: Client, owner: User) -> None:
    form = {"user": owner.pk, "name": "laptop", "scopes": ["jobs:read"]}
    page = staff.post(f"{KEYS}add/", form)
    key = ApiKey.objects.get()
    [secret] = [word for word in page.content.decode().split(">") if "nj_live_" in word]
    secret = secret.partition("<")[0]
    assert keys.digest(secret) == key.digest
    assert "no-store" in page["Cache-Control"]
    assert (key.user, key.name, key.scopes) == (owner, "laptop", ["jobs:read"])
    for later in (KEYS, f"{KEYS}{key.pk}/change/"):
        assert secret not in staff.get(later).content.decode()


def test_key_with_an_unknown_scope_is_refused(staff: Client, owner: User) -> None:
    form = {"user": owner.pk, "name": "laptop", "scopes": ["everything"]}
    assert staff.post(f"{KEYS}add/", form).status_code == 200
    assert not ApiKey.objects.exists()


def test_key_is_revoked_by_an_action(staff: Client, owner: User) -> None:
    key = issuing.issue(owner).key
    staff.post(KEYS, {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_key_rotated_shows_the_new_one_once(staff: Client, owner: User) -> None:
    key = issuing.issue(owner).key
    page = staff.post(KEYS, {"action": "rotate", "_selected_action": [key.pk]})
    new = ApiKey.objects.exclude(pk=key.pk).get()
    assert new.prefix in page.content.decode()
    key.refresh_from_db()
    assert key.expires_at is not None and key.revoked_at is None


def test_key_changed_keeps_its_mode_owner_and_digest(
    staff: Client, owner: User
) -> None:
    key = issuing.issue(owner).key
    form = {"name": "phone", "test": "on", "user": 1, "revoked_at": ""}
    form |= {"expires_at_0": "", "expires_at_1": ""}
    page = reverse("admin:accounts_apikey_change", args=[key.pk])
    assert staff.post(page, form).status_code == 302
    changed = ApiKey.objects.get()
    assert (changed.name, changed.test, changed.user) == ("phone", False, owner)
    assert changed.digest == key.digest


def test_moderator_sees_and_changes_nothing(client: Client, owner: User) -> None:
    client.force_login(join("helper@example.com", role=User.Role.MODERATOR))
    key = issuing.issue(owner).key
    assert client.get(KEYS).status_code == 200
    client.post(KEYS, {"action": "revoke", "_selected_action": [key.pk]})
    key.refresh_from_db()
    assert key.revoked_at is None
    assert client.get(f"{KEYS}add/").status_code == 403


def test_user_reaches_no_staff_page(client: Client, owner: User) -> None:
    client.force_login(owner)
    assert client.get(KEYS).status_code == 302
