"""The Qwen engines under the contract that every engine keeps."""

from collections.abc import Iterator

import pytest

from gpu_worker.testing import Case, EngineContract, picture
from tests.engines.tiny import qwen

SMALL = {"width": 256, "height": 256, "steps": 3, "seed": 1}
AS_IT_IS = {"prompt": "x", "input_quality": "original", "steps": 3, "seed": 1}


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("weights")
    qwen.generating(folder / "qwen-image")
    qwen.editing(folder / "qwen-image-edit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIJIKA_WEIGHTS", str(folder))
        for name, value in qwen.SETTINGS.items():
            patch.setenv(name, value)
        yield


class TestGenerate(EngineContract):
    engine = "gpu_worker.engines.qwen.generate:Generate"
    cases = (
        Case(parameters=SMALL | {"prompt": "a mug"}),
        Case(parameters=SMALL | {"prompt": "a longer prompt", "n": 2}),
    )
    broken = Case(parameters=SMALL | {"prompt": "too long " * 400})
    sizes = ((256, 256), (256, 256))
    tolerance = 3  # sums of floats in another order
    seeded = True


class TestEdit(EngineContract):
    engine = "gpu_worker.engines.qwen.edit:Edit"
    cases = (
        Case(parameters=AS_IT_IS, images=(picture(1),)),
        Case(parameters=AS_IT_IS, images=(picture(2, 90, 60), picture(3))),
    )
    sizes = ((64, 48), (90, 60))
    seeded = True
    runs = 20  # each shows its references to the encoder at a fixed size
