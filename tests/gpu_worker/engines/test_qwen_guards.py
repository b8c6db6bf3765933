"""What keeps a Qwen job from running on another's adapters, on half a prompt, or for
nobody. On pretended pipelines: tests/engines/test_qwen.py has the real ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gpu_worker.engines.base import Item
from gpu_worker.engines.qwen import prompts
from gpu_worker.engines.qwen.adapters import Adapters
from gpu_worker.engines.qwen.painting import Abandoned, Job, Watch, Wish, seeds_of
from gpu_worker.engines.qwen.sizes import covering
from gpu_worker.errors import EngineFailed, EngineUnavailable, InvalidParameters

WISH = Wish(
    prompt="x", negative=None, scale=1, steps=5, adapters=(), is_fast=False, seeds=(1,)
)


@dataclass
class Layer:
    """As peft makes one."""

    lora_A: dict[str, object] = field(default_factory=dict)  # noqa: N815
    scaling: dict[str, float] = field(default_factory=dict)
    active_adapters: list[str] = field(default_factory=list)
    disable_adapters: bool = False


class Pipeline:
    """As diffusers has one, with two layers. `deaf` layers do not do as told."""

    def __init__(self) -> None:
        self.layers = [Layer(), Layer()]
        self.deaf: set[int] = set()
        self.transformer = self

    def modules(self) -> list[Any]:
        return [object(), *self.layers]

    def load_lora_weights(
        self, folder: str, *, weight_name: str, adapter_name: str
    ) -> None:
        if weight_name == "broken.safetensors":
            raise ValueError("not an adapter")
        if weight_name != "alien.safetensors":
            for layer in self.layers:
                layer.lora_A[adapter_name], layer.scaling[adapter_name] = object(), 1.0

    def enable_lora(self) -> None:
        for layer in self._hearing():
            layer.disable_adapters = False

    def disable_lora(self) -> None:
        for layer in self._hearing():
            layer.disable_adapters = True

    def set_adapters(self, names: list[str]) -> None:
        for layer in self._hearing():
            layer.active_adapters = names

    def _hearing(self) -> list[Layer]:
        return [one for n, one in enumerate(self.layers) if n not in self.deaf]


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@pytest.fixture
def adapters(pipeline: Pipeline) -> Adapters:
    names = ("removal", "insertion", "lightning-4")
    sets = {name: (Path(f"{name}.safetensors"),) for name in names}
    return Adapters(pipeline, sets, say=lambda _: None)


def test_adapters_are_those_of_the_job_and_no_others(
    pipeline: Pipeline, adapters: Adapters
) -> None:
    assert all(layer.disable_adapters for layer in pipeline.layers)
    adapters.activate(("removal", "lightning-4"))
    assert pipeline.layers[0].active_adapters == ["removal_0", "lightning_4_0"]
    adapters.activate(())
    adapters.activate(("removal",))
    assert pipeline.layers[0].active_adapters == ["removal_0"]
    assert not pipeline.layers[0].disable_adapters


@pytest.mark.parametrize("deaf", [{0}, {1}, {0, 1}])
def test_layer_that_keeps_the_last_jobs_adapters_fails_the_next(
    pipeline: Pipeline, adapters: Adapters, deaf: set[int]
) -> None:
    adapters.activate(("insertion",))
    pipeline.deaf = deaf
    for wanted in (("removal",), ()):
        with pytest.raises(EngineFailed):
            adapters.activate(wanted)


def test_adapter_of_no_strength_is_none(pipeline: Pipeline, adapters: Adapters) -> None:
    pipeline.layers[1].scaling["removal_0"] = 0.0
    with pytest.raises(EngineFailed):
        adapters.activate(("removal",))


@pytest.mark.parametrize("name", ["alien", "broken"])
def test_file_that_changes_no_layer_is_not_taken(pipeline: Pipeline, name: str) -> None:
    sets = {name: (Path(f"{name}.safetensors"),)}
    with pytest.raises(EngineUnavailable, match=name):
        Adapters(pipeline, sets, say=lambda _: None)


class Hooks:
    def __init__(self, *gone: str) -> None:
        self.gone = set(gone)
        self.told: list[tuple[str, int, int]] = []

    def progress(self, item: Item, step: int, total: int, message: str = "") -> None:
        self.told.append((item.job_id, step, total))

    def cancelled(self, item: Item) -> bool:
        return item.job_id in self.gone

    def checkpoint(self, item: Item, text: str) -> None: ...


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setenv("NIJIKA_DEVICE", "cpu")
    canvas = covering((64, 64), (64, 64))
    return [
        Job(item=Item(job_id=name, parameters={}), canvas=canvas, wish=WISH)
        for name in "ab"
    ]


def test_pass_goes_on_while_one_waits_and_ends_with_the_last(jobs: list[Job]) -> None:
    hooks = Hooks("a")
    watch = Watch([(job, 1) for job in jobs], hooks)
    watch.step_ended(None, 0, None, {})
    assert hooks.told == [("a", 1, 5), ("b", 1, 5)]
    hooks.gone.add("b")
    with pytest.raises(Abandoned):
        watch.step_ended(None, 1, None, {})


class Tokens(list[int]):
    @property
    def input_ids(self) -> Tokens:
        return self


class Reader:
    """A pipeline whose tokenizer has a token for each letter."""

    prompt_template_encode = "ab{}c"
    prompt_template_encode_start_idx = 2

    class tokenizer:  # noqa: N801
        all_special_tokens = ["<|image_pad|>"]

        def __new__(cls, text: str) -> Tokens:  # type: ignore[misc]
            return Tokens(range(len(text)))


def test_longest_prompt_that_is_read_whole_is_taken_and_one_more_letter_is_not() -> (
    None
):
    prompts.check(Reader(), "x" * (prompts.MOST_TOKENS - 1))
    with pytest.raises(InvalidParameters, match=str(prompts.MOST_TOKENS + 1)):
        prompts.check(Reader(), "x" * prompts.MOST_TOKENS)


def test_word_of_the_models_own_is_refused() -> None:
    with pytest.raises(InvalidParameters, match="image_pad"):
        prompts.check(Reader(), "see <|image_pad|>")


def test_seeds_follow_the_first_and_come_round() -> None:
    assert seeds_of({"seed": 2**31 - 1, "n": 2}) == (2**31 - 1, 0)
    assert seeds_of({}) != seeds_of({})
