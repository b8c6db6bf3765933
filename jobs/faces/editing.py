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


class EditView(OrderFace):
    """`images` or `image`; without a prompt, or with blanks, the room is furnished."""

    manner = refusals.EDITING

    def order(self, fields: Fields) -> Order:
        images = fields.images("image", "images", "images[]", "image", "image[]")
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
            raise ProviderNotFound(known["available"]) from None


class ProvidersView(FaceView, views.ProvidersView):
    """As the canonical one."""

    manner = refusals.EDITING
