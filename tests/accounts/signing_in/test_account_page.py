"""The account page: ways in, browsers, export, and leaving."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client

from accounts import image_keys, issuing
from accounts.models import ApiKey, ImageKey, Session, User
from billing import ledger
from billing.models import Entry
from nijika.local.provider import Provider
from tests.accounts.signing_in.conftest import Browser, person, text_of

Arrive = Callable[..., Browser]


@pytest.fixture
def ada(arrive: Arrive) -> Browser:
    return arrive(person(id=7))


def link(browser: Browser, site: Provider, **who: Any) -> None:
    site.chosen = person("other@example.com", login="lovelace", **who)
    browser.sign_in("gitlab")


def unlink(browser: Browser, provider: str) -> str:
    account = SocialAccount.objects.get(provider=provider)
    return text_of(browser.post(f"/account/links/{account.pk}/unlink", follow=True))


def test_page_shows_ways_in_and_browsers(ada: Browser, site: Provider) -> None:
    link(ada, site)

    page = text_of(ada.get("/account"))

    assert "ada@example.com" in page and "lovelace" in page
    assert "Link a GitHub account" in page and "this one" in page
    assert ada.session.session_key not in page


def test_account_is_unlinked_and_signs_in_no_more(
    ada: Browser, site: Provider, browser: Browser
) -> None:
    link(ada, site, id=8)

    assert "is unlinked" in unlink(ada, "gitlab")

    site.chosen = person("other@example.com", id=8)
    assert browser.sign_in("gitlab")["Location"] == "/welcome"  # as somebody new


def test_last_way_in_is_not_unlinked(ada: Browser) -> None:
    page = text_of(ada.get("/account"))
    assert "Your only way in" in page and "Unlink" not in page
    assert "your only way to sign in" in unlink(ada, "github")
    assert SocialAccount.objects.exists()


def test_staff_with_a_password_may_unlink_all(ada: Browser) -> None:
    user = User.objects.get()
    user.role = User.Role.ADMIN
    user.set_password("a password")
    user.save()
    site_user = Client()
    site_user.force_login(user)
    account = SocialAccount.objects.get()

    site_user.post(f"/account/links/{account.pk}/unlink")

    assert not SocialAccount.objects.exists()


def test_account_of_somebody_else_cannot_be_unlinked(
    ada: Browser, arrive: Arrive, site: Provider
) -> None:
    link(ada, site)
    eve = arrive(person("eve@example.com"))
    of_ada = SocialAccount.objects.get(provider="gitlab")

    page = eve.post(f"/account/links/{of_ada.pk}/unlink", follow=True)

    assert "No such account is linked to you" in text_of(page)
    assert SocialAccount.objects.filter(pk=of_ada.pk).exists()


def test_browser_is_signed_out_from_the_page(ada: Browser, arrive: Arrive) -> None:
    phone = arrive(person(id=7))
    listed = ada.get("/account").context["browsers"]
    [other] = [one for one in listed if not one.is_current]

    ada.post(f"/account/browsers/{other.id}/end")

    assert phone.get("/account").status_code == 302
    assert ada.get("/account").status_code == 200


def test_all_others_are_signed_out_from_the_page(ada: Browser, arrive: Arrive) -> None:
    phone = arrive(person(id=7))

    ada.post("/account/browsers/end-others")

    assert phone.get("/account").status_code == 302
    assert ada.get("/account").status_code == 200


# Export


def test_export_has_all_of_ones_own_and_nothing_of_others(
    ada: Browser, arrive: Arrive
) -> None:
    arrive(person("eve@example.com", login="eve"))
    user = User.objects.get(email="ada@example.com")
    issued = issuing.issue(user, name="shop")

    answer = ada.get("/account/export")

    body = b"".join(answer.streaming_content)
    document = json.loads(body)
    assert "attachment" in answer["Content-Disposition"]
    assert document["account"]["email"] == "ada@example.com"
    assert [one["login"] for one in document["linked_accounts"]] == ["ada"]
    assert [one["name"] for one in document["api_keys"]] == ["first key", "shop"]
    assert [one["amount"] for one in document["ledger"]] == ["50.0000"]
    assert document["jobs"] == []
    assert issued.secret.encode() not in body and b"eve" not in body


def test_exports_are_given_one_at_a_time(ada: Browser) -> None:
    slow = ada.get("/account/export")
    next(iter(slow.streaming_content))

    assert ada.get("/account/export").status_code == 503

    slow._iterator.close()
    again = ada.get("/account/export")
    assert json.loads(b"".join(again.streaming_content))["jobs"] == []


# Leaving


def leave(browser: Browser, typed: str = "ada@example.com") -> Any:
    return browser.post("/account/delete", {"email": typed})


def test_leaving_makes_the_user_anonymous_and_keeps_the_entries(
    ada: Browser, site: Provider
) -> None:
    user = User.objects.get()
    secret = issuing.issue(user, name="shop of ada").secret
    image_keys.of(user)

    page = leave(ada, " ADA@example.com ")

    assert "Your account is deleted" in text_of(page)
    user.refresh_from_db()
    assert user.email == f"deleted-{user.pk}@deleted.invalid"
    assert user.deleted_at is not None and not user.is_active
    assert not SocialAccount.objects.exists() and not ImageKey.objects.exists()
    assert not ApiKey.objects.exclude(name="", revoked_at__isnull=False).exists()
    assert not Session.objects.filter(user=user).exists()
    assert ada.get("/account").status_code == 302
    answer = Client().get("/api/v1/account", headers={"X-API-Key": secret})
    assert answer.status_code == 401
    assert Entry.objects.count() == 1
    assert ledger.balance(user.pk) == (50, 0)


def test_who_left_and_comes_back_is_somebody_new_without_a_second_welcome(
    ada: Browser, arrive: Arrive
) -> None:
    leave(ada)

    again = arrive(person(id=7))

    user_id = int(again.session["_auth_user_id"])
    assert User.objects.filter(deleted_at=None).get().pk == user_id
    assert ledger.balance(user_id) == (0, 0)


@pytest.mark.parametrize("typed", ["", "yes", "eve@example.com"])
def test_leaving_takes_ones_own_address_typed(typed: str, ada: Browser) -> None:
    assert leave(ada, typed).status_code == 422
    assert User.objects.get().deleted_at is None


def test_staff_cannot_leave(ada: Browser) -> None:
    User.objects.update(role=User.Role.ADMIN)

    page = ada.post("/account/delete", {"email": "ada@example.com"}, follow=True)

    assert "Staff cannot delete" in text_of(page)
    assert User.objects.get().deleted_at is None
