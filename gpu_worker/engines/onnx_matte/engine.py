"""removebg/onnx: announced where there is such a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines import parameters
from gpu_worker.engines.base import Hooks, Item, Outcome
from gpu_worker.engines.onnx_matte import settings
from gpu_worker.engines.parameters import removebg


class Removebg:
    """Removes the background of one photo at a time."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="removebg",
        engine="onnx",
        queue="cpu",
        title="Cut-out by an ONNX network of the owner's choice",
        parameters=parameters.schema(removebg.PROPERTIES, removebg.RULES),
        roles=removebg.ROLES,
        run_limit_s=120,
        run_limit_s_per_mp=1,
        extra="onnx",
        weights="onnx/model.onnx",
    )
    placement: ClassVar[Literal["child"]] = "child"
    modules: ClassVar[tuple[str, ...]] = ("onnxruntime",)

    @staticmethod
    def available() -> Unavailable:
        return settings.available()

    def load(self) -> None:
        from gpu_worker import finishing
        from gpu_worker.engines.onnx_matte import cutting, network

        self._remove = cutting.remove
        self._network = network.Network(settings.model())
        finishing.load()

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [self._remove(self._network, item, hooks) for item in batch]
