"""API keys, as their owner sees them; a stranger and nobody see nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts import issuing
from accounts.models import ApiKey, User
from tests.accounts.signing_in.conftest import Browser, person, text_of

Arrive = Callable[..., Browser]


@pytest.fixture
def ada(arrive: Arrive) -> Browser:
    browser = arrive(person())
    browser.get("/welcome")  # the first key has been shown
    return browser


def account_of(secret: str) -> int:
    answer = Client().get("/api/v1/account", headers={"X-API-Key": secret})
    return int(answer.status_code)


def test_key_is_made_shown_once_and_works(ada: Browser) -> None:
    answer = ada.post("/keys", {"name": "shop", "mode": "live", "lifetime": "30"})

    assert (answer.status_code, answer["Location"]) == (303, "/keys")
    page = ada.get("/keys")
    secret = page.context["secret"]
    assert secret in text_of(page) and page["Cache-Control"] == "no-store"
    assert account_of(secret) == 200
    assert secret not in text_of(ada.get("/keys"))
    key = ApiKey.objects.get(name="shop")
    assert key.expires_at is not None
    assert timedelta(days=29) < key.expires_at - timezone.now() < timedelta(days=31)


def test_key_is_made_with_the_scopes_and_mode_chosen(ada: Browser) -> None:
    form = {"name": "reader", "mode": "test", "scopes": ["jobs:read", "account:read"]}
    ada.post("/keys", form)

    key = ApiKey.objects.get(name="reader")
    assert (key.test, key.expires_at) == (True, None)
    assert key.scopes == ["jobs:read", "account:read"]
    secret = ada.get("/keys").context["secret"]
    refused = Client().post("/api/v1/jobs", headers={"X-API-Key": secret})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    "form",
    [
        {"name": "", "mode": "live"},
        {"name": " ", "mode": "live"},
        {"name": "x" * 101, "mode": "live"},
        {"name": "x", "mode": "root"},
        {"name": "x", "mode": "live", "scopes": ["everything"]},
        {"name": "x", "mode": "live", "lifetime": "99999"},
    ],
)
def test_form_that_is_wrong_makes_no_key(form: dict[str, str], ada: Browser) -> None:
    assert ada.post("/keys", form).status_code == 422
    assert ApiKey.objects.count() == 1


def test_name_of_a_key_is_text_and_no_markup(ada: Browser) -> None:
    ada.post("/keys", {"name": "<script>alert(1)</script>", "mode": "live"})

    assert "<script>alert" not in ada.get("/keys").content.decode()


def test_page_tells_prefix_and_last_use_and_never_a_secret(ada: Browser) -> None:
    issued = issuing.issue(User.objects.get(), name="shop")
    account_of(issued.secret)

    page = ada.get("/keys").content.decode()

    assert issued.key.prefix in page and issued.secret not in page


def test_key_rotated_has_a_successor_shown_once_and_works_on_for_a_day(
    ada: Browser,
) -> None:
    issued = issuing.issue(User.objects.get(), name="shop")

    ada.post(f"/keys/{issued.key.pk}/rotate")

    fresh = ada.get("/keys").context["secret"]
    assert account_of(fresh) == account_of(issued.secret) == 200
    issued.key.refresh_from_db()
    assert issued.key.expires_at is not None
    assert issued.key.expires_at - timezone.now() < timedelta(hours=25)


def test_key_revoked_stops_and_cannot_be_rotated(ada: Browser) -> None:
    issued = issuing.issue(User.objects.get(), name="shop")

    ada.post(f"/keys/{issued.key.pk}/revoke")

    assert account_of(issued.secret) == 401
    page = ada.post(f"/keys/{issued.key.pk}/rotate", follow=True)
    assert "Only a key that works can be rotated" in text_of(page)
    assert ApiKey.objects.count() == 2


@pytest.mark.parametrize("act", ["rotate", "revoke"])
def test_key_of_somebody_else_is_not_there(
    act: str, ada: Browser, arrive: Arrive
) -> None:
    issued = issuing.issue(User.objects.get(), name="of ada")
    eve = arrive(person("eve@example.com"))

    assert eve.post(f"/keys/{issued.key.pk}/{act}").status_code == 404
    assert "of ada" not in text_of(eve.get("/keys"))
    assert account_of(issued.secret) == 200


@pytest.mark.parametrize("path", ["/keys", "/account", "/welcome", "/account/export"])
def test_pages_are_for_those_who_are_signed_in(path: str, browser: Browser) -> None:
    answer = browser.get(path)

    assert (answer.status_code, answer["Location"]) == (302, f"/sign-in?next={path}")


@pytest.mark.parametrize(
    "path",
    [
        "/keys",
        "/keys/1/revoke",
        "/keys/1/rotate",
        "/account/delete",
        "/account/links/1/unlink",
        "/account/browsers/end-others",
        "/account/browsers/abc/end",
    ],
)
def test_deeds_are_guarded_against_forgery(path: str, ada: Browser) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies["session"] = ada.cookies["session"].value

    assert strict.post(path).status_code == 403
    assert User.objects.get().deleted_at is None
