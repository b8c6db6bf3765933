"""Small pictures of inputs and results, made on the fly and kept; and whole inputs."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase

from jobs import results
from jobs.errors import ResultErased
from jobs.models import Job
from jobs.onthefly import sources, views
from jobs.onthefly.recipes import Recipe, Wish
from jobs.onthefly.views import Ask
from jobs.pages.base import PersonPage
from jobs.results import NoSuchResult, result_of

SIZES_PX = {"thumb": 120, "preview": 1100}


class Preview(PersonPage):
    """A result or the input as a small WebP, whatever format it has itself."""

    def get(
        self, request: HttpRequest, job_id: str, part: str, size: str
    ) -> HttpResponseBase:
        job, _ = self.own_job(job_id)
        side = SIZES_PX[size]
        recipe = Recipe(width=side, height=side, format="webp")
        ask = Ask(
            user_id=job.user_id,
            test=job.test,
            wish=Wish(recipe=recipe),
            source=sources.read(f"job:{job.pk}/{part}"),
            public=False,
        )
        return views.answer(request, ask)


class ResultFile(PersonPage):
    def get(self, request: HttpRequest, job_id: str, index: int) -> HttpResponseBase:
        job, over = self.own_job(job_id)
        return results.send(request, job, result_of(job, index, over=over))


class InputFile(PersonPage):
    """What was sent with a job, as it was sent."""

    def get(self, request: HttpRequest, job_id: str, index: int) -> HttpResponseBase:
        job, over = self.own_job(job_id)
        if over:
            raise ResultErased
        return results.send(request, job, _input(job, index))


def _input(job: Job, index: int) -> dict[str, object]:
    """Raises NoSuchResult, also for a URL that is not fetched yet."""
    if index >= len(job.inputs) or not job.inputs[index]["key"]:
        raise NoSuchResult
    found: dict[str, object] = job.inputs[index] | {"index": f"input-{index}"}
    return found
