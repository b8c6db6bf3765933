"""Who is asking, in which mode, and how pages answer."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from jobs.api.base import id_of
from jobs.models import Job
from jobs.requests.orders import Orderer
from jobs.results import find
from nijika import request_ids
from nijika.errors import Unauthenticated

MODES = {"live": False, "test": True}


class PersonPage(LoginRequiredMixin, View):
    """A page of whoever is signed in. A script of ours that is not gets the problem."""

    request: HttpRequest

    def handle_no_permission(self) -> Any:
        if "application/json" in self.request.headers.get("Accept", ""):
            raise Unauthenticated("You are signed out. Please sign in again.")
        return super().handle_no_permission()

    @property
    def user_id(self) -> int:
        return cast(int, self.request.user.pk)

    @property
    def test(self) -> bool:
        """Whether the page is about the free sandbox jobs, and not the live ones."""
        return MODES.get(self.request.GET.get("mode", ""), False)

    @property
    def mode(self) -> str:
        return "test" if self.test else "live"

    def orderer(self, *, test: bool, idempotency_key: str | None) -> Orderer:
        return Orderer(
            user_id=self.user_id,
            test=test,
            request_id=self.request_id,
            idempotency_key=idempotency_key,
        )

    @property
    def request_id(self) -> str:
        return str(self.request.META.get(request_ids.KEY, ""))

    def own_job(self, job_id: str) -> tuple[Job, bool]:
        """Of either mode; and whether its files are over. Raises JobNotFound."""
        return find(id_of(job_id), user_id=self.user_id)

    def show(self, template: str, **context: Any) -> HttpResponse:
        response = render(self.request, template, context | {"mode": self.mode})
        response["Cache-Control"] = "no-store"
        return response


def local(url: str) -> str:
    """One of our own addresses without its origin, for a page of ours: people come by
    other names of this host than the one that the settings say."""
    return url.removeprefix(settings.PUBLIC_URL)


def owner_of(job: Job) -> dict[str, Any]:
    """What the services take to be sure whose job it is."""
    return {"user_id": job.user_id, "test": job.test}
