"""People in front of a browser: signed in, with a page, in a theme, on a screen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from tests.flows.house import ENDS, ROOT, House, eventually

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
CHOSEN = "NIJIKA_TEST_CHROMIUM"
DESKTOP, PHONE = (1360, 900), (390, 844)
PATIENCE_MS = 15_000
SERIOUS = {"serious", "critical"}


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """A real Chromium: the one chosen, the system's, else Playwright's own."""
    path = os.environ.get(CHOSEN) or system_chromium()
    there: dict[str, Any] = {"executable_path": path} if path else {}
    # Its sandbox needs rights that root in a container has not.
    args = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = playwright.chromium.launch(args=args, **there)
    try:
        yield browser
    finally:
        browser.close()


def system_chromium() -> str | None:
    found = (shutil.which(name) for name in CHROMIUMS)
    return next((path for path in found if path), None)


def is_there(playwright: Playwright) -> bool:
    """Whether this machine has any Chromium that the tests can drive."""
    own = Path(playwright.chromium.executable_path)
    return bool(os.environ.get(CHOSEN) or system_chromium() or own.exists())


@dataclass(slots=True)
class Person:
    """Somebody with an account, at a page. `complaints` is what the browser said
    against our pages: policy violations, errors of scripts."""

    home: House
    email: str
    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    def visit(self, path: str) -> Page:
        self.page.goto(self.home.stack.url + path)
        return self.page

    def key(self, *, test: bool = False) -> str:
        """An API key of theirs."""
        mode = ["--test"] if test else []
        return self.home.stack.manage("create_key", self.email, *mode)

    def check_accessible(self) -> None:
        """No serious finding of axe in the page as it is now."""
        found = Axe().run(self.page).response["violations"]
        serious = [one for one in found if one["impact"] in SERIOUS]
        assert not serious, "\n".join(_finding(one) for one in serious)

    def look(self, page: Page) -> None:
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: self._hear(message))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: Any) -> None:
        text = message.text
        if "Content Security Policy" in text or "Refused to" in text:
            self.complaints.append(text)


def _finding(one: dict[str, Any]) -> str:
    places = "; ".join(
        f"{node['target']} {node.get('failureSummary', '')}" for node in one["nodes"]
    )
    return f"{one['impact']} {one['id']}: {one['help']}: {places[:1500]}"


@contextmanager
def person(
    home: House,
    browser: Browser,
    *,
    email: str = "",
    credits: str = "50",
    role: str = "user",
    signed_in: bool = True,
    screen: tuple[int, int] = DESKTOP,
    theme: Any = "light",
    scale: float = 1,
) -> Iterator[Person]:
    """A new context of their own: no cookie of anybody else's is in it."""
    email = email or f"{uuid.uuid4().hex[:10]}@example.org"
    width, height = screen
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=theme,
        device_scale_factor=scale,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
        permissions=["clipboard-read", "clipboard-write"],
    )
    if signed_in:
        key = session_of(home, email, credits, role)
        context.add_cookies([{"name": "session", "value": key, "url": home.stack.url}])
    page = context.new_page()
    made = Person(home=home, email=email, context=context, page=page)
    made.look(page)
    try:
        yield made
    finally:
        context.close()


_clerks: dict[int, subprocess.Popen[str]] = {}


def session_of(home: House, email: str, credits: str = "50", role: str = "user") -> str:
    """The key of a new signed-in session; the user is made where there is none."""
    clerk = _clerks.get(id(home)) or _hire(home)
    assert clerk.stdin and clerk.stdout
    clerk.stdin.write(json.dumps([email, credits, role]) + "\n")
    clerk.stdin.flush()
    key = str(clerk.stdout.readline()).strip()
    assert key, "tests.browser.session has failed; its traceback is above"
    return key


def done(home: House, job_id: str, key: str) -> None:
    """Wait for the job's end, whatever that is."""

    def look() -> bool | None:
        return home.job(job_id, key=key)["status"] in ENDS or None

    eventually(look, within_s=60)


def _hire(home: House) -> subprocess.Popen[str]:
    """One process for all sessions of a house: to start one takes a second."""
    clerk = _clerks[id(home)] = subprocess.Popen(
        [sys.executable, "-m", "tests.browser.session"],
        cwd=ROOT,
        env=home.stack.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return clerk


def dismiss(home: House) -> None:
    """Before the house goes."""
    clerk = _clerks.pop(id(home), None)
    if clerk is not None:
        clerk.communicate()
