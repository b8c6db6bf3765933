"""A desk for one operation after the other."""

from pathlib import Path

import pytest

from gpu_worker.engines.base import Engine
from tests.gpu_worker.engines.desk import Desk


@pytest.fixture(scope="package")
def loaded() -> dict[str, Engine]:
    return {}


@pytest.fixture
def desk(tmp_path: Path, loaded: dict[str, Engine]) -> Desk:
    return Desk(folder=tmp_path, engines=loaded)
