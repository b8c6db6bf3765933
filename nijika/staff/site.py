"""The admin's site: what is registered, and that no deed goes unwritten."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path
from unfold.sites import UnfoldAdminSite

from nijika.staff import audit

MOST_FOUND = 50


class StaffSite(UnfoldAdminSite):  # type: ignore[misc]
    """Registers our own pages only: what a library brings along would change tables
    past the audit log."""

    index_title = "System"
    index_template = "staff/system.html"
    login_template = "staff/login.html"
    site_header = "nijika"

    def register(
        self, model_or_iterable: Any, admin_class: Any = None, **options: Any
    ) -> None:
        from nijika.staff.base import StaffAdmin  # it is made of registered models

        if admin_class is not None and issubclass(admin_class, StaffAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def unregister(self, model_or_iterable: Any) -> None:
        """A library that takes away what it thinks is there finds it gone already."""
        if self.is_registered(model_or_iterable):
            super().unregister(model_or_iterable)

    def admin_view(
        self, view: Callable[..., HttpResponseBase], cacheable: bool = False
    ) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def recorded(request: HttpRequest, *args: Any, **more: Any) -> HttpResponseBase:
            answer = view(request, *args, **more)
            if _did_something(request, answer) and not audit.is_recorded(request):
                details = {"path": request.path, "method": request.method}
                audit.record(request, "changed something", details=details)
            return answer

        return super().admin_view(recorded, cacheable)  # type: ignore[no-any-return]

    def extra_urls(self) -> list[URLPattern]:
        from nijika.staff import pages  # it shows the site's own context

        live = self.admin_view(pages.live(self))
        return [path("live/", live, name="live")]

    def search(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """What the term names, as it is written: unfold's own would make it small
        letters, which keys are not, and remember it."""
        from nijika.staff import finding

        term = request.GET.get("s", "").strip()
        if not term:
            return HttpResponse()
        started = time.monotonic()
        pages = self._search_apps(self.get_app_list(request), term.lower())
        found = Paginator(pages + finding.find(request, term), MOST_FOUND)
        context: dict[str, Any] = {"results": found.page(1), "page_obj": found}
        context |= {"page_counter": 0, "execution_time": time.monotonic() - started}
        answer = render(request, "unfold/helpers/command_results.html", context)
        answer["HX-Trigger"] = "search"
        return answer

    def index(self, request: HttpRequest, extra_context: Any = None) -> Any:
        from nijika.staff import pages

        return super().index(request, pages.system() | (extra_context or {}))


def _did_something(request: HttpRequest, answer: HttpResponseBase) -> bool:
    """Whether a form went through: after that, and only then, pages lead elsewhere."""
    is_form = request.method not in ("GET", "HEAD", "OPTIONS")
    return is_form and 300 <= answer.status_code < 400 and request.user.is_authenticated
