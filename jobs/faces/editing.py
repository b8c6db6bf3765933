"""`/edit`: one or more images and what to do with them, by a provider's name."""

from __future__ import annotations

from typing import Any

from jobs import engines
from jobs.api import catalogue, views
from jobs.errors import BadFields
from jobs.faces import refusals
from jobs.faces.reading import Fields, required
from jobs.faces.refusals import ProviderNotFound
from jobs.faces.serving import FaceView, OrderFace
from jobs.requests.orders import Order

# The older system's providers, which its clients name also where they are not set up.
OLD_PROVIDERS = {"google", "nano-banana"}
OLD_FAMILY = "fal:"


class EditView(OrderFace):
    """`images` or `image`; without a prompt, or with blanks, the room is furnished."""

    manner = refusals.EDITING

    def order(self, fields: Fields) -> Order:
        images = fields.images("image", "image")
        parameters: dict[str, Any] = {}
        if prompt := fields.text("prompt").strip():
            parameters["prompt"] = prompt
        return Order(
            operation="edit",
            engine=self._engine(fields.text("provider")),
            parameters=parameters,
            images=required(images, "images"),
        )

    def _engine(self, provider: str) -> str | None:
        """The engine of that name, however it is written. Raises ProviderNotFound."""
        if not provider.strip():
            return None
        known = catalogue.providers(test=self.caller.test)
        name = provider.strip().lower()
        if name == known["default"]:
            return None
        try:
            return engines.named("edit", name)
        except BadFields:
            if self.caller.test and _is_old(name):
                return None
            raise ProviderNotFound(known["available"]) from None


def _is_old(provider: str) -> bool:
    return provider in OLD_PROVIDERS or provider.startswith(OLD_FAMILY)


class ProvidersView(FaceView, views.ProvidersView):
    """As the canonical one."""

    manner = refusals.EDITING
