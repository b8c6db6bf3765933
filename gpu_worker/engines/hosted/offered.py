"""The hosted engines: one class per operation and provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from gpu_worker.contract import EngineSpec, Unavailable
from gpu_worker.engines.base import Item
from gpu_worker.engines.hosted import fal_models, options, pictures
from gpu_worker.engines.hosted.engine import Hosted
from gpu_worker.engines.hosted.specs import spec

if TYPE_CHECKING:
    import numpy as np


class _Google(Hosted):
    made_by = "google:Google"
    modules = ("google", "google.genai")

    def model(self, engine: str) -> str:
        return options.google_model()


GOOGLE: dict[str, Any] = {
    "aliases": ("nano-banana",),
    "provider": "google",
    "title": "Google Gemini (nano banana)",
}


class GoogleEdit(_Google):
    """edit/google"""

    spec = spec("edit", "google", **GOOGLE)


class GoogleGenerate(_Google):
    """generate/google"""

    spec = spec("generate", "google", **GOOGLE)


class _OpenAI(Hosted):
    made_by = "openai:OpenAI"
    modules = ("openai",)

    @staticmethod
    def decode(item: Item) -> dict[str, np.ndarray[Any, Any]]:
        return pictures.prepared(item, holes=True)

    def model(self, engine: str) -> str:
        return options.openai_model()


OPENAI: dict[str, Any] = {"provider": "openai", "title": "OpenAI images"}


class OpenAIEdit(_OpenAI):
    """edit/openai"""

    spec = spec("edit", "openai", "n", roles=("mask",), **OPENAI)


class OpenAIGenerate(_OpenAI):
    """generate/openai"""

    spec = spec("generate", "openai", "n", **OPENAI)


class _Compatible(_OpenAI):
    """At an address of the owner's choice: nobody else's key is sent there."""

    made_by = "openai:Compatible"

    @classmethod
    def available(cls) -> Unavailable:
        options.check()
        if not (options.compatible_url() and options.compatible_model()):
            return "provider_key_missing"
        return super().available()

    def model(self, engine: str) -> str:
        return options.compatible_model()


COMPATIBLE = {"title": "An endpoint that speaks as OpenAI's images do"}


class CompatibleEdit(_Compatible):
    """edit/openai-compatible"""

    spec = spec("edit", "openai-compatible", "n", roles=("mask",), **COMPATIBLE)


class CompatibleGenerate(_Compatible):
    """generate/openai-compatible"""

    spec = spec("generate", "openai-compatible", "n", **COMPATIBLE)


class _Stability(Hosted):
    made_by = "stability:Stability"
    modules = ("httpx",)

    def model(self, engine: str) -> str:
        return "core" if self.spec.operation == "generate" else "inpaint"


STABILITY: dict[str, Any] = {"provider": "stability", "title": "Stability AI"}


class StabilityEdit(_Stability):
    """edit/stability: what the mask shows is painted anew."""

    spec = spec(
        "edit",
        "stability",
        *("negative_prompt", "seed"),
        roles=("mask",),
        needs=("mask",),
        **(STABILITY | {"images": (1, 1)}),
    )


class StabilityGenerate(_Stability):
    """generate/stability"""

    spec = spec("generate", "stability", "negative_prompt", "seed", **STABILITY)


class _Fal(Hosted):
    """The family `fal:`, whose members are named by their paths at fal."""

    made_by = "fal:Fal"
    modules = ("fal_client",)
    specs: ClassVar[tuple[EngineSpec, ...]]

    def model(self, engine: str) -> str:
        return engine.partition(":")[2]


FAL: dict[str, Any] = {"provider": "fal"}


def _fal(operation: str) -> tuple[EngineSpec, ...]:
    """The family, which any path may be, and those whose parameters are known."""
    known = fal_models.MODELS[operation]
    family = spec(operation, "fal:", **FAL, title="Any model at fal")
    members = (
        spec(operation, f"fal:{path}", *one.members, **_fal_rest(operation, one))
        for path, one in known.items()
    )
    return family, *members


def _fal_rest(operation: str, model: fal_models.Model) -> dict[str, Any]:
    rest = FAL | {"title": model.title}
    takes_one = operation == "edit" and model.pictures == "image_url"
    return rest | {"images": (1, 1)} if takes_one else rest


class FalEdit(_Fal):
    """edit/fal:…"""

    specs = _fal("edit")
    spec = specs[0]


class FalGenerate(_Fal):
    """generate/fal:…"""

    specs = _fal("generate")
    spec = specs[0]
