"""What a session is: server-side, in a safe cookie, seen and ended by its owner."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import timedelta
from subprocess import run
from sys import executable
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from accounts import browsers
from accounts.joining import join
from accounts.models import Session, User
from nijika import rates
from nijika.local.provider import Provider
from tests.accounts.signing_in.conftest import Browser, person, text_of

Arrive = Callable[..., Browser]
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


def test_session_lies_on_the_server_and_its_cookie_is_safe(arrive: Arrive) -> None:
    ada = arrive(person())

    cookie = ada.cookies["session"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
    row = Session.objects.get()
    assert (row.session_key, row.user) == (cookie.value, User.objects.get())


def test_cookies_are_secure_where_the_public_url_is_https() -> None:
    program = (
        "from nijika import settings as s;"
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SESSION_COOKIE_NAME)"
    )
    environment = {"NIJIKA_PUBLIC_URL": "https://nijika.example.com"}
    done = run(
        [executable, "-c", program],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["True", "True", "__Host-session"]


def test_development_sign_in_cannot_be_on_without_debug() -> None:
    environment = dict(os.environ) | {
        "NIJIKA_DEVELOPMENT_SIGN_IN": "http://127.0.0.1:1"
    }
    for debug in ("", "false"):
        done = run(
            [executable, "-c", "import nijika.settings"],
            env=environment | ({"NIJIKA_DEBUG": debug} if debug else {}),
            capture_output=True,
            text=True,
        )
        assert done.returncode != 0
        assert "needs NIJIKA_DEBUG=true" in done.stderr


def test_session_gets_a_new_key_when_somebody_signs_in(
    browser: Browser, site: Provider
) -> None:
    site.chosen = person()
    address = browser.begin()
    before = browser.cookies["session"].value

    browser.get(browser.consent(address))

    assert browser.cookies["session"].value != before
    assert not Session.objects.filter(pk=before).exists()


def test_sign_out_is_a_post_and_ends_the_session_on_the_server(arrive: Arrive) -> None:
    ada = arrive(person())
    copied = Client()
    copied.cookies["session"] = ada.cookies["session"].value

    assert ada.get("/sign-out").status_code == 405
    assert ada.is_signed_in()
    answer = ada.post("/sign-out")

    assert (answer.status_code, answer["Location"]) == (303, "/")
    assert not Session.objects.exists()
    assert copied.get("/welcome").status_code == 302


def test_sign_out_is_guarded_against_forgery(arrive: Arrive) -> None:
    ada = arrive(person())
    strict = Client(enforce_csrf_checks=True)
    strict.cookies["session"] = ada.cookies["session"].value

    assert strict.post("/sign-out").status_code == 403
    assert Session.objects.exists()


def test_sessions_are_listed_with_browser_address_and_way(
    arrive: Arrive, site: Provider
) -> None:
    ada = arrive(person(id=7))
    site.chosen = person(id=7)
    phone = Browser(headers={"user-agent": FIREFOX}, REMOTE_ADDR="192.0.2.7")
    phone.sign_in()

    listed = browsers.list_of(User.objects.get(), current=ada.session.session_key)

    assert [one.is_current for one in listed] == [True, False]
    other = listed[1]
    assert (other.agent, other.address, other.by) == (
        "Firefox on Linux",
        "192.0.2.7",
        "GitHub",
    )
    assert timezone.now() - other.signed_in_at < timedelta(minutes=1)


def test_session_by_a_password_is_listed_as_such(db: None) -> None:
    user = join("root@example.com", role=User.Role.ADMIN, password="a password")
    form = {"username": user.email, "password": "a password"}
    Client(headers={"user-agent": FIREFOX}).post("/admin/login/", form)

    [listed] = browsers.list_of(user, current=None)

    assert (listed.by, listed.agent) == ("password", "Firefox on Linux")


def test_session_ended_by_its_owner_is_over_at_once(arrive: Arrive) -> None:
    ada, phone = arrive(person(id=7)), arrive(person(id=7))
    [other] = [
        one
        for one in browsers.list_of(User.objects.get(), current=_key(ada))
        if not one.is_current
    ]
    assert _key(phone) not in other.id

    assert browsers.end(User.objects.get(), other.id)

    assert phone.get("/welcome").status_code == 302
    assert ada.get("/welcome").status_code == 200


def test_session_of_another_user_cannot_be_ended(arrive: Arrive) -> None:
    bob = arrive(person("bob@example.com"))
    arrive(person())
    ada = User.objects.get(email="ada@example.com")
    [of_bob] = browsers.list_of(User.objects.exclude(pk=ada.pk).get(), current=None)

    assert not browsers.end(ada, of_bob.id)

    assert bob.get("/welcome").status_code == 200


def test_all_other_sessions_end_together(arrive: Arrive) -> None:
    ada, *others = [arrive(person(id=7)) for _ in range(3)]

    browsers.end_others(User.objects.get(), current=_key(ada))

    assert ada.get("/welcome").status_code == 200
    assert {one.get("/welcome").status_code for one in others} == {302}


def test_session_in_use_lasts_longer_and_is_written_seldom(
    arrive: Arrive, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = arrive(person())
    first = Session.objects.get().expire_date
    ada.get("/welcome")
    assert Session.objects.get().expire_date == first

    monkeypatch.setattr(browsers, "TOUCH_S", 0)
    ada.get("/welcome")

    assert Session.objects.get().expire_date > first


def test_session_nobody_has_signed_in_to_ends_within_the_hour(browser: Browser) -> None:
    browser.begin()

    left = Session.objects.get().expire_date - timezone.now()
    assert left <= timedelta(hours=1)


def test_sessions_that_are_over_are_swept(browser: Browser, site: Provider) -> None:
    site.chosen = person()
    Session.objects.create(
        session_key="old", session_data="", expire_date=timezone.now()
    )

    browser.sign_in()

    assert not Session.objects.filter(pk="old").exists()


def test_session_that_is_over_lets_nobody_in(arrive: Arrive) -> None:
    ada = arrive(person())
    Session.objects.update(expire_date=timezone.now())

    assert ada.get("/welcome").status_code == 302


# next=


@pytest.mark.parametrize("goal", ["/playground", "/jobs?status=failed"])
def test_next_leads_on_after_signing_in(
    goal: str, browser: Browser, site: Provider
) -> None:
    join("ada@example.com")
    site.chosen = person()

    assert browser.sign_in(next_url=goal)["Location"] == goal
    assert browser.get("/sign-in", {"next": goal})["Location"] == goal


@pytest.mark.parametrize(
    "goal",
    [
        "https://evil.example.com/",
        "//evil.example.com/",
        "/\\evil.example.com",
        "\\\\evil.example.com",
        "/\t/evil.example.com",
        "javascript:alert(1)",
        "evil",
        "http:evil.example.com",
        "/sign-out",
        "/sign-in?next=/sign-in",
    ],
)
def test_next_stays_on_this_host(goal: str, browser: Browser, site: Provider) -> None:
    join("ada@example.com")
    site.chosen = person()

    assert browser.sign_in(next_url=goal)["Location"] == "/dashboard"
    assert browser.get("/sign-in", {"next": goal})["Location"] == "/dashboard"


def test_newcomers_next_waits_on_the_welcome_page(
    browser: Browser, site: Provider
) -> None:
    site.chosen = person()

    answer = browser.sign_in(next_url="/jobs?status=failed")

    assert answer["Location"] == "/welcome?next=%2Fjobs%3Fstatus%3Dfailed"
    page = browser.get(answer["Location"])
    assert 'href="/jobs?status=failed"' in text_of(page)


def test_key_for_one_user_is_not_shown_to_the_next(
    browser: Browser, site: Provider
) -> None:
    site.chosen = person()
    browser.sign_in()
    browser.post("/sign-out")
    site.chosen = person("bob@example.com")
    join("bob@example.com")
    browser.sign_in()

    assert browser.get("/welcome").context["secret"] == ""


# How often


def test_sign_in_is_rate_limited_for_its_address(
    site: Provider, db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "PREFIX", f"nijika:rate:{uuid4().hex}:")
    settings.RATE_LIMITS, settings.RATE_SIGN_IN = True, "3/h:3"
    here, there = Browser(), Browser(REMOTE_ADDR="192.0.2.7")

    tries = [here.post("/auth/github").status_code for _ in range(2)]
    tries += [here.get("/auth/github/callback").status_code]
    late = [
        here.post("/auth/gitlab"),
        here.get("/auth/github/callback"),
        here.post("/admin/login/", {"username": "a", "password": "b"}),
    ]

    assert tries == [303, 303, 400]
    assert [answer.status_code for answer in late] == [429, 429, 429]
    assert int(late[0]["Retry-After"]) > 600
    assert late[0]["Content-Type"].startswith("text/html")
    assert here.get("/sign-in").status_code == 200
    assert there.post("/auth/github").status_code == 303


def _key(browser: Browser) -> str:
    key: str = browser.cookies["session"].value
    return key


def test_last_use_is_told(arrive: Arrive) -> None:
    arrive(person())
    [one] = browsers.list_of(User.objects.get(), current=None)

    assert abs(one.seen_at.timestamp() - time.time()) < 60
