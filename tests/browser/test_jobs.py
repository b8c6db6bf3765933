"""Jobs in a browser: they change while one looks, end when one says so, run again."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.people import PATIENCE_MS, PHONE, Person

expect.set_options(timeout=PATIENCE_MS)


def slow_job(somebody: Person, seconds: int) -> str:
    """A sandbox job of theirs that takes so long."""
    prompt = f"a fox __delay_{seconds}s__"
    key = somebody.key(test=True)
    return somebody.home.accepted("generate", key=key, prompt=prompt)


def test_a_job_ends_before_ones_eyes(somebody: Person) -> None:
    page = somebody.visit(f"/jobs/{slow_job(somebody, 2)}")
    expect(page.get_by_label("Progress")).to_be_visible()
    expect(page.locator("h1 + .badge")).to_have_text("succeeded")
    expect(page.get_by_alt_text("The result")).to_be_visible()
    expect(page.locator(".timeline li").last).to_contain_text("Done")
    somebody.check_accessible()


def test_the_list_follows_too(somebody: Person) -> None:
    slow_job(somebody, 2)
    page = somebody.visit("/jobs?mode=test")
    expect(page.locator("td .badge")).to_have_text("succeeded")


def test_the_question_stays_on_a_phones_screen(meet: Callable[..., Person]) -> None:
    somebody = meet(screen=PHONE)
    page = somebody.visit(f"/jobs/{slow_job(somebody, 30)}")
    page.get_by_text("Cancel…").click()
    button = page.get_by_role("button", name="Cancel the job")
    box = button.bounding_box()
    assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE[0]
    button.click()
    expect(page.locator("h1 + .badge")).to_have_text("cancelled")


def test_cancelling_asks_first(somebody: Person) -> None:
    page = somebody.visit(f"/jobs/{slow_job(somebody, 30)}")
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("h1 + .badge")).to_have_text("cancelled")
    page.get_by_role("button", name="Run again").click()
    expect(page.locator("h1 + .badge")).not_to_have_text("cancelled")
    expect(page.get_by_text("Repeats")).to_be_visible()
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("h1 + .badge")).to_have_text("cancelled")
