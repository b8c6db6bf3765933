"""(operation, engine) -> "module:Class", imported by the process that needs it.

Other packages add engines by entry points of the group `nijika.engines`, named
`operation/engine`; they replace none. `NIJIKA_WORKER_ENGINES` adds to the table or
replaces in it: a comma list of `operation/engine=module:Class`. A worker offers the
engines of its own queue.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from gpu_worker import sealing, settings
from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines.base import DeviceEngine, Engine
from gpu_worker.errors import EngineUnavailable

logger = logging.getLogger("gpu_worker.registry")

GROUP = "nijika.engines"
Key = tuple[str, str]
"""(operation, engine): what an engine is known by everywhere."""

ENGINES: dict[Key, str] = {
    ("proxy", "imaging"): "gpu_worker.engines.proxying.engine:Proxy",
    ("removebg", "classical"): "gpu_worker.engines.classical:Classical",
    ("removebg", "birefnet"): "gpu_worker.engines.birefnet.engine:Removebg",
    ("removebg", "onnx"): "gpu_worker.engines.onnx_matte.engine:Removebg",
    ("resize", "imaging"): "gpu_worker.engines.imaging.engine:Resize",
    ("crop", "imaging"): "gpu_worker.engines.imaging.engine:Crop",
    ("encode", "imaging"): "gpu_worker.engines.imaging.engine:Encode",
    ("canny", "imaging"): "gpu_worker.engines.imaging.engine:Canny",
    ("compose", "imaging"): "gpu_worker.engines.imaging.engine:Compose",
    ("extract", "imaging"): "gpu_worker.engines.imaging.engine:Extract",
    ("inpaint", "imaging"): "gpu_worker.engines.imaging.engine:Inpaint",
    ("shadow", "imaging"): "gpu_worker.engines.imaging.engine:Shadow",
    ("smart-mask", "birefnet"): "gpu_worker.engines.birefnet.mask_engine:SmartMask",
    ("smart-mask", "classical"): "gpu_worker.engines.smart_mask.classical:Classical",
    ("smart-mask", "fastsam"): "gpu_worker.engines.fastsam.engine:FastSam",
    ("smart-mask", "sam2"): "gpu_worker.engines.sam2.engine:Sam2",
    ("upscale", "classical"): "gpu_worker.engines.upscaling.classical:Classical",
    ("upscale", "realesrgan"): "gpu_worker.engines.realesrgan.engine:Upscale",
    ("white-balance", "imaging"): "gpu_worker.engines.imaging.engine:WhiteBalance",
    ("generate", "qwen-image"): "gpu_worker.engines.qwen.generate:Generate",
    ("edit", "qwen-image-edit"): "gpu_worker.engines.qwen.edit:Edit",
    ("removebg", "sandbox"): "gpu_worker.engines.sandbox.engine:Removebg",
    ("edit", "fal:"): "gpu_worker.engines.hosted.offered:FalEdit",
    ("edit", "google"): "gpu_worker.engines.hosted.offered:GoogleEdit",
    ("edit", "openai"): "gpu_worker.engines.hosted.offered:OpenAIEdit",
    (
        "edit",
        "openai-compatible",
    ): "gpu_worker.engines.hosted.offered:CompatibleEdit",
    ("edit", "stability"): "gpu_worker.engines.hosted.offered:StabilityEdit",
    ("generate", "fal:"): "gpu_worker.engines.hosted.offered:FalGenerate",
    ("generate", "google"): "gpu_worker.engines.hosted.offered:GoogleGenerate",
    ("generate", "openai"): "gpu_worker.engines.hosted.offered:OpenAIGenerate",
    (
        "generate",
        "openai-compatible",
    ): "gpu_worker.engines.hosted.offered:CompatibleGenerate",
    ("generate", "stability"): "gpu_worker.engines.hosted.offered:StabilityGenerate",
    ("generate", "sandbox"): "gpu_worker.engines.sandbox.engine:Generate",
    ("edit", "sandbox"): "gpu_worker.engines.sandbox.engine:Edit",
    ("resize", "sandbox"): "gpu_worker.engines.sandbox.engine:Resize",
    ("smart-mask", "sandbox"): "gpu_worker.engines.sandbox.engine:SmartMask",
    ("upscale", "sandbox"): "gpu_worker.engines.sandbox.engine:Upscale",
    ("crop", "sandbox"): "gpu_worker.engines.sandbox.engine:Crop",
    ("encode", "sandbox"): "gpu_worker.engines.sandbox.engine:Encode",
    ("extract", "sandbox"): "gpu_worker.engines.sandbox.engine:Extract",
    ("inpaint", "sandbox"): "gpu_worker.engines.sandbox.engine:Inpaint",
    ("canny", "sandbox"): "gpu_worker.engines.sandbox.engine:Canny",
    ("shadow", "sandbox"): "gpu_worker.engines.sandbox.engine:Shadow",
    ("white-balance", "sandbox"): "gpu_worker.engines.sandbox.engine:WhiteBalance",
    ("compose", "sandbox"): "gpu_worker.engines.sandbox.engine:Compose",
}


@cache
def table() -> dict[Key, str]:
    """The engines that this process knows."""
    return ENGINES | _others() | settings.extra_engines()


def _others() -> dict[Key, str]:
    """The engines of other packages that are installed here."""
    found: dict[Key, str] = {}
    for point in entry_points(group=GROUP):
        operation, slash, engine = point.name.partition("/")
        key = operation, engine
        if not (operation and slash and engine) or key in ENGINES or key in found:
            logger.warning("entry point %s of %s is passed over", point.name, GROUP)
        else:
            found[key] = point.value
    return found


@cache
def engine_class(key: Key) -> type[Engine] | type[DeviceEngine]:
    """The class behind a key, not loaded. Raises EngineUnavailable."""
    if home(key) not in table():
        raise EngineUnavailable(f"This worker has no engine {'/'.join(key)}.")
    module, _, name = table()[home(key)].partition(":")
    found: Any = getattr(import_module(module), name)
    return found  # type: ignore[no-any-return]


def home(key: Key) -> Key:
    """The key itself, or that of the family: `fal:` is home to every `fal:<path>`."""
    operation, engine = key
    prefix, colon, rest = engine.partition(":")
    return (operation, prefix + colon) if rest and key not in table() else key


def measured_as(key: Key) -> Key:
    """What an engine's times are kept under: its own name where it has a spec, else its
    family's, so that names which clients think of are no rows."""
    found: Any = engine_class(key)
    specs = getattr(found, "specs", (found.spec,))
    return key if key in {key_of(spec) for spec in specs} else home(key)


