import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.house import House, house


@pytest.fixture(scope="session")
def home() -> Iterator[House]:
    """One house that the flows of a test process share; tests leave it running."""
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        house(Path(folder)) as built,
    ):
        yield built
