"""`make screenshots`: the README's pictures of the pages, taken of the real thing.

A house of its own, one account that has done some work, Chromium; the pictures go to
docs/screenshots as WebP. Its days are invented (jobs are moved into the past), nothing
else is.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser import people
from tests.browser.people import DESKTOP, PHONE, Person, done
from tests.flows.house import ROOT, House, house

FOLDER = ROOT / "docs" / "screenshots"
SAMPLES = ROOT / "jobs" / "static" / "jobs" / "samples"
EMAIL = "ada@example.org"
QUALITY = 88
SETTLE_MS = 400

WORK: list[tuple[str, str, dict[str, Any]]] = [
    ("white-balance", "bedroom", {}),
    ("upscale", "kettle", {"scale": 2}),
    ("removebg", "truck", {"bg_color": "f2a33a"}),
    ("smart-mask", "kettle", {"auto": True}),
    ("resize", "lemur", {"width": 320}),
    ("removebg", "kettle", {"crop": True}),
    ("upscale", "lemur", {"scale": 2}),
    ("removebg", "lemur", {}),
]
PAST = """
WITH ranked AS (
    SELECT id, row_number() OVER (ORDER BY id DESC) AS place FROM jobs_job
)
UPDATE jobs_job AS job SET created_at = job.created_at - shift
FROM (SELECT id, (place - 1) * interval '67 hours' AS shift FROM ranked) AS moved
WHERE moved.id = job.id
"""


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="nijika-pictures-") as folder,
        house(Path(folder), settings={"NIJIKA_RATE_LIMITS": "true"}) as home,
        sync_playwright() as playwright,
        people.chromium(playwright) as browser,
    ):
        work(home)
        desk(home, browser, "light")
        desk(home, browser, "dark")
        phone(home, browser)
        office(home, browser)
        people.dismiss(home)


def work(home: House) -> None:
    people.session_of(home, EMAIL)
    key = home.stack.manage("create_key", EMAIL)
    for operation, sample, parameters in WORK:
        photo = SAMPLES / f"{sample}.jpg"
        job_id = home.accepted(operation, photo, key=key, **parameters)
        done(home, job_id, key)
    home.sql(PAST)


def desk(home: House, browser: Browser, theme: str) -> None:
    with people.person(home, browser, email=EMAIL, theme=theme, screen=DESKTOP) as ada:
        page = ada.visit("/playground")
        page.get_by_role("button", name="A lemur, in its fur").click()
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("link", name="Download").wait_for()
        keep(page, f"playground-{theme}")
        page.get_by_role("link", name="Details").click()
        keep(page, f"job-{theme}")
        for path in ("dashboard", "jobs", "credits", "webhooks"):
            ada.visit(f"/{path}")
            keep(page, f"{path}-{theme}")


def phone(home: House, browser: Browser) -> None:
    with people.person(home, browser, email=EMAIL, screen=PHONE, scale=2) as ada:
        show_phone(ada)


def show_phone(ada: Person) -> None:
    page = ada.visit("/playground")
    page.get_by_role("button", name="A lemur, in its fur").click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("link", name="Download").wait_for()
    page.evaluate("scrollTo(0, 0)")
    keep(page, "playground-phone")
    ada.visit("/dashboard")
    keep(page, "dashboard-phone")


def office(home: House, browser: Browser) -> None:
    """What staff sees of it."""
    email = "staff@example.org"
    [[user_id]] = home.sql("SELECT id FROM accounts_user WHERE email = %s", EMAIL)
    with people.person(home, browser, email=email, role="admin") as boss:
        keep(boss.visit(f"/admin/accounts/user/{user_id}/change/"), "admin-user-light")
    with people.person(home, browser, email=email, theme="dark") as boss:
        keep(boss.visit("/admin/live/"), "admin-live-dark")


def keep(page: Page, name: str) -> None:
    """What is on the screen now, as a small file."""
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(SETTLE_MS)
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        picture.save(FOLDER / f"{name}.webp", quality=QUALITY, method=6)
    print(f"docs/screenshots/{name}.webp")  # noqa: T201


if __name__ == "__main__":
    main()
