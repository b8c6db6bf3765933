"""What can go wrong between a browser, the provider and us, by accident or intent."""

from __future__ import annotations

import base64
import hashlib
import logging
import threading
import time
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.provider import GitHubAdapter
from nijika.local.provider import Provider
from nijika.local.servers import free_port
from tests.accounts.signing_in.conftest import (
    Browser,
    field,
    person,
    text_of,
    with_field,
)

PROVIDERS = ["github", "gitlab"]
PROFILES = ["/api/v3/user", "/api/v3/user/emails", "/api/v4/user"]
TOKENS = ["/login/oauth/access_token", "/oauth/token"]
NOT_BEGUN = "was not begun in this browser"
TROUBLE = "did not answer as it should"


@pytest.fixture(autouse=True)
def someone(site: Provider) -> None:
    site.chosen = person()


def refused(answer: Any, status: int, words: str) -> bool:
    """Nobody has come in, and the page says why."""
    assert not User.objects.exists()
    assert (answer.status_code, words in text_of(answer)) == (status, True)
    return "_auth_user_id" not in answer.client.session


# What is asked of the provider


@pytest.mark.parametrize(
    ("provider", "scope"), [("github", "read:user user:email"), ("gitlab", "read_user")]
)
def test_provider_is_asked_for_no_more_than_is_needed(
    provider: str, scope: str, browser: Browser
) -> None:
    address = browser.begin(provider)

    assert sorted(field(address, "scope").split()) == scope.split()
    assert field(address, "response_type") == "code"
    assert len(field(address, "state")) >= 16
    assert field(address, "code_challenge_method") == "S256"


