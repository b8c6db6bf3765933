"""One image in, one image out: `/removebg` and `/upscale`, by URL or by upload."""

from __future__ import annotations

from typing import Any

from jobs.faces import refusals
from jobs.faces.reading import Fields, required
from jobs.faces.serving import OrderFace
from jobs.requests.inputs import Given
from jobs.requests.orders import Order


class RemoveBackgroundView(OrderFace):
    """`url` or `image`; a PNG with transparency at the image's own size."""

    manner = refusals.SINGLES

    def order(self, fields: Fields) -> Order:
        whole = {"format": "png", "size": "50MP"}
        return Order(operation="removebg", parameters=whole, images=_image(fields))


class UpscaleView(OrderFace):
    """As `/removebg`, with `scale`, `model` and `face_enhance`; a JPEG."""

    manner = refusals.SINGLES

    def order(self, fields: Fields) -> Order:
        parameters: dict[str, Any] = {"format": "jpg", "quality": 95}
        parameters |= fields.parameters(
            scale=("scale", "integer"), model=("model", "string")
        )
        if fields.flag("face_enhance", default=False):
            parameters["face_enhance"] = True
        return Order(operation="upscale", parameters=parameters, images=_image(fields))


def _image(fields: Fields) -> list[Given]:
    found = fields.image("image", "url", "image")
    return required(found, "image" if fields.is_form else "url")
