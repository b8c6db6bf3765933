"""What holds for each page: nothing serious for axe, no violated policy (the fixtures
see to that), no page wider than the screen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from tests.browser.people import DESKTOP, PHONE, Person, done, session_of
from tests.browser.test_playground import PHOTO
from tests.flows.house import House

PAGES = [
    *("/dashboard", "/playground", "/jobs", "/webhooks", "/webhooks/secret"),
    *("/credits", "/prices", "/keys", "/account", "/account/delete", "/no-such-place"),
]
LONG = "https://example.com/" + "x" * 200
ROWS = [
    ("/jobs", "a.row-link"),
    ("/webhooks", "a.row-link[href*=deliveries]"),
    ("/webhooks", "a.row-link:not([href*=deliveries])"),
    ("/keys", "summary.danger"),
]
WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"


@pytest.fixture(scope="package")
def busy(home: House) -> str:
    """The e-mail of somebody whose pages are full, also of words without an end."""
    email = "busy@example.org"
    session_of(home, email)
    key = home.stack.manage("create_key", email, "--name", "x" * 100)
    for operation in ("removebg", "canny"):
        done(home, home.accepted(operation, PHOTO, key=key), key)
    url, headers = f"{home.stack.url}/api/v1", {"X-API-Key": key}
    hook = {"url": LONG, "events": ["job.succeeded"], "description": "x" * 200}
    made = requests.post(
        f"{url}/webhook-endpoints", json=hook, headers=headers, timeout=9
    )
    requests.post(f"{url}/webhook-endpoints/{made.json()['id']}/ping", headers=headers)
    return email


@pytest.mark.parametrize(
    ("theme", "screen"),
    [("light", DESKTOP), ("dark", DESKTOP), ("light", PHONE), ("dark", PHONE)],
    ids=["light", "dark", "phone", "phone-dark"],
)
def test_every_page_is_accessible_and_fits(
    meet: Callable[..., Person], busy: str, theme: str, screen: tuple[int, int]
) -> None:
    person = meet(email=busy, theme=theme, screen=screen)
    for path in PAGES:
        page = person.visit(path)
        person.check_accessible()
        wide, room = page.evaluate(WIDTHS)
        assert wide <= room, (path, wide, room)
    for path, link in ROWS:
        person.visit(path).locator(link).first.click()
        person.check_accessible()
        wide, room = person.page.evaluate(WIDTHS)
        assert wide <= room, (link, wide, room)


def test_the_front_page_is_accessible(meet: Callable[..., Person]) -> None:
    person = meet(signed_in=False)
    person.visit("/")
    person.check_accessible()


def test_times_are_told_in_the_readers_zone(
    meet: Callable[..., Person], busy: str
) -> None:
    page = meet(email=busy).visit("/jobs")
    time = page.locator("td time").first
    assert "ago" in time.inner_text() or time.inner_text() == "just now"
    assert "CET" in (time.get_attribute("title") or "") or "GMT+" in (
        time.get_attribute("title") or ""
    )


def test_the_theme_can_be_switched_and_stays(somebody: Person) -> None:
    page = somebody.visit("/dashboard")
    page.get_by_role("button", name="Switch between light and dark").click()
    page = somebody.visit("/jobs")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_menu_opens_on_a_phone(meet: Callable[..., Person]) -> None:
    page = meet(screen=PHONE).visit("/dashboard")
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Credits", exact=True).click()
    assert page.url.endswith("/credits")


def test_the_statement_is_exported(meet: Callable[..., Person], busy: str) -> None:
    page = meet(email=busy).visit("/credits")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Export as CSV").click()
    lines = downloading.value.path().read_text().splitlines()
    assert lines[0].startswith("id,time (UTC),kind,amount")
    assert len(lines) == 1 + 1 + 2 * 2  # the welcome, and two jobs held and settled
