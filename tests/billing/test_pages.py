"""The pages of credits: the statement, its export, the prices."""

from __future__ import annotations

import csv
import io
import re
import threading
import time
from decimal import Decimal

import pytest
from django.db import transaction
from django.test import Client

from accounts.models import User
from billing import ledger
from billing.models import Price
from billing.pages import export
from nijika.pieces import PiecesFeed

# The export is read by a thread of its own.
pytestmark = pytest.mark.django_db(transaction=True)
BACKEND = "django.contrib.auth.backends.ModelBackend"
FORMULAS = [
    '=HYPERLINK("http://evil.example","x")',
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "  =1+1",
]


@pytest.fixture
def ada() -> User:
    user = User.objects.create_user("ada@example.com")
    ledger.welcome(user.pk, Decimal(50))
    return user


@pytest.fixture
def browser(ada: User) -> Client:
    client = Client()
    client.force_login(ada, backend=BACKEND)
    return client


def exported(browser: Client) -> list[dict[str, str]]:
    answer = browser.get("/credits.csv")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("note", FORMULAS)
def test_no_cell_of_the_export_is_a_formula(
    browser: Client, ada: User, note: str
) -> None:
    ledger.grant(ada.pk, Decimal(1), reference=note, note=note)
    row = exported(browser)[0]
    assert row["note"] == row["reference"] == f"'{note}"


def test_the_export_has_every_entry_once_with_exact_numbers(
    browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 2)
    for number in range(5):
        ledger.adjust(ada.pk, Decimal("-0.0001"), f"slice {number}")
    rows = exported(browser)
    assert [row["amount"] for row in rows] == ["-0.0001"] * 5 + ["50.0000"]
    assert len({row["id"] for row in rows}) == 6
    assert rows[0]["available after"] == "49.9995"


def test_the_export_has_nobody_elses(browser: Client) -> None:
    other = User.objects.create_user("bob@example.com")
    ledger.welcome(other.pk, Decimal(7))
    assert [row["amount"] for row in exported(browser)] == ["50.0000"]


def test_the_statement_pages(
    browser: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.pages.views.PER_PAGE", 2)
    for number in range(2):
        ledger.grant(ada.pk, Decimal(1), f"gift {number}", note=f"gift {number}")
    first = browser.get("/credits").content.decode()
    older = re.search(r'href="(/credits\?before=\d+)"', first)
    assert older and "gift 1" in first and "Welcome" not in first
    second = browser.get(older[1]).content.decode()
    assert "Welcome" in second and "gift" not in second


@pytest.mark.parametrize("before", ["x", "-1", "9" * 30, "1%00"])
def test_an_odd_page_is_not_there(browser: Client, before: str) -> None:
    assert browser.get(f"/credits?before={before}").status_code == 404


def test_a_note_is_shown_as_text(browser: Client, ada: User) -> None:
    ledger.grant(ada.pk, Decimal(1), "x", note="<script>alert(1)</script>")
    assert "<script>alert" not in browser.get("/credits").content.decode()


def test_a_charge_says_how_much_though_nothing_is_left_to_take(
    browser: Client, ada: User
) -> None:
    with transaction.atomic():
        ledger.hold(user_id=ada.pk, credits=Decimal("0.3"), reference="a-job")
        ledger.settle(reference="a-job", charge=Decimal("0.3"))
    text = browser.get("/credits").content.decode()
    assert "Charged for a job" in text and "0.30 of what was set aside" in text


def test_prices_are_for_everybody() -> None:
    Price.objects.filter(operation="upscale").update(credits=Decimal("0.0250"))
    text = Client().get("/prices").content.decode()
    assert "upscale" in text and "0.025" in text


def test_an_export_that_nobody_reads_on_is_given_up(
    ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "AT_ONCE", 1)
    made = export.pieces(ada.pk)
    feed = PiecesFeed(made)
    there = threading.Event()
    feed.open(there.set)
    assert there.wait(5) and feed.take()
    feed.close()
    end = time.monotonic() + 5
    while made.gi_frame is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert made.gi_frame is None
