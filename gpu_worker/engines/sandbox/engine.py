"""The sandbox for each operation: announced like any engine, chosen for test keys only.

Its parameters, images and roles are those of the operation's default engine. Runs take
no slot: they have lanes of their own (`gpu_worker.spare`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from gpu_worker.contract import SANDBOX, EngineSpec
from gpu_worker.engines import parameters
from gpu_worker.engines.base import Hooks, Item, Outcome, Placement
from gpu_worker.engines.classical import Classical
from gpu_worker.engines.imaging.engine import spec_of
from gpu_worker.engines.parameters import edit, generate
from gpu_worker.engines.smart_mask import classical as smart_mask
from gpu_worker.engines.upscaling import classical as upscaling
from gpu_worker.errors import WorkerError

LIMIT_S, LIMIT_S_PER_MP = 120.0, 1.0
"""Waiting that was asked for counts, too."""


class Sandbox:
    """Marked pictures for one operation. `of` is the engine that it stands for."""

    spec: ClassVar[EngineSpec]
    placement: ClassVar[Placement] = "child"

    def __init_subclass__(cls, of: EngineSpec, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        cls.spec = replace(
            of,
            engine=SANDBOX,
            queue="cpu",
            title="Sandbox: marked test images, free of charge",
            batch_size=1,
            run_limit_s=LIMIT_S,
            run_limit_s_per_mp=LIMIT_S_PER_MP,
            is_step=False,
            extra="",
            weights="",
            gpu_memory_gb=0,
        )

    def load(self) -> None:
        from gpu_worker.engines.sandbox import running

        self._run = running.run

    def run(self, batch: Sequence[Item], hooks: Hooks) -> Sequence[Outcome]:
        return [self._outcome(item, hooks) for item in batch]

    def _outcome(self, item: Item, hooks: Hooks) -> Outcome:
        try:
            return self._run(item, hooks)
        except WorkerError as error:
            return error


def _painter(operation: str, module: Any, **rest: Any) -> EngineSpec:
    """What an engine that paints would announce."""
    return EngineSpec(
        operation=operation,
        engine=SANDBOX,
        queue="cpu",
        parameters=parameters.schema(module.PROPERTIES, module.RULES),
        images=module.IMAGES,
        results=generate.MOST_RESULTS,
        licence="MIT",
        **rest,
    )


class Removebg(Sandbox, of=Classical.spec):
    """removebg/sandbox"""


class Generate(Sandbox, of=_painter("generate", generate)):
    """generate/sandbox"""


class Edit(Sandbox, of=_painter("edit", edit, roles=edit.ROLES)):
    """edit/sandbox"""


class Upscale(Sandbox, of=upscaling.Classical.spec):
    """upscale/sandbox"""


class SmartMask(Sandbox, of=smart_mask.Classical.spec):
    """smart-mask/sandbox"""


class Resize(Sandbox, of=spec_of("resize")):
    """resize/sandbox"""


class Crop(Sandbox, of=spec_of("crop")):
    """crop/sandbox"""


class Encode(Sandbox, of=spec_of("encode")):
    """encode/sandbox"""


class Extract(Sandbox, of=spec_of("extract")):
    """extract/sandbox"""


class Inpaint(Sandbox, of=spec_of("inpaint")):
    """inpaint/sandbox"""


class Canny(Sandbox, of=spec_of("canny")):
    """canny/sandbox"""


class Shadow(Sandbox, of=spec_of("shadow")):
    """shadow/sandbox"""


class WhiteBalance(Sandbox, of=spec_of("white-balance")):
    """white-balance/sandbox"""


class Compose(Sandbox, of=spec_of("compose")):
    """compose/sandbox"""
