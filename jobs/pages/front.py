"""What somebody sees who has not signed in."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from jobs.api import catalogue
from jobs.pages import words


class FrontPage(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated:
            return redirect("pages:overview")
        offered = [words.operation(one["name"]) for one in catalogue.operations()]
        return render(request, "jobs/front.html", {"offered": offered})
