"""An endpoint whose receiver fails first, and then works."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.people import PATIENCE_MS, Person
from tests.jobs.webhooks.receiving import receiver, status

expect.set_options(timeout=PATIENCE_MS)


def test_a_failing_receiver_is_seen_and_sent_to_again(somebody: Person) -> None:
    with receiver(status(500, b"database is down")) as server:
        page = somebody.visit("/webhooks")
        page.get_by_label("Address").fill(server.url)
        page.get_by_role("button", name="Add the endpoint").click()
        page.get_by_role("button", name="Send a test event").click()
        page.get_by_role("link", name="ping").click()
        expect(page.get_by_text("500", exact=True).first).to_be_visible()
        page.get_by_text("What it said").first.click()
        expect(page.get_by_text("database is down").first).to_be_visible()
        somebody.check_accessible()

        server.behave = status(200)
        page.get_by_role("button", name="Send again").click()
        _until_delivered(page)
        assert len({hook.id for hook in server.hooks}) == 1


def test_an_address_that_leads_inside_is_refused_in_words(somebody: Person) -> None:
    page = somebody.visit("/webhooks")
    page.get_by_label("Address").fill("http://10.0.0.1/hook")
    page.get_by_role("button", name="Add the endpoint").click()
    expect(page.get_by_text("This address is not allowed")).to_be_visible()
    expect(page.get_by_label("Address")).to_have_value("http://10.0.0.1/hook")


def test_the_secret_is_shown_and_changed(somebody: Person) -> None:
    page = somebody.visit("/webhooks")
    page.get_by_label("Address").fill("https://example.com/hook")
    page.get_by_role("button", name="Add the endpoint").click()
    page.get_by_text("Show the secret").click()
    before = page.inner_text("#secret")
    assert before.startswith("whsec_")
    page.get_by_text("New secret…").click()
    page.get_by_role("button", name="Make a new secret").click()
    page.get_by_text("Show the secret").click()
    assert page.inner_text("#secret") != before


def _until_delivered(page) -> None:  # type: ignore[no-untyped-def]
    for _ in range(40):
        if page.locator("h1 + .badge").inner_text() == "delivered":
            return
        page.wait_for_timeout(250)
        page.reload()
    raise AssertionError(page.inner_text("main"))