def specs_of(queue: str) -> tuple[EngineSpec, ...]:
    """What a worker of `queue` has, in a stable order; also engines that it has in name
    only (`unavailable`)."""
    specs = (spec for key in sorted(table()) for spec in _specs(key))
    return tuple(spec for spec in specs if spec.queue == queue)


@cache
def _specs(key: Key) -> tuple[EngineSpec, ...]:
    """An engine's spec, a family's several; none for an engine whose module needs what
    is not installed here."""
    try:
        found: Any = engine_class(key)
    except ImportError as error:
        logger.warning("no engine %s here: %s", "/".join(key), error)
        return ()
    except Exception:  # the edge of another package
        logger.exception("engine %s cannot be read", "/".join(key))
        return ()
    why_not, specs = _why_not(found), getattr(found, "specs", (found.spec,))
    return tuple(
        replace(spec, unavailable=why_not, sealing_key=_sealing_key(spec))
        for spec in specs
    )


def _sealing_key(spec: EngineSpec) -> str:
    return sealing.public_key() if spec.provider else ""


def _why_not(engine: Any) -> Unavailable:
    """What an engine says of its own availability; few have anything to say."""
    needed = getattr(engine, "modules", ())
    if any(find_spec(module) is None for module in needed):
        return "extra_missing"
    answer: Unavailable = engine.available() if hasattr(engine, "available") else ""
    return answer


def key_of(spec: EngineSpec) -> Key:
    return spec.operation, spec.engine
