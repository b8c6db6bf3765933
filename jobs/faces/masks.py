"""`/smart-mask`: what somebody points at, as a grey picture.

The answer names the picture by an id, with which the next click need not send it again.
An id is that of the job whose input the picture is, so it is good for its owner alone,
as long as that job's files live.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponseBase

from jobs.errors import BadFields, FieldError
from jobs.faces import generation, refusals
from jobs.faces.reading import Fields
from jobs.faces.refusals import ImageExpired
from jobs.faces.serving import Answer, OrderFace, base64_of, json_answer, send_bytes
from jobs.models import Job
from jobs.requests.inputs import Given, job_id_of
from jobs.requests.orders import Order

AUTO_BORDER = 5
ENGINES = {"segmentation": None, "fastsam": None, "birefnet": "birefnet"}
"""By the older name: the default engine, or one that must be offered by this name."""


class SmartMaskView(OrderFace):
    """`points` before `bbox` before `mask` before `auto_detect`."""

    manner = refusals.MASKS
    always_auto: ClassVar[bool] = False

    def order(self, fields: Fields) -> Order:
        model = fields.text("model_type", "segmentation").lower()
        fields.old_names["engine"] = "model_type"
        if model not in ENGINES:
            known = f"must be one of {', '.join(ENGINES)}"
            raise BadFields(FieldError("model_type", "choice", known))
        parameters = fields.parameters(
            border_adjustment=("border_adjustment", "integer"),
            blur=("use_blur", "boolean"),
        )
        # Its oldest clients could only grow the mask, and called that otherwise.
        parameters |= fields.parameters(border_adjustment=("dilate_amount", "integer"))
        auto = fields.flag("auto_detect", default=False) or self.always_auto
        guidance = _guidance(fields, parameters, auto=auto)
        if self.always_auto:
            parameters["border_adjustment"] = (
                parameters.get("border_adjustment") or AUTO_BORDER
            )
        return Order(
            operation="smart-mask",
            engine=ENGINES[model],
            parameters=parameters,
            images=[self._image(fields), *guidance],
        )

    def post(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return super().post(request)
        except BadFields as bad:
            if any(one["field"] == "image_id" for one in bad.errors):
                raise ImageExpired from None
            raise

    def _image(self, fields: Fields) -> Given:
        """The picture that is sent, else the one that the id stands for."""
        image = fields.image("image", "image")
        image_id = fields.text("image_id")
        if image:
            return image[0]
        if not image_id:
            what = "is missing, and so is image_id"
            raise BadFields(FieldError("image", "required", what))
        if job_id_of(image_id) is None:
            raise ImageExpired
        return Given(role="image", field="image_id", text=f"job:{image_id}/input")

    def answer(self, request: HttpRequest, fields: Fields) -> Answer:
        if "image/" in request.META.get("HTTP_ACCEPT", "").lower():
            return send_bytes
        return json_answer(_masked)


def _guidance(fields: Fields, parameters: dict[str, Any], *, auto: bool) -> list[Given]:
    """Put the one prompt that counts into the parameters, or give the mask."""
    prompts = fields.parameters(points=("points", "array"), box=("bbox", "array"))
    labels = fields.parameters(labels=("labels", "array"))
    mask = fields.image("mask", "mask")
    if prompts.get("points"):
        parameters |= {"points": prompts["points"], **labels}
        return []
    if prompts.get("box"):
        parameters["box"] = _inside(prompts["box"])
        return []
    if mask:
        # With nothing white in it, it is as good as none.
        parameters["auto"] = True
        return mask
    if not auto:
        what = "is missing, and so are bbox, mask and auto_detect"
        raise BadFields(FieldError("points", "required", what))
    parameters["auto"] = True
    if not parameters.get("border_adjustment"):
        parameters["border_adjustment"] = AUTO_BORDER
    return []


def _inside(box: Any) -> Any:
    """Without what lies left of the picture or above it; what is no box stays none."""
    if not isinstance(box, list):
        return box
    numbers = (int, float)
    return [max(one, 0) if isinstance(one, numbers) else one for one in box]


def _masked(job: Job) -> dict[str, Any]:
    return {
        "mask_base64": base64_of(job),
        "image_id": _image_id(job),
        "request_id": job.request_id,
    }


def _image_id(job: Job) -> str:
    """The job to which the picture was sent: the same for every click."""
    folder, owner, *_ = job.inputs[0]["key"].split("/")
    return owner if folder == "inputs" else str(job.pk)


class DetectView(SmartMaskView):
    """The older name of `auto_detect`, which a mask may guide.

    Says 200 even where there is no mask to give: its clients look at `success`.
    """

    manner = refusals.DETECTION
    always_auto = True

    def answer(self, request: HttpRequest, fields: Fields) -> Answer:
        return json_answer(lambda job: {"mask": base64_of(job)})


class CancelView(generation.CancelView):
    manner = refusals.MASKS
