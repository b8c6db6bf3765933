"""A house, a browser, and people in front of it.

Sessions are made by hand except where signing in is what a test is about. Whatever a
test does, no page may break our own policy, and no script may fail.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from nijika.local.provider import Provider
from tests.browser import people
from tests.browser.people import Person
from tests.flows.house import House, house

SETTINGS = {
    "NIJIKA_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
    "NIJIKA_CHOOSABLE_ENGINES": "edit/google",
}


@pytest.fixture(scope="package")
def provider() -> Iterator[Provider]:
    """What GitHub and GitLab are to the house; `chosen` there answers at once."""
    with Provider() as running:
        yield running


@pytest.fixture(scope="package")
def home(provider: Provider) -> Iterator[House]:
    settings = SETTINGS | {
        f"NIJIKA_{name}_{what}": value
        for name in ("GITHUB", "GITLAB")
        for what, value in {
            "URL": provider.url,
            "CLIENT_ID": "development",
            "CLIENT_SECRET": "development",
        }.items()
    }
    with (
        tempfile.TemporaryDirectory(prefix="nijika-pages-") as folder,
        house(Path(folder), settings=settings) as built,
    ):
        yield built
        people.dismiss(built)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        if not people.is_there(playwright):
            pytest.skip("needs Chromium: `playwright install chromium`")
        with people.chromium(playwright) as started:
            yield started


@pytest.fixture
def meet(home: House, browser: Browser) -> Iterator[Callable[..., Person]]:
    """Let somebody sit down: `meet(credits="5", screen=people.PHONE, theme="dark")`."""
    met: list[Person] = []
    with ExitStack() as leaving:

        def sit_down(**wishes: Any) -> Person:
            one = leaving.enter_context(people.person(home, browser, **wishes))
            met.append(one)
            return one

        yield sit_down
        complaints = [text for one in met for text in one.complaints]
        assert not complaints, complaints


@pytest.fixture
def somebody(meet: Callable[..., Person]) -> Person:
    """A signed-in person with 50 credits."""
    return meet()
