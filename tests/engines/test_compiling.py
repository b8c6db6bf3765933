"""An engine that is to be compiled, on a machine that cannot: it says so when its
worker starts, and no job waits for a compiler in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu_worker.engines import devices
from gpu_worker.errors import EngineUnavailable
from tests.engines.house import EngineHouse
from tests.engines.tiny import qwen
from tests.flows.house import eventually


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    qwen.generating(folder / "qwen-image")
    return folder


@pytest.fixture(scope="module")
def queues() -> tuple[str, ...]:
    return ("a100",)


@pytest.fixture(scope="module")
def worker_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return qwen.SETTINGS | {
        "NIJIKA_QWEN_COMPILE": "on",
        # Nothing would be compiled before the first job.
        "NIJIKA_QWEN_WARM_UP": "none",
        "CXX": "no-such-compiler",
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
    }


def test_worker_without_a_compiler_says_so_when_it_starts(home: EngineHouse) -> None:
    def failed() -> bool:
        return home.engine("generate", "qwen-image")["reason"] == "load_failed"

    eventually(lambda: failed() or None, within_s=90)
    told = home.engine("generate", "qwen-image")
    assert not told["available"]
    wanted = (
        "NIJIKA_QWEN_COMPILE: torch cannot compile for cpu here (InvalidCxxCompiler)"
    )
    assert wanted in told["message"]


def test_compiler_that_nobody_has_is_named() -> None:
    with pytest.raises(EngineUnavailable, match=r"SOME_SETTING: .*InvalidBackend"):
        devices.check_compiler("SOME_SETTING", "cpu", backend="no-such-backend")


def test_compiler_that_works_is_not_complained_of() -> None:
    devices.check_compiler("SOME_SETTING", "cpu", backend="eager")
