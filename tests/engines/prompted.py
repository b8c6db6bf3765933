"""What the tests of engines that mask what is pointed at have in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.engines.base import Input, Item
from gpu_worker.testing import Case, EngineContract, picture
from tests.gpu_worker.engines.pictures import PHOTOS

TIGER = PHOTOS / "animal_white_tiger.jpg"
PERSON = PHOTOS / "person_arms_raised.jpg"


@contextmanager
def ready(engine: Any, weights: Path, **settings: str) -> Iterator[Any]:
    """The engine, loaded and warm, with these weights and settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NIJIKA_WEIGHTS": str(weights), **settings}.items():
            patch.setenv(name, value)
        assert engine.available() == ""
        made = engine()
        made.load()
        made.warm_up()
        yield made


def decoded(
    engine: Any, path: Path, name: str = "job", mask: Path | None = None, **wanted: Any
) -> Item:
    """A job as the engine gets it: its files already read."""
    inputs = [Input(role="image", path=path)]
    inputs += [Input(role="mask", path=mask)] if mask else []
    asked = Item(job_id=name, parameters=wanted, inputs=tuple(inputs))
    return replace(asked, arrays=engine.decode(asked))


class PromptedContract(EngineContract):
    """What every engine keeps, tried with a point, a box and nothing at all."""

    cases = (
        Case(images=(picture(1),), parameters={"points": [[30, 24]], "candidates": 3}),
        Case(images=(picture(2, 90, 60),), parameters={"box": [10, 10, 80, 50]}),
        Case(images=(picture(3, 50, 70),), parameters={"auto": True}),
    )
    sizes = ((64, 48), (90, 60), (50, 70))
