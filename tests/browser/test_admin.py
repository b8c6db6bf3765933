"""The admin in a browser: what staff does there, and what its people see of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import DESKTOP, PHONE, Person
from tests.flows.house import House

LISTS = [
    "jobs/job",
    "accounts/user",
    "billing/entry",
    "jobs/batch",
    "staff/action",
]
WIDTHS = "[document.documentElement.scrollWidth, window.innerWidth]"


def user_page(home: House, boss: Person, email: str) -> Page:
    [[user_id]] = home.sql("SELECT id FROM accounts_user WHERE email = %s", email)
    return boss.visit(f"/admin/accounts/user/{user_id}/change/")


def test_credits_given_in_the_admin_are_on_the_dashboard(
    home: House, meet: Callable[..., Person]
) -> None:
    owner, boss = meet(credits="7"), meet(role="admin")
    page = user_page(home, boss, owner.email)
    page.get_by_role("link", name="Give or take credits").click()
    page.get_by_label("Credits").fill("12.5")
    boss.check_accessible()
    page.get_by_label("Reason").fill("for the bug report")
    page.get_by_role("button", name="Give or take credits").click()
    expect(page.get_by_text("12.5 credits given to")).to_be_visible()
    expect(
        page.locator(".staff-table").get_by_text("for the bug report")
    ).to_have_count(
        2  # in the statement, and in what staff did
    )
    expect(owner.visit("/dashboard").get_by_text("19.5").first).to_be_visible()


def test_user_suspended_by_a_moderator_is_out(
    home: House, meet: Callable[..., Person]
) -> None:
    owner, helper = meet(), meet(role="moderator")
    key = owner.key()
    expect(owner.visit("/dashboard").get_by_role("heading", level=1)).to_be_visible()
    page = user_page(home, helper, owner.email)
    expect(page.get_by_role("link", name="Give or take credits")).to_have_count(0)
    page.get_by_role("link", name="Suspend").click()
    page.get_by_label("Reason").fill("spam")
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("suspended since")).to_be_visible()
    owner.visit("/dashboard")
    assert "/dashboard" not in owner.page.url.partition("?")[0]
    home_answer = home.call("GET", "/api/v1/account", key=key)
    assert home_answer.status == 403


@pytest.mark.parametrize(
    ("theme", "screen", "lists"),
    [
        ("light", DESKTOP, LISTS),
        ("dark", DESKTOP, LISTS[:1]),
        ("light", PHONE, LISTS[:1]),
    ],
    ids=["light", "dark", "phone"],
)
def test_pages_of_the_admin_are_accessible_and_fit(
    home: House,
    meet: Callable[..., Person],
    theme: str,
    screen: tuple[int, int],
    lists: list[str],
) -> None:
    boss = meet(role="admin", theme=theme, screen=screen)
    user_page(home, boss, boss.email)
    for path in ("", "live/", *(f"{name}/" for name in lists)):
        page = boss.visit(f"/admin/{path}") if path else boss.page
        boss.check_accessible()
        wide, room = page.evaluate(WIDTHS)
        assert wide <= room, (path, wide, room)
    boss.visit("/admin/")
    boss.check_accessible()


def test_live_page_looks_again_by_itself(meet: Callable[..., Person]) -> None:
    page = meet(role="admin").visit("/admin/live/")
    expect(page.get_by_text("idle").first).to_be_visible()
    with page.expect_response(lambda answer: "/admin/live/" in answer.url) as seen:
        pass  # it asks within two seconds
    assert seen.value.status == 200 and seen.value.request.headers["hx-request"]


def test_search_field_leads_to_a_user(home: House, meet: Callable[..., Person]) -> None:
    owner, boss = meet(), meet(role="admin")
    page = boss.visit("/admin/")
    page.keyboard.press("Control+k")
    field = page.locator("#search-input-command")
    expect(field).to_be_focused()
    field.press_sequentially(owner.email)
    page.get_by_role("link", name=owner.email).click()
    expect(page.get_by_role("link", name="Change role")).to_be_visible()


def test_customer_is_shown_out(somebody: Person) -> None:
    page = somebody.visit("/admin/")
    assert "/admin/login/" in page.url
