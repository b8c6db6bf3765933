"""removebg/classical: the embedded default, which needs no weights and no GPU.

The subject is searched for at a small size; colours and alpha are those of the full
size. Basic quality: `details` say how confident it is, and `uncertain` when its guesses
differed so much that another engine may be worth its price.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from gpu_worker.contract import EngineSpec
from gpu_worker.engines import parameters
from gpu_worker.engines.base import Hooks, Item, Outcome
from gpu_worker.engines.parameters import removebg


class Classical:
    """Removes the background of one photo at a time."""

    spec: ClassVar[EngineSpec] = EngineSpec(
        operation="removebg",
        engine="classical",
        queue="cpu",
        title="Classical cut-out (no model; basic quality)",
        parameters=parameters.schema(removebg.PROPERTIES, removebg.RULES),
        roles=removebg.ROLES,
        run_limit_s=30,
        run_limit_s_per_mp=1,
        licence="MIT",
    )
    placement: ClassVar[Literal["child"]] = "child"

    def load(self) -> None:
        from gpu_worker.engines.cutout import faces, removal

        faces.load()
        self._remove = removal.remove

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [self._remove(item, hooks) for item in batch]
