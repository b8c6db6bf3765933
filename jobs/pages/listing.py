"""The list of jobs: newest first, in pages, by mode, status and operation."""

from __future__ import annotations

from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from jobs.api import pages
from jobs.models import Job
from jobs.pages import words
from jobs.pages.base import PersonPage
from jobs.pages.words import Words

PER_PAGE = 25
FILTERS = ("status", "operation")


class Row:
    """A job as lists show it."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @property
    def words(self) -> Words:
        return words.operation(self.job.operation)

    @property
    def thumb(self) -> str:
        """Where its small picture is; empty where there is none."""
        job = self.job
        if job.erased_at or not job.results:
            return ""
        is_image = job.results[0]["content_type"].startswith("image/")
        return f"/jobs/{job.pk}/0/thumb" if is_image else ""

    @property
    def error(self) -> Words | None:
        return words.error(self.job.error)


class JobsPage(PersonPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        query = {n: v for n in FILTERS if (v := request.GET.get(n, ""))}
        given = {"cursor": request.GET["cursor"]} if request.GET.get("cursor") else {}
        page = pages.page_of(given | {"limit": str(PER_PAGE)}, "jobs")
        jobs = Job.objects.filter(user_id=self.user_id, test=self.test)
        jobs = pages.later(pages.filtered(jobs, query), page.after)
        found = list(jobs.order_by("-created_at", "-id")[: page.limit + 1])
        shown = found[: page.limit]
        here = query | ({"mode": "test"} if self.test else {})
        older = pages.job_cursor(shown[-1]) if len(found) > page.limit else ""
        return self.show(
            "jobs/list.html",
            rows=[Row(job) for job in shown],
            query=query,
            statuses=Job.Status.values,
            operations=_operations(),
            older=f"?{urlencode(here | {'cursor': older})}" if older else "",
            newest=f"/jobs?{urlencode(here)}" if page.after else "",
            unfinished=any(job.ended_at is None for job in shown),
        )


def _operations() -> list[tuple[str, str]]:
    names = sorted(settings.DEFAULT_ENGINES)
    return [(name, words.operation(name).title) for name in names]
