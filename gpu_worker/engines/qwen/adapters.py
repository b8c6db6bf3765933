"""LoRA sets: read once, activated for each job, and looked at afterwards.

Reading a set again is slow, so all stay in memory. That makes it easy to run a job on
the set of the one before: hence nothing is believed of what was activated, every layer
is asked.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpu_worker.errors import EngineFailed, EngineUnavailable


class Adapters:
    """The LoRA sets of one pipeline. `active` are the names of those in use."""

    def __init__(
        self,
        pipeline: Any,
        sets: Mapping[str, tuple[Path, ...]],
        *,
        say: Callable[[str], None],
    ) -> None:
        self._pipeline = pipeline
        self._names: dict[str, tuple[str, ...]] = {}
        for number, (name, files) in enumerate(sets.items(), start=1):
            say(f"reading adapters, {number} of {len(sets)}: {name}")
            self._names[name] = tuple(
                # A name of modules, which have no dots.
                self._read(re.sub(r"\W", "_", f"{name}_{n}"), file)
                for n, file in enumerate(files)
            )
        self.active: tuple[str, ...] = ()
        if self._names:
            self.activate(())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def activate(self, sets: tuple[str, ...]) -> None:
        """Use these sets and no others. Raises EngineFailed: a layer does not."""
        wanted = [name for one in sets for name in self._names[one]]
        if self._names:
            if wanted:
                self._pipeline.enable_lora()
                self._pipeline.set_adapters(wanted)
            else:
                self._pipeline.disable_lora()
        self.verify(sets)
        self.active = sets

    def verify(self, sets: tuple[str, ...]) -> None:
        """Whether every layer uses what it has of these sets, and nothing else."""
        wanted = {name for one in sets for name in self._names[one]}
        used: set[str] = set()
        for layer in _layers(self._pipeline.transformer):
            of_layer = _used(layer)
            if of_layer != wanted & set(layer.lora_A):
                raise EngineFailed("The adapters of this task are not active.")
            used |= of_layer
        if used != wanted:
            raise EngineFailed("The adapters of this task are not active.")

    def _read(self, name: str, file: Path) -> str:
        """Raises EngineUnavailable for a file that changes nothing in this model."""
        alien = EngineUnavailable(f"{file.name} holds no adapter for this model.")
        with warnings.catch_warnings():
            # That there is more than one set is what we want.
            warnings.filterwarnings("ignore", "Already found a `peft_config`")
            try:
                self._pipeline.load_lora_weights(
                    str(file.parent), weight_name=file.name, adapter_name=name
                )
            except ValueError as error:
                raise alien from error
        layers = _layers(self._pipeline.transformer)
        if not any(name in layer.lora_A for layer in layers):
            raise alien
        return name


def _layers(transformer: Any) -> list[Any]:
    """The layers that have adapters, as peft makes them."""
    return [one for one in transformer.modules() if hasattr(one, "lora_A")]


def _used(layer: Any) -> set[str]:
    """The adapters that change what this layer answers."""
    if layer.disable_adapters:
        return set()
    named = (one for one in layer.active_adapters if one in layer.lora_A)
    return {one for one in named if layer.scaling[one] != 0}
