"""What the other flows rely on: that a house's books are really looked at."""

import pytest

from nijika.local.stack import StackFailed
from tests.flows.house import House


def test_books_that_do_not_balance_are_found(home: House) -> None:
    wrong = "UPDATE billing_wallet SET available = available + %s"
    home.check_ledger()
    home.sql(wrong, 1)
    try:
        with pytest.raises(StackFailed, match="differences"):
            home.check_ledger()
    finally:
        home.sql(wrong, -1)
    home.check_ledger()