def test_way_back_is_the_public_url_whatever_the_host_header_says(
    browser: Browser, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://nijika.example.com"
    answer = browser.post("/auth/github", headers={"Host": "evil.example.com"})

    back = field(answer["Location"], "redirect_uri")
    assert back == "https://nijika.example.com/auth/github/callback"


def test_github_is_asked_at_its_api_host_and_enterprise_at_its_own(
    settings: Any,
) -> None:
    settings.GITHUB_URL = "https://github.com"
    adapter = GitHubAdapter(None)
    assert adapter.api_url == "https://api.github.com"
    assert adapter.authorize_url == "https://github.com/login/oauth/authorize"

    settings.GITHUB_URL = "https://git.example.com"
    assert adapter.api_url == "https://git.example.com/api/v3"


def test_client_cannot_add_scopes_or_parameters(browser: Browser) -> None:
    query = "?scope=repo&auth_params=prompt%3Dnone&process=connect"
    answer = browser.post(f"/auth/github{query}")

    assert "repo" not in answer["Location"] and "prompt" not in answer["Location"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_tokens_travel_in_headers_only(
    provider: str, browser: Browser, site: Provider
) -> None:
    browser.sign_in(provider)

    read = [fields for path, fields in site.asked if path in PROFILES]
    assert read and not any("token" in name for fields in read for name in fields)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_code_is_exchanged_with_the_verifier_of_its_challenge(
    provider: str, browser: Browser, site: Provider
) -> None:
    address = browser.begin(provider)
    browser.get(browser.consent(address))

    [sent] = [fields for path, fields in site.asked if path in TOKENS]
    digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert challenge == field(address, "code_challenge")


# State


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("state", ["", "0123456789abcdef"])
def test_missing_or_invented_state_is_refused_and_the_code_not_used(
    provider: str, state: str, browser: Browser, site: Provider
) -> None:
    back = browser.consent(browser.begin(provider))

    answer = browser.get(with_field(back, "state", state))

    assert refused(answer, 400, NOT_BEGUN)
    assert not any(path in TOKENS for path, _ in site.asked)


def test_callback_out_of_nowhere_is_refused(browser: Browser) -> None:
    assert refused(browser.get("/auth/github/callback"), 400, NOT_BEGUN)
    assert refused(browser.get("/auth/github/callback?code=x&state="), 400, NOT_BEGUN)


def test_state_of_another_session_is_refused(
    browser: Browser, another_browser: Browser
) -> None:
    """Else: an attacker begins, and lets the victim end it, in the attacker's name."""
    another_browser.begin()
    back = browser.consent(browser.begin())

    assert refused(another_browser.get(back), 400, NOT_BEGUN)
    assert refused(Browser().get(back), 400, NOT_BEGUN)


def test_state_of_one_provider_is_none_of_the_others(browser: Browser) -> None:
    back = browser.consent(browser.begin("github"))

    answer = browser.get(back.replace("github", "gitlab"))

    assert refused(answer, 400, NOT_BEGUN)


def test_callback_seen_twice_is_refused_the_second_time(browser: Browser) -> None:
    back = browser.consent(browser.begin())
    browser.get(back)
    browser.post("/sign-out")

    answer = browser.get(back)

    assert (answer.status_code, NOT_BEGUN in text_of(answer)) == (400, True)
    assert not browser.is_signed_in()


# Codes


@pytest.mark.parametrize("provider", PROVIDERS)
def test_code_replayed_under_a_new_state_is_refused(
    provider: str, browser: Browser, another_browser: Browser
) -> None:
    back = browser.consent(browser.begin(provider))
    browser.get(back)
    fresh = another_browser.consent(another_browser.begin(provider))

    answer = another_browser.get(with_field(fresh, "code", field(back, "code")))

    assert (answer.status_code, TROUBLE in text_of(answer)) == (502, True)
    assert not another_browser.is_signed_in()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_stolen_code_is_of_no_use_in_another_session(
    provider: str, browser: Browser, another_browser: Browser
) -> None:
    """PKCE: the thief has a state of their own, but not the verifier of this code."""
    stolen = field(browser.consent(browser.begin(provider)), "code")
    fresh = another_browser.consent(another_browser.begin(provider))

    answer = another_browser.get(with_field(fresh, "code", stolen))

    assert refused(answer, 502, TROUBLE)


# Trouble at the provider


@pytest.mark.parametrize("provider", PROVIDERS)
def test_person_who_says_no_is_told_that_nothing_happened(
    provider: str, browser: Browser, site: Provider
) -> None:
    site.denies = True

    answer = browser.sign_in(provider)

    assert refused(answer, 200, "nothing was changed")


def test_error_of_the_provider_is_a_page_without_its_words(browser: Browser) -> None:
    back = browser.consent(browser.begin())
    words = "error=server_error&error_description=<script>alert(1)</script>"

    answer = browser.get(f"{back}&{words}")

    assert refused(answer, 502, TROUBLE)
    assert "alert" not in text_of(answer)


@pytest.mark.parametrize("path", [*PROFILES, *TOKENS])
def test_provider_that_breaks_half_way_is_a_page_without_its_words(
    path: str, browser: Browser, site: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    site.broken.add(path)
    provider = "github" if "v3" in path or "access" in path else "gitlab"

    with caplog.at_level(logging.WARNING, "accounts"):
        answer = browser.sign_in(provider)

    assert refused(answer, 502, TROUBLE)
    assert "secret" not in text_of(answer)
    assert "signing in with Git" in caplog.text


@pytest.mark.parametrize("provider", PROVIDERS)
def test_provider_that_is_down_is_a_page_and_the_next_try_works(
    provider: str, browser: Browser, site: Provider, settings: Any
) -> None:
    back = browser.consent(browser.begin(provider))
    up = settings.GITHUB_URL
    settings.GITHUB_URL = settings.GITLAB_URL = f"http://127.0.0.1:{free_port()}"

    assert refused(browser.get(back), 502, TROUBLE)

    settings.GITHUB_URL = settings.GITLAB_URL = up
    assert browser.sign_in(provider)["Location"] == "/welcome"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/v3/user", []),
        ("/api/v3/user", {"login": "ada"}),
        ("/api/v3/user", {"id": True, "login": "ada"}),
        ("/api/v3/user", {"id": "", "login": "ada"}),
        ("/api/v3/user/emails", {"message": "no"}),
        ("/login/oauth/access_token", {}),
        ("/login/oauth/access_token", {"access_token": "never given"}),
    ],
)
def test_provider_that_talks_nonsense_lets_nobody_in(
    path: str, said: Any, browser: Browser, site: Provider
) -> None:
    site.answers[path] = said

    assert refused(browser.sign_in(), 502, TROUBLE)


def test_addresses_in_no_form_count_for_nothing(
    browser: Browser, site: Provider
) -> None:
    odd = [None, "a", {}, {"email": 5}, {"email": "a@b.example", "verified": "yes"}]
    site.answers["/api/v3/user/emails"] = odd

    assert refused(browser.sign_in(), 403, "has verified no e-mail address")


def test_provider_that_hangs_holds_half_of_the_threads_at_most(
    site: Provider, transactional_db: None
) -> None:
    """The others serve everybody else; who comes meanwhile reloads the page."""
    people = [Browser() for _ in range(3)]
    ways = [one.consent(one.begin()) for one in people]
    site.answering.clear()
    waiting = [
        threading.Thread(target=_visit, args=pair)
        for pair in list(zip(people, ways, strict=True))[:2]
    ]
    for thread in waiting:
        thread.start()
    while sum(path in TOKENS for path, _ in site.asked) < 2:
        time.sleep(0.01)

    late = people[2].get(ways[2])
    site.answering.set()
    for thread in waiting:
        thread.join()

    assert (late.status_code, late["Retry-After"]) == (503, "2")
    assert people[2].get(ways[2]).status_code == 303
    assert {one.is_signed_in() for one in people} == {True}


def _visit(browser: Browser, way: str) -> None:
    browser.get(way)
    connection.close()


# What this installation offers


def test_provider_without_an_id_is_not_offered(browser: Browser, settings: Any) -> None:
    settings.GITLAB_CLIENT_ID = ""

    assert "GitLab" not in text_of(browser.get("/sign-in"))
    assert browser.post("/auth/gitlab").status_code == 404
    assert browser.get("/auth/gitlab/callback").status_code == 404


def test_sign_in_is_begun_by_a_form_of_ours_only(browser: Browser) -> None:
    strict = Client(enforce_csrf_checks=True)

    assert strict.post("/auth/github").status_code == 403
    assert browser.get("/auth/github")["Location"] == "/sign-in"
