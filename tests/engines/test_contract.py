"""The contract of engines: the code of each is held to it, here or beside its tests."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gpu_worker import registry
from gpu_worker.engines.birefnet.engine import Removebg as BiRefNet
from gpu_worker.engines.onnx_matte.engine import Removebg as OnnxMatte
from gpu_worker.testing import Case, EngineContract, picture
from tests.engines.tiny import birefnet, onnx_matte

TESTS = Path(__file__).resolve().parents[1]
PICTURES = (Case(images=(picture(1),)), Case(images=(picture(2, 90, 60),)))
SIZES = ((64, 48), (90, 60))
NEEDS_NO_TEST = {("proxy", "imaging")}
"""Not an engine for jobs: pictures on the fly have tests of their own."""


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tiny weights, where the engines look for theirs."""
    folder = tmp_path_factory.mktemp("weights")
    birefnet.build(folder / "birefnet")
    onnx_matte.build(folder / "red.onnx")
    side = birefnet.SIDE_PX
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIJIKA_WEIGHTS", str(folder))
        patch.setenv("NIJIKA_ONNX_MODEL", str(folder / "red.onnx"))
        patch.setenv("NIJIKA_BIREFNET_SIZE", f"{side}x{side}")
        yield


class TestBiRefNet(EngineContract):
    engine = BiRefNet
    cases, sizes = PICTURES, SIZES
    tolerance = 2  # sums of floats in another order


class TestOnnx(EngineContract):
    engine = OnnxMatte
    cases, sizes = PICTURES, SIZES


def test_every_engine_is_held_to_the_contract() -> None:
    """By its code: engines that share their `run` share a test."""
    held = {_code(kind.engine) for kind in _contracts()}
    wanted = {key: _code(name) for key, name in registry.table().items()}
    missing = [key for key, code in wanted.items() if code not in held]
    assert set(missing) <= NEEDS_NO_TEST


def _contracts() -> list[type[EngineContract]]:
    for path in TESTS.rglob("test_*.py"):
        if "(EngineContract)" in path.read_text():
            names = path.relative_to(TESTS.parent).with_suffix("").parts
            import_module(".".join(names))
    return [kind for kind in _below(EngineContract) if hasattr(kind, "engine")]


def _below(kind: type[EngineContract]) -> list[type[EngineContract]]:
    below = kind.__subclasses__()
    return [*below, *(one for other in below for one in _below(other))]


def _code(engine: Any) -> Any:
    if isinstance(engine, str):
        module, _, name = engine.partition(":")
        engine = getattr(import_module(module), name)
    return engine.run
