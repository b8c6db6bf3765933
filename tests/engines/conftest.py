"""Engines on tiny models and hosted providers on local servers: `make test-engines`.

A module of tests that go through the whole platform replaces `weights` (and `queues`,
`worker_settings`) with fixtures of its own, and uses `home`.
"""

import os
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.engines.house import EngineHouse, engine_house

# `make test` runs in an environment without torch; these have a run of their own.
collect_ignore_glob = [] if find_spec("torch") else ["*"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("NIJIKA_DEVICE", "cpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/engines/" in item.nodeid:
            item.add_marker(pytest.mark.engines)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The machine's cores are shared, and tiny models gain nothing by more."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `NIJIKA_WEIGHTS` names: empty, for a module to replace."""
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def queues() -> tuple[str, ...]:
    """The queues that have a worker."""
    return ("t4",)


@pytest.fixture(scope="module")
def worker_settings() -> dict[str, str]:
    """Variables of the house's processes."""
    return {}


@pytest.fixture(scope="module")
def home(
    weights: Path, queues: tuple[str, ...], worker_settings: dict[str, str]
) -> Iterator[EngineHouse]:
    """A house with these weights; its books are looked at once, after all tests."""
    with (
        tempfile.TemporaryDirectory(prefix="nijika-house-") as folder,
        engine_house(
            Path(folder), weights=weights, queues=queues, settings=worker_settings
        ) as built,
    ):
        yield built
        built.check_ledger()
