"""`/generate` in the words of the older editor, at once or as a task to ask after.

With an `input_image` it is an edit, without one a picture from the prompt alone.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase

from jobs import lifecycle, results
from jobs.api.base import id_of
from jobs.api.rendering import answer, with_credits
from jobs.api.views import available_to
from jobs.errors import JobNotFound
from jobs.faces import refusals
from jobs.faces.reading import Fields
from jobs.faces.refusals import Manner, NotDone
from jobs.faces.serving import (
    Answer,
    FaceView,
    OrderFace,
    base64_of,
    json_answer,
    send_bytes,
    settled,
    succeeded,
)
from jobs.following import waiting
from jobs.models import UNFINISHED, Job
from jobs.requests.inputs import Given, job_id_of
from jobs.requests.orders import Order, Orderer
from jobs.submission import Accepted
from nijika.continuation import finish
from nijika.errors import NijikaError

MOST_PER_REQUEST = 20
DEFAULT_STEPS = 10
NOT_HERE = "is not to be had here"
# What the older clients may send although nothing follows from it, there or here.
WITHOUT_EFFECT = ("enable_mae_refinement", "refine_mask_with_birefnet", "enable_debug")
CHOSEN = ("angle", "scene")
ROLES = {
    "mask": "conditional_images",
    "reference": "reference_image",
    "reference_mask": "reference_mask_R",
}
MEMORY_FLAGS = (
    "enable_4bit_text_encoder",
    "enable_cpu_offload",
    "enable_memory_optimizations",
)


def order_of(fields: Fields) -> Order:
    """The order that the older request stands for. Raises BadFields."""
    image = fields.image("image", "input_image")
    conditions = fields.images("image", "conditional_images")
    roles = [
        *_mask(conditions),
        *fields.image("reference", "reference_image"),
        *fields.image("reference_mask", "reference_mask_R"),
    ]
    parameters = _parameters(fields)
    fields.old_names |= ROLES
    if not conditions:
        parameters.pop("mask_tool", None)  # sent for every task; it is about a mask
    if not image:
        return Order(operation="generate", parameters=parameters, images=roles)
    if task := _task(fields, [given.role for given in roles]):
        parameters["task"] = task
    if task == "white-balance":  # they are sent for every task, and say nothing to it
        parameters = {n: v for n, v in parameters.items() if n not in CHOSEN}
    return Order(
        operation="edit",
        parameters=parameters,
        images=[*image, *roles, *conditions[1:]],
    )


def _mask(conditions: list[Given]) -> list[Given]:
    """The first condition says where; the others go along as they are."""
    return [replace(one, role="mask") for one in conditions[:1]]


def _parameters(fields: Fields) -> dict[str, Any]:
    given: dict[str, Any] = {"steps": DEFAULT_STEPS}
    given |= fields.parameters(
        prompt=("prompt", "string"),
        negative_prompt=("negative_prompt", "string"),
        width=("width", "integer"),
        height=("height", "integer"),
        steps=("num_inference_steps", "integer"),
        true_cfg_scale=("true_cfg_scale", "number"),
        guidance_scale=("guidance_scale", "number"),
        seed=("seed", "integer"),
        input_quality=("input_quality", "string"),
        mask_tool=("mask_tool_type", "string"),
        angle=("angle", "string"),
        scene=("background_preset", "string"),
    )
    # Old clients send a single space to keep the guidance on, and nothing for nothing.
    for name in ("prompt", "negative_prompt", *CHOSEN):
        if isinstance(given.get(name), str) and not given[name].strip():
            del given[name]
    if "true_cfg_scale" in given:  # the real one of the two
        given.pop("guidance_scale", None)
    _look_at_the_rest(fields)
    return given


def _look_at_the_rest(fields: Fields) -> None:
    for name in WITHOUT_EFFECT:
        fields.flag(name, default=False)
    for name in (*MEMORY_FLAGS, "enable_flowmatch_scheduler"):
        fields.refuse(name, unless=False, message=NOT_HERE)


def _task(fields: Fields, roles: list[str]) -> str:
    """The task that was named, else the one that the images speak of."""
    named = fields.text("task_type")
    fields.old_names["task"] = "task_type"
    if named:
        return named
    if "reference" in roles:
        return "insertion"
    return "removal" if "mask" in roles else ""


class GenerateView(OrderFace):
    """Wait for the picture; JSON, or the picture itself where `Accept` asks for one."""

    manner = refusals.GENERATION

    def order(self, fields: Fields) -> Order:
        return order_of(fields)

    def answer(self, request: HttpRequest, fields: Fields) -> Answer:
        if "image/" in request.META.get("HTTP_ACCEPT", "").lower():
            return send_bytes
        return json_answer(_generated)


def _generated(job: Job) -> dict[str, Any]:
    task = job.parameters.get("task")
    return {
        "image": base64_of(job),
        "generation_time": (job.engine_ms or 0) / 1000,
        "model_used": f"{job.engine}_{task}" if task else job.engine,
        "parameters_used": job.parameters,
        "request_id": job.request_id,
        "task_id": str(job.pk),
        "debug_info": _debug_info(job),
    }


def _debug_info(job: Job) -> dict[str, Any]:
    given = [one for one in job.inputs if one["role"] == "image"]
    return {
        "input_image_size": _size(given[0]) if given else None,
        "output_image_size": _size(job.results[0]),
        "conditional_labels": [one["role"] for one in job.inputs[1:]],
    }


def _size(image: dict[str, Any]) -> str:
    return f"{image['width_px']}x{image['height_px']}"


class GenerateLaterView(GenerateView):
    """Accept the order and name its task; the other views here tell what becomes of
    it."""

    def finished(
        self,
        request: HttpRequest,
        accepting: Future[Accepted],
        how: Answer,
        orderer: Orderer,
    ) -> HttpResponseBase:
        outcome = settled(accepting)
        return finish(request, outcome, partial(_accepted, self.manner, self.old_names))


def _accepted(
    manner: Manner, old_names: dict[str, str], accepted: Accepted | BaseException
) -> HttpResponse:
    """Runs in the front's event loop: no query here."""
    if isinstance(accepted, NijikaError):
        return manner.refuse(accepted, old_names)
    if isinstance(accepted, BaseException):
        raise accepted
    job = accepted.job
    content = {
        "task_id": str(job.pk),
        "status": state_of(job)["status"],
        "message": "Generation job submitted successfully",
    }
    response = with_credits(answer(content), job, accepted.available)
    if accepted.replayed:
        response["Idempotency-Replayed"] = "true"
    return response


