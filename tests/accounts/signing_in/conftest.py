"""People, their browsers, and a provider that speaks the real protocol over HTTP."""

from __future__ import annotations

import http.client
import itertools
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.http import HttpResponseBase
from django.test import Client

from nijika.local.people import Email, Person
from nijika.local.provider import Provider

_ids = itertools.count(1000)


class Browser(Client):
    """A browser of the site that also goes to the provider and comes back."""

    def begin(self, provider: str = "github", next_url: str = "") -> str:
        """Press the button; the provider's address that this leads to."""
        answer = self.post(f"/auth/{provider}", {"next": next_url})
        assert answer.status_code == 303, answer.content
        return answer["Location"]

    def consent(self, address: str) -> str:
        """Ask at the provider; the path that it sends back to."""
        location = get(address).headers["Location"]
        parts = urlsplit(location)
        return f"{parts.path}?{parts.query}"

    def sign_in(self, provider: str = "github", next_url: str = "") -> Any:
        return self.get(self.consent(self.begin(provider, next_url)))

    def is_signed_in(self) -> bool:
        return "_auth_user_id" in self.session


class Reply:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = answer.status, answer.headers, b""
        self.body = answer.read()


def get(address: str) -> Reply:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        return Reply(connection.getresponse())
    finally:
        connection.close()


def person(email: str = "ada@example.com", **rest: Any) -> Person:
    """Somebody at the provider, with this one address unless `emails` are given."""
    rest.setdefault("emails", (Email(address=email),))
    rest.setdefault("login", "ada")
    rest.setdefault("id", next(_ids))
    return Person(**rest)


def field(address: str, name: str) -> str:
    return parse_qs(urlsplit(address).query)[name][0]


def with_field(address: str, name: str, value: str) -> str:
    """The same address with another value of this field; without it for ''."""
    parts = urlsplit(address)
    fields = {k: v[0] for k, v in parse_qs(parts.query).items()} | {name: value}
    query = urlencode({k: v for k, v in fields.items() if v})
    return parts._replace(query=query).geturl()


def text_of(answer: HttpResponseBase) -> str:
    return " ".join(answer.content.decode().split())  # type: ignore[attr-defined]


@pytest.fixture(scope="package")
def _site() -> Iterator[Provider]:
    with Provider() as running:
        yield running


@pytest.fixture
def site(_site: Provider, settings: Any) -> Provider:
    """GitHub and GitLab, each time as if nothing had happened there."""
    _site.chosen, _site.denies = None, False
    _site.answering.set()
    _site.broken.clear(), _site.answers.clear(), _site.asked.clear()
    for name in ("GITHUB", "GITLAB"):
        setattr(settings, f"{name}_URL", _site.url)
        setattr(settings, f"{name}_CLIENT_ID", "development")
        setattr(settings, f"{name}_CLIENT_SECRET", "development")
    return _site


@pytest.fixture
def browser(site: Provider, db: None) -> Browser:
    return Browser()


@pytest.fixture
def another_browser(site: Provider, db: None) -> Browser:
    return Browser()


@pytest.fixture
def arrive(site: Provider, db: None) -> Callable[..., Browser]:
    """Sign a person in, in a browser of their own."""

    def do(who: Person, provider: str = "github") -> Browser:
        site.chosen = who
        fresh = Browser()
        answer = fresh.sign_in(provider)
        assert fresh.is_signed_in(), answer.content
        return fresh

    return do
