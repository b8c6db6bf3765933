"""Whose an account at a provider is: every rule, through the whole flow over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.test import Client

from accounts.joining import join
from accounts.linking import months_after
from accounts.models import ApiKey, User
from billing import ledger
from billing.models import Entry
from nijika.local.people import Email, Person
from nijika.local.provider import Provider
from tests.accounts.signing_in.conftest import Browser, person, text_of

PROVIDERS = ["github", "gitlab"]
UNVERIFIED = (Email(address="ada@example.com", verified=False),)
Arrive = Callable[..., Browser]


def ago(**how_long: float) -> str:
    return (datetime.now(UTC) - timedelta(**how_long)).isoformat()


# A new user


@pytest.mark.parametrize("provider", PROVIDERS)
def test_newcomer_gets_an_account_with_the_welcome_credits_as_an_entry(
    provider: str, browser: Browser, site: Provider
) -> None:
    site.chosen = person("Ada@Example.com")

    answer = browser.sign_in(provider)

    assert (answer.status_code, answer["Location"]) == (303, "/welcome")
    user = User.objects.get()
    assert (user.email.lower(), user.role) == ("ada@example.com", "user")
    assert not user.has_usable_password()
    entry = Entry.objects.get()
    assert (entry.kind, entry.amount, entry.note) == ("grant", Decimal(50), "Welcome")
    assert ledger.balance(user.pk) == (Decimal(50), 0)


def test_newcomer_sees_a_first_key_that_works_and_sees_it_once(
    browser: Browser, site: Provider
) -> None:
    site.chosen = person()
    browser.sign_in()

    page = browser.get("/welcome")

    key = ApiKey.objects.get()
    secret = page.context["secret"]
    assert secret.startswith("nj_live_") and secret in text_of(page)
    assert page["Cache-Control"] == "no-store"
    account = Client().get("/api/v1/account", headers={"X-API-Key": secret})
    assert account.json()["email"] == "ada@example.com"
    again = browser.get("/welcome")
    assert secret not in text_of(again) and "cannot show it again" in text_of(again)
    assert ApiKey.objects.get() == key


def test_first_user_of_all_is_no_admin(browser: Browser, site: Provider) -> None:
    site.chosen = person()
    browser.sign_in()

    assert User.objects.get().role == User.Role.USER
    assert browser.get("/admin/").status_code != 200


def test_newcomer_without_a_verified_email_is_refused(
    browser: Browser, site: Provider
) -> None:
    site.chosen = person(emails=UNVERIFIED)

    for provider in PROVIDERS:
        answer = browser.sign_in(provider)

        assert answer.status_code == 403
        assert "has verified no e-mail address" in text_of(answer)
    assert not User.objects.exists() and not browser.is_signed_in()


def test_newcomers_verified_address_is_taken_though_another_is_primary(
    browser: Browser, site: Provider
) -> None:
    second = Email(address="verified@example.com", primary=False)
    site.chosen = person(emails=(*UNVERIFIED, second))

    browser.sign_in()

    assert User.objects.get().email == "verified@example.com"


def test_address_that_looks_like_anothers_is_left_aside(
    browser: Browser, site: Provider
) -> None:
    join("kim@example.com")
    site.chosen = person("\N{KELVIN SIGN}im@example.com")  # its lower case is "k"

    answer = browser.sign_in()

    assert answer.status_code == 403
    assert not SocialAccount.objects.exists()


# A known account


def test_known_account_signs_its_user_in(arrive: Arrive) -> None:
    ada = person()
    first = arrive(ada)
    second = arrive(ada)

    assert second.session["_auth_user_id"] == first.session["_auth_user_id"]
    assert User.objects.count() == ApiKey.objects.count() == Entry.objects.count() == 1


def test_known_account_signs_in_though_its_email_has_changed(arrive: Arrive) -> None:
    bob = arrive(person("bob@example.com"))
    arrive(person(id=7))
    now_as_bob = person("bob@example.com", id=7)

    again = arrive(now_as_bob)

    assert again.session["_auth_user_id"] != bob.session["_auth_user_id"]
    assert (
        User.objects.get(pk=again.session["_auth_user_id"]).email == "ada@example.com"
    )
    assert User.objects.count() == 2


def test_known_account_signs_in_though_its_email_is_no_longer_verified(
    arrive: Arrive,
) -> None:
    arrive(person(id=7))

    arrive(person(id=7, emails=UNVERIFIED))

    assert User.objects.count() == 1


def test_same_id_at_another_provider_is_another_account(arrive: Arrive) -> None:
    arrive(person(id=7))
    arrive(person("bob@example.com", id=7), "gitlab")

    assert User.objects.count() == 2


def test_suspended_user_is_told_so_and_not_signed_in(
    arrive: Arrive, browser: Browser, site: Provider
) -> None:
    signed_in = arrive(person(id=7))
    User.objects.update(suspended_at=datetime.now(UTC))

    answer = browser.sign_in()

    assert (answer.status_code, browser.is_signed_in()) == (403, False)
    assert "suspended" in text_of(answer)
    assert signed_in.get("/welcome").status_code == 302  # and the old session is over


# Linking by e-mail


@pytest.mark.parametrize("provider", PROVIDERS)
def test_verified_email_links_to_its_user_whatever_its_case(
    provider: str, browser: Browser, site: Provider
) -> None:
    user = join("Ada@example.com")
    site.chosen = person("aDA@Example.com")

    answer = browser.sign_in(provider)

    assert answer["Location"] == "/dashboard"
    assert browser.session["_auth_user_id"] == str(user.pk)
    assert SocialAccount.objects.get().user == user
    assert Entry.objects.count() == 1  # the one of joining; no second welcome


def test_any_verified_address_links_the_private_ones_too(
    browser: Browser, site: Provider
) -> None:
    user = join("second@example.com")
    second = Email(address="second@example.com", primary=False)
    site.chosen = person(emails=(Email(address="first@example.com"), second))

    browser.sign_in()

    assert SocialAccount.objects.get().user == user


@pytest.mark.parametrize("provider", PROVIDERS)
def test_unverified_email_never_takes_over(
    provider: str, browser: Browser, site: Provider
) -> None:
    join("ada@example.com")
    site.chosen = person(emails=UNVERIFIED)

    answer = browser.sign_in(provider)

    assert (answer.status_code, browser.is_signed_in()) == (403, False)
    assert not SocialAccount.objects.exists()


def test_one_with_an_unverified_email_of_another_joins_by_the_verified_one(
    browser: Browser, site: Provider
) -> None:
    join("ada@example.com")
    own = Email(address="eve@example.com", primary=False)
    site.chosen = person(emails=(*UNVERIFIED, own))

    browser.sign_in()

    assert SocialAccount.objects.get().user.email == "eve@example.com"


def test_staff_made_by_a_command_signs_in_by_the_verified_email(
    browser: Browser, site: Provider
) -> None:
    join("ada@example.com", role=User.Role.ADMIN, password="a password")
    site.chosen = person()

    browser.sign_in()

    assert browser.get("/admin/").status_code == 200
    assert User.objects.get().has_usable_password()


# Linking while signed in


def test_signed_in_user_links_an_unknown_account(
    arrive: Arrive, browser: Browser, site: Provider
) -> None:
    ada = arrive(person())
    site.chosen = person("other@example.com", login="lovelace")

    answer = ada.sign_in("gitlab")

    assert answer["Location"] == "/account"
    user = User.objects.get()
    assert {one.provider for one in SocialAccount.objects.filter(user=user)} == {
        "github",
        "gitlab",
    }
    browser.sign_in("gitlab")
    assert browser.session["_auth_user_id"] == str(user.pk)


def test_linking_needs_no_verified_email(arrive: Arrive, site: Provider) -> None:
    ada = arrive(person())
    site.chosen = person(emails=UNVERIFIED)

    ada.sign_in("gitlab")

    assert SocialAccount.objects.filter(user=User.objects.get()).count() == 2


def test_linking_goes_by_who_is_signed_in_not_by_the_email(
    arrive: Arrive, site: Provider
) -> None:
    ada, bob = arrive(person()), join("bob@example.com")
    site.chosen = person("bob@example.com")

    ada.sign_in("gitlab")

    assert not SocialAccount.objects.filter(user=bob).exists()


def test_account_of_another_user_is_refused_and_nobody_changes(
    arrive: Arrive, site: Provider
) -> None:
    bob = arrive(person("bob@example.com", id=7), "gitlab")
    ada = arrive(person())
    site.chosen = person("bob@example.com", id=7)

    answer = ada.sign_in("gitlab")

    assert answer.status_code == 403
    assert "signs another user in" in text_of(answer)
    assert ada.session["_auth_user_id"] != bob.session["_auth_user_id"]
    assert SocialAccount.objects.get(provider="gitlab").user.email == "bob@example.com"


def test_own_account_again_changes_nothing(arrive: Arrive, site: Provider) -> None:
    ada = arrive(person(id=7))
    site.chosen = person(id=7)

    answer = ada.sign_in()

    assert answer["Location"] == "/account"
    assert SocialAccount.objects.count() == User.objects.count() == 1


# The age of the account


@pytest.mark.parametrize("provider", PROVIDERS)
def test_account_younger_than_a_month_is_refused_with_the_day_it_is_old_enough(
    provider: str, browser: Browser, site: Provider
) -> None:
    site.chosen = person(created_at=ago(days=5))

    answer = browser.sign_in(provider)

    day = months_after(datetime.fromisoformat(site.chosen.created_at or ""), 1)
    assert answer.status_code == 403
    assert f"{day:%-d %B %Y}" in text_of(answer)
    assert not User.objects.exists()


@pytest.mark.parametrize("created_at", [None, "yesterday", "", 12345, True])
def test_account_that_does_not_say_its_age_is_refused(
    created_at: Any, browser: Browser, site: Provider
) -> None:
    site.chosen = person(created_at=created_at)

    answer = browser.sign_in()

    assert answer.status_code == 403
    assert "did not tell us when" in text_of(answer)
    assert not User.objects.exists()


def test_age_is_judged_at_every_callback(arrive: Arrive, site: Provider) -> None:
    """Somebody has deleted their account there, and made it anew under its id."""
    signed_in = arrive(person(id=7))
    site.chosen = person(id=7, created_at=ago(days=1))
    outside = Browser()

    assert outside.sign_in().status_code == 403
    assert not outside.is_signed_in()
    assert signed_in.sign_in().status_code == 403


def test_age_is_judged_before_a_link(arrive: Arrive, site: Provider) -> None:
    ada = arrive(person())
    site.chosen = person(created_at=ago(days=1))

    assert ada.sign_in("gitlab").status_code == 403
    assert SocialAccount.objects.count() == 1


def test_age_asked_for_is_a_setting(
    browser: Browser, site: Provider, settings: Any
) -> None:
    settings.PROVIDER_ACCOUNT_MONTHS = 12
    site.chosen = person(created_at=ago(days=300))
    assert "12 months" in text_of(browser.sign_in())

    settings.PROVIDER_ACCOUNT_MONTHS = 0
    site.chosen = person(created_at=None)
    assert browser.sign_in()["Location"] == "/welcome"


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2026-01-31", 1, "2026-02-28"),
        ("2024-01-31", 1, "2024-02-29"),
        ("2026-12-15", 1, "2027-01-15"),
        ("2026-11-30", 3, "2027-02-28"),
        ("2026-03-31", 12, "2027-03-31"),
    ],
)
def test_month_is_one_of_the_calendar(start: str, months: int, end: str) -> None:
    assert months_after(datetime.fromisoformat(start), months).isoformat()[:10] == end


# What is kept


@pytest.mark.parametrize("provider", PROVIDERS)
def test_nothing_of_a_profile_is_kept_but_its_name_and_address(
    provider: str, arrive: Arrive
) -> None:
    arrive(person(), provider)

    account = SocialAccount.objects.get()
    assert account.extra_data == {
        "login": "ada",
        "html_url": f"https://{provider}.com/ada",
    }
    assert not SocialToken.objects.exists()


def test_account_brings_its_welcome_credits_once_whatever_becomes_of_its_link(
    arrive: Arrive, site: Provider
) -> None:
    """Else: link, unlink, come back with another e-mail, fifty credits each time."""
    ada = arrive(person(id=7))
    site.chosen = person("ada@example.net", id=8)
    ada.sign_in("gitlab")
    SocialAccount.objects.get(provider="github").delete()
    SocialAccount.objects.get(provider="gitlab").delete()

    for again in (arrive(person("b@example.net", id=7)), arrive(_moved(), "gitlab")):
        user_id = int(again.session["_auth_user_id"])
        assert ledger.balance(user_id) == (0, 0)
        assert "50" not in again.get("/welcome").context["gift"].__str__()


def _moved() -> Person:
    return person("c@example.net", id=8)