def state_of(job: Job) -> dict[str, Any]:
    """The job as the older system's tasks look: its words, and progress from 0 to 1."""
    progress = job.progress or {}
    step, total = progress.get("step"), progress.get("total")
    status, share = _STATES[job.status]
    message = None
    if job.status == Job.Status.RUNNING:
        message = progress.get("message") or None
        if step and total:
            status, share = "processing", 0.3 + 0.65 * step / total
        elif message and message.lower().startswith("loading"):
            status, share = "loading_pipeline", 0.2
    return {
        "task_id": str(job.pk),
        "status": status,
        "progress": round(share, 4),
        "current_step": step,
        "total_steps": total,
        "loading_message": message if status == "loading_pipeline" else None,
        "error": job.error["message"] if job.error else None,
    }


_STATES = {
    "queued": ("queued", 0.0),
    "running": ("initializing_a100", 0.1),
    "succeeded": ("done", 1.0),
    "failed": ("error", 0.0),
    "cancelled": ("cancelled", 0.0),
}


class TaskView(FaceView):
    """What all views of a task share: an own job, by the task's id."""

    manner = refusals.GENERATION
    scopes = {"GET": "jobs:read", "POST": "jobs:write"}
    http_method_names = ["get", "head", "options"]

    def own(self, task_id: str) -> Job:
        return results.find(id_of(task_id), **self.owner)[0]

    def done(self, task_id: str) -> Job:
        """Raises NotDone, JobFailed, JobCancelled and ResultErased."""
        job, over = results.find(id_of(task_id), **self.owner)
        if not waiting.has_ended(job):
            raise NotDone(f"The task is {state_of(job)['status']}.")
        succeeded(job)
        results.result_of(job, 0, over=over)
        return job


class TaskStatusView(TaskView):
    def get(self, request: HttpRequest, task_id: str) -> HttpResponse:
        job = self.own(task_id)
        return with_credits(answer(state_of(job)), job, available_to(job))


class TaskResultView(TaskView):
    def get(self, request: HttpRequest, task_id: str) -> HttpResponse:
        job = self.done(task_id)
        content = {
            "task_id": str(job.pk),
            "status": "done",
            "image": base64_of(job),
            "debug_info": _debug_info(job),
        }
        return with_credits(answer(content), job, available_to(job))


class TaskImageView(TaskView):
    """The picture itself, in its own type; only its owner may keep it."""

    def get(self, request: HttpRequest, task_id: str) -> HttpResponseBase:
        job = self.done(task_id)
        response = with_credits(send_bytes(request, job), job, available_to(job))
        response["Cache-Control"] = "private, max-age=31536000, immutable"
        return response


class CancelView(FaceView):
    """Cancel a task by its id, or whatever of the caller's is unfinished under a
    request id that they have chosen themselves (`X-Request-Id`)."""

    manner = refusals.GENERATION
    scopes = {"POST": "jobs:write"}
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, task_id: str) -> HttpResponse:
        cancelled = cancel(task_id, **self.owner)
        content = {
            "success": True,
            "message": f"Cancelled: {', '.join(cancelled)}",
            "task_id": task_id,
            "request_id": task_id,
        }
        return answer(content)


def cancel(task_id: str, **owner: Any) -> list[str]:
    """The ids of the jobs that are cancelled now. Raises JobNotFound, and
    JobNotCancellable for one that has ended otherwise."""
    job_id = job_id_of(task_id)
    if job_id is not None and Job.objects.filter(pk=job_id, **owner).exists():
        lifecycle.cancel(job_id, **owner)
        return [task_id]
    mine = Job.objects.filter(UNFINISHED, request_id=task_id, **owner)
    found = list(mine.values_list("pk", flat=True)[:MOST_PER_REQUEST])
    if not found:
        raise JobNotFound
    for one in found:
        lifecycle.cancel(one, **owner)
    return [str(one) for one in found]
