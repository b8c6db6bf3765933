"""Hosted engines under the contract that every engine keeps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpu_worker.engines.hosted.engine import OpenAIEdit
from gpu_worker.testing import Case, EngineContract, picture


@pytest.fixture(scope="module", autouse=True)
def surroundings(worker_settings: dict[str, str]) -> Iterator[None]:
    """The provider of our own, for this process too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in worker_settings.items():
            patch.setenv(name, value)
        yield


class TestHosted(EngineContract):
    engine = OpenAIEdit
    cases = (
        Case(parameters={"prompt": "red"}, images=(picture(1),)),
        Case(parameters={"prompt": "blue"}, images=(picture(2, 90, 60),)),
    )
