"""What every engine keeps, kept by the hosted ones: in this process, on real SDKs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from gpu_worker.engines.hosted import offered
from gpu_worker.testing.contract import EngineContract
from gpu_worker.testing.driving import Case
from tests.engines.providers.server import Providers, picture

ROOM = picture("white", (60, 40))
EDITS = (
    Case(parameters={"prompt": "It."}, images=(ROOM,)),
    Case(parameters={"width": 256, "height": 300}, images=(ROOM, ROOM)),
)
PAINTINGS = (
    Case(parameters={"prompt": "It.", "width": 256, "height": 256}),
    Case(parameters={"prompt": "Both.", "width": 300, "height": 256}),
)
SIZES = ((256, 256), (300, 256))


@pytest.fixture(scope="module", autouse=True)
def _providers(servers: Providers, worker_settings: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in worker_settings.items():
            patch.setenv(name, value)
        patch.setenv("NIJIKA_PROVIDER_POLL", "1ms")
        yield
    servers.forget()


# One that answers at once and one that queues run fifty times: what a run keeps is the
# doing of code that all share.
FEW_RUNS = 5


class Edits(EngineContract):
    cases: ClassVar[tuple[Case, ...]] = EDITS


class Paintings(EngineContract):
    runs = FEW_RUNS
    cases: ClassVar[tuple[Case, ...]] = PAINTINGS
    sizes: ClassVar[tuple[tuple[int, int], ...]] = SIZES


class TestGoogleEdit(Edits):
    engine = offered.GoogleEdit


class TestGoogleGenerate(Paintings):
    engine = offered.GoogleGenerate


class TestOpenAIEdit(Edits):
    runs = FEW_RUNS
    engine = offered.OpenAIEdit
    cases = (*EDITS, Case(images=(ROOM,), roles={"mask": ROOM}))


class TestOpenAIGenerate(Paintings):
    engine = offered.OpenAIGenerate


class TestCompatibleEdit(Edits):
    runs = FEW_RUNS
    engine = offered.CompatibleEdit


class TestCompatibleGenerate(Paintings):
    engine = offered.CompatibleGenerate


class TestStabilityEdit(Edits):
    runs = FEW_RUNS
    engine = offered.StabilityEdit
    cases = (Case(images=(ROOM,), roles={"mask": ROOM}),)


class TestStabilityGenerate(Paintings):
    engine = offered.StabilityGenerate


class _FalCase(offered.FalEdit):
    """A member of the family: here nobody names it."""

    def model(self, engine: str) -> str:
        return "fal-ai/nano-banana/edit"


class TestFalEdit(Edits):
    engine = _FalCase


class _FalPainting(offered.FalGenerate):
    """Likewise."""

    def model(self, engine: str) -> str:
        return "fal-ai/flux/dev"


class TestFalGenerate(Paintings):
    engine = _FalPainting
