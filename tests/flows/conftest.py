import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import misbehaving
from tests.flows.house import House, house


@pytest.fixture(scope="session")
def home() -> Iterator[House]:
    """One house, with misbehaving engines, that the flows of a test process share.

    Tests may break anything in it, and leave it running as they found it.
    """
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        house(Path(folder), settings=misbehaving.SETTINGS) as built,
    ):
        built.sql(misbehaving.PRICES)
        yield built


@pytest.fixture(autouse=True)
def books_balance(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a flow did to the house, the books balance afterwards."""
    yield
    if "home" in request.fixturenames:
        home: House = request.getfixturevalue("home")
        home.settle_down()
        home.check_ledger()
