"""Keys that staff makes, rotates and revokes."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import issuing, keys
from accounts.models import ApiKey, User
from nijika.staff.models import Action
from tests.staff.conftest import act, act_url

pytestmark = pytest.mark.django_db

KEY = "accounts_apikey"


def made(staff: Client, owner: User, **form: object) -> str:
    fields = {"id": owner.pk, "reason": "asked", "once": str(uuid4())} | form
    page = staff.post(act_url("accounts_user", "key"), fields)
    assert "no-store" in page["Cache-Control"]
    return str(page.context["secret"])


def test_key_made_is_shown_once(staff: Client, owner: User) -> None:
    secret = made(staff, owner, name="laptop", scopes=["jobs:read"])
    key = ApiKey.objects.get()
    assert keys.digest(secret) == key.digest
    assert (key.user, key.name, key.scopes) == (owner, "laptop", ["jobs:read"])
    page = reverse("admin:accounts_apikey_change", args=[key.pk])
    for later in ("/admin/accounts/apikey/", page):
        assert secret not in staff.get(later).content.decode()
    deed = Action.objects.get(action="key made")
    assert deed.user == owner and secret not in str(vars(deed))


def test_key_made_may_expire_and_be_a_test_key(staff: Client, owner: User) -> None:
    made(staff, owner, name="ci", test="on", expires_at="2030-01-02T03:04")
    key = ApiKey.objects.get()
    assert key.test and key.expires_at
    assert key.expires_at.isoformat() == "2030-01-02T03:04:00+00:00"


def test_key_with_an_unknown_scope_is_refused(staff: Client, owner: User) -> None:
    form = {"name": "x", "scopes": ["everything"]}
    assert act(staff, "accounts_user", "key", owner.pk, **form) == 200
    assert not ApiKey.objects.exists()


def test_key_is_rotated_with_the_new_one_shown_once(staff: Client, owner: User) -> None:
    key = issuing.issue(owner).key
    assert act(staff, KEY, "rotate", key.pk) == 200
    new = ApiKey.objects.exclude(pk=key.pk).get()
    key.refresh_from_db()
    assert key.expires_at is not None and key.revoked_at is None
    assert new.name == key.name


def test_dead_key_is_not_rotated(staff: Client, owner: User) -> None:
    key = issuing.issue(owner).key
    issuing.revoke(key)
    assert act(staff, KEY, "rotate", key.pk) == 200
    assert ApiKey.objects.count() == 1


def test_keys_are_revoked(staff: Client, owner: User, stranger: User) -> None:
    rows = [issuing.issue(user).key for user in (owner, stranger)]
    assert act(staff, KEY, "revoke", *(key.pk for key in rows)) == 302
    assert not ApiKey.objects.filter(revoked_at=None).exists()
    assert set(Action.objects.values_list("user", flat=True)) >= {
        owner.pk,
        stranger.pk,
    }


def test_moderator_does_nothing_with_keys(helper: Client, owner: User) -> None:
    key = issuing.issue(owner).key
    for name in ("rotate", "revoke"):
        assert act(helper, KEY, name, key.pk) == 403
    key.refresh_from_db()
    assert key.revoked_at is None and ApiKey.objects.count() == 1


@pytest.mark.parametrize("part", [8, 100])
def test_lost_key_is_found_by_its_beginning_or_whole(
    staff: Client, owner: User, part: int
) -> None:
    issued, _ = issuing.issue(owner), issuing.issue(owner, test=True)
    term = issued.secret[: max(part, len(issued.key.prefix))]
    page = staff.get("/admin/accounts/apikey/", {"q": term})
    assert list(page.context["cl"].result_list) == [issued.key]
