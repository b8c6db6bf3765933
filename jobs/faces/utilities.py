"""`/image-utils/...`: what a processor does in a moment.

Two of these had endpoints before; of the others the older system's documents spoke.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest

from jobs.faces import refusals
from jobs.faces.reading import Fields, required
from jobs.faces.serving import (
    Answer,
    OrderFace,
    base64_of,
    json_answer,
    send_bytes,
    wants_bytes,
)
from jobs.requests.inputs import Given
from jobs.requests.orders import Order

PREVIEW_BACKDROP = "#f5f5f5"
Wanted = dict[str, tuple[str, str]]


class UtilityView(OrderFace):
    """An imaging operation on `image`, and on `mask` where it takes one.

    `wanted` are parameters for which clients have other names; all other fields are
    parameters by their own. `fixed` holds where nothing else is said, and `member` is
    where the image stands in an answer of JSON.
    """

    manner = refusals.UTILITIES
    light = True
    operation: ClassVar[str]
    member: ClassVar[str] = "image"
    image_names: ClassVar[tuple[str, ...]] = ("image", "input_image", "file")
    mask_names: ClassVar[tuple[str, ...]] = ()
    wanted: ClassVar[Wanted] = {}
    fixed: ClassVar[dict[str, Any]] = {}

    def order(self, fields: Fields) -> Order:
        names = self.image_names
        images = required(fields.image("image", *names), names[0])
        images += self._mask(fields)
        given = self.parameters(fields)
        rest = fields.rest()
        fixed = {name: one for name, one in self.fixed.items() if name not in rest}
        return Order(
            operation=self.operation,
            parameters=fixed | given | ({} if fields.is_form else rest),
            texts=rest if fields.is_form else {},
            images=images,
        )

    def parameters(self, fields: Fields) -> dict[str, Any]:
        return fields.parameters(**self.wanted)

    def _mask(self, fields: Fields) -> list[Given]:
        return fields.image("mask", *self.mask_names) if self.mask_names else []

    def answer(self, request: HttpRequest, fields: Fields) -> Answer:
        if wants_bytes(request, fields):
            return send_bytes
        member = self.member
        return json_answer(lambda job: {member: base64_of(job)})


class ExtractObjectView(UtilityView):
    """The object alone on a white square, or the whole image with the mask as alpha."""

    operation = "extract"
    member = "extracted_image"
    mask_names = ("mask", "mask_image")
    fixed = {"mode": "square", "format": "png"}


class ShadowPreviewView(UtilityView):
    """An extracted object with its shadow, on light grey."""

    operation = "shadow"
    member = "preview_image"
    image_names = ("extracted_image", "image")
    mask_names = ("mask",)
    fixed = {"backdrop": PREVIEW_BACKDROP, "format": "png"}
    wanted = {
        "offset_x": ("shadow_offset_x", "integer"),
        "offset_y": ("shadow_offset_y", "integer"),
        "opacity": ("shadow_opacity", "number"),
        "blur_radius": ("blur_radius", "integer"),
    }


class InpaintView(UtilityView):
    """The "MAE picture": the hole under a mask, filled from its surroundings."""

    operation = "inpaint"
    mask_names = ("mask", "mask_image")
    fixed = {"format": "png"}

    def parameters(self, fields: Fields) -> dict[str, Any]:
        """A box is exact, as an area is; a brush is widened."""
        tool = fields.parameters(mask_type=("mask_tool_type", "string"))
        if tool.get("mask_type") == "box":
            tool["mask_type"] = "area"
        return tool


class CannyView(UtilityView):
    """White edges on black: by thresholds that are given, else by the image's own."""

    operation = "canny"
    fixed = {"format": "png"}
    wanted = {
        "low": ("low_threshold", "integer"),
        "high": ("high_threshold", "integer"),
    }

    def parameters(self, fields: Fields) -> dict[str, Any]:
        given = super().parameters(fields)
        fixed = given and not fields.has("mode")
        return given | ({"mode": "fixed"} if fixed else {})


class WhiteBalanceView(UtilityView):
    """`method` auto or manual, `temperature` and `tint` from -100 to 100."""

    operation = "white-balance"
    member = "corrected_image"
    wanted = {"mode": ("method", "string")}


class ResizeView(UtilityView):
    operation = "resize"


class CropView(UtilityView):
    operation = "crop"


class EncodeView(UtilityView):
    operation = "encode"
