import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import misbehaving
from tests.flows.house import House, house

SETTINGS = misbehaving.SETTINGS | {"NIJIKA_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1"}


@pytest.fixture(scope="package")
def home() -> Iterator[House]:
    """One house, with misbehaving engines, that the flows of a test process share.

    Tests may break anything in it, and leave it running as they found it.
    """
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        house(Path(folder), settings=SETTINGS, own_postgres=True) as built,
    ):
        built.sql(misbehaving.PRICES)
        yield built


@pytest.fixture(scope="module")
def books_balance(home: House) -> Iterator[None]:
    """Whatever the flows of a module did to the house, its books balance afterwards."""
    yield
    home.check_ledger()


@pytest.fixture(autouse=True)
def home_is_left_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Everything runs and is healthy before the next flow begins."""
    if "home" in request.fixturenames:
        request.getfixturevalue("books_balance")
    yield
    if "home" in request.fixturenames:
        home: House = request.getfixturevalue("home")
        home.settle_down()
