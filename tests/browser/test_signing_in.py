"""Signing in, the first key, one's keys and account, in a real Chromium."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from nijika.local.provider import Provider
from tests.browser import people
from tests.browser.people import Person
from tests.flows.house import House

Meet = Callable[..., Person]
PNG = b"\x89PNG\r\n\x1a\n"


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def status_with(home: House, secret: str) -> int:
    return home.call("GET", "/api/v1/account", key=secret).status


def test_newcomer_signs_in_and_the_line_they_are_shown_cuts_a_photo_out(
    meet: Meet, tmp_path: Path
) -> None:
    visitor = meet(signed_in=False)
    page = visitor.visit("/account")
    expect(page).to_have_url(f"{visitor.home.stack.url}/sign-in?next=/account")
    visitor.check_accessible()

    press(page, "Continue with GitHub")
    press(page, "newcomer")

    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome to nijika")
    expect(page.locator("main")).to_contain_text("50.00 credits")
    visitor.check_accessible()
    line = page.locator("#curl").inner_text()
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "cutout.png").read_bytes().startswith(PNG)

    secret = page.locator("#key").inner_text()
    page.reload()
    assert secret not in page.content()
    page.get_by_role("link", name="Go on where you were").click()
    expect(page).to_have_url(f"{visitor.home.stack.url}/account")


def test_key_is_made_used_and_revoked(meet: Meet) -> None:
    owner = meet(theme="dark")
    page = owner.visit("/keys")
    expect(page.locator("main")).to_contain_text("No key works at the moment")
    owner.check_accessible()

    page.get_by_label("Name").fill("shop server")
    page.get_by_label("Expires").select_option("In 90 days")
    press(page, "Make the key")
    secret = page.locator("#secret").inner_text()
    assert status_with(owner.home, secret) == 200
    page.reload()
    assert secret not in page.content()
    expect(page.locator(".key")).to_contain_text("last used")

    page.get_by_text("Revoke…").click()
    owner.check_accessible()
    press(page, "Revoke this key")

    expect(page.locator("main")).to_contain_text("shop server is revoked")
    page.wait_for_timeout(1100)
    assert status_with(owner.home, secret) == 401


def test_what_asks_back_stays_on_a_phones_screen(meet: Meet) -> None:
    owner = meet(screen=people.PHONE)
    owner.key()
    page = owner.visit("/keys")

    page.get_by_text("Revoke…").click()

    box = page.get_by_role("button", name="Revoke this key").bounding_box()
    width, _ = people.PHONE
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    owner.check_accessible()


def test_second_way_in_is_linked_and_unlinked(meet: Meet) -> None:
    visitor = meet(signed_in=False)
    page = visitor.visit("/sign-in?next=/account")
    press(page, "Continue with GitHub")
    press(page, "newcomer")
    page.get_by_role("link", name="Go on where you were").click()

    press(page, "Link a GitLab account")
    press(page, "newcomer")
    expect(page.locator("main")).to_contain_text("Your GitLab account is now linked")
    visitor.check_accessible()
    page.get_by_text("Unlink…").first.click()
    page.get_by_role("button", name="Unlink", exact=True).first.click()

    expect(page.locator("main")).to_contain_text("Your GitHub account is unlinked")
    expect(page.locator("main")).to_contain_text("Your only way in, so it stays.")
    expect(page.get_by_text("Unlink…")).to_have_count(0)


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("yuna-young", "It will be old enough on"),
        ("una-unverified", "has verified no e-mail address"),
        ("Nobody", "nothing was changed"),
    ],
)
def test_who_is_not_let_in_reads_why(who: str, words: str, meet: Meet) -> None:
    visitor = meet(signed_in=False)
    page = visitor.visit("/sign-in")
    press(page, "Continue with GitLab")
    press(page, who)

    expect(page.locator("main")).to_contain_text(words)
    visitor.check_accessible()


def test_suspended_user_is_shut_out_and_told_so(meet: Meet, provider: Provider) -> None:
    visitor = meet(signed_in=False)
    page = visitor.visit("/sign-in")
    press(page, "Continue with GitHub")
    button = page.get_by_role("button", name="newcomer")
    login = button.get_attribute("value") or ""
    button.click()
    secret = page.locator("#key").inner_text()
    suspend = "UPDATE accounts_user SET suspended_at = %s WHERE email = %s"
    visitor.home.sql(suspend, datetime.now(UTC), f"{login}@example.org")

    visitor.visit("/account")
    expect(page).to_have_url(f"{visitor.home.stack.url}/sign-in?next=/account")
    provider.chosen = provider.people[login]
    try:
        press(page, "Continue with GitHub")
    finally:
        provider.chosen = None

    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Your account is suspended"
    )
    visitor.check_accessible()
    page.wait_for_timeout(1100)
    assert status_with(visitor.home, secret) == 403


def test_account_is_exported_and_deleted(meet: Meet) -> None:
    owner = meet()
    secret = owner.key()
    page = owner.visit("/account")
    owner.check_accessible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export my data").click()
    exported: Any = json.loads(Path(download.value.path()).read_text())
    assert exported["account"]["email"] == owner.email

    page.get_by_role("link", name="Delete my account…").click()
    owner.check_accessible()
    page.get_by_label("to go on").fill(owner.email)
    press(page, "Delete my account for good")

    expect(page.get_by_role("heading", level=1)).to_have_text("Your account is deleted")
    owner.visit("/account")
    expect(page).to_have_url(f"{owner.home.stack.url}/sign-in?next=/account")
    page.wait_for_timeout(1100)
    assert status_with(owner.home, secret) == 401
