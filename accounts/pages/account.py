"""One's own account: ways in, browsers, the data, and leaving."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views import View

from accounts import adapters, browsers, exporting, leaving, linking
from accounts.errors import LastWayIn, LinkNotFound, StaffStays
from accounts.pages.forms import DeleteForm
from accounts.pages.keys import user_of
from accounts.signing_in import NAMES, SeeOther
from nijika.errors import Unavailable


class AccountView(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        user = user_of(request)
        links = linking.links_of(user)
        context = {
            "links": [{"link": one, "name": NAMES[one.provider]} for one in links],
            "is_only_way": len(links) == 1 and not linking.may_use_password(user),
            "providers": adapters.apps(),
            "browsers": browsers.list_of(user, current=request.session.session_key),
        }
        return render(request, "accounts/account.html", context)


class UnlinkView(LoginRequiredMixin, View):
    def post(self, request: HttpRequest, link_id: int) -> HttpResponse:
        try:
            provider = linking.unlink(user_of(request), link_id)
        except (LastWayIn, LinkNotFound) as error:
            messages.error(request, str(error))
        else:
            messages.success(request, f"Your {NAMES[provider]} account is unlinked.")
        return _back()


class EndBrowserView(LoginRequiredMixin, View):
    def post(self, request: HttpRequest, browser_id: str) -> HttpResponse:
        if browsers.end(user_of(request), browser_id):
            messages.success(request, "That browser is signed out.")
        return _back()


class EndOtherBrowsersView(LoginRequiredMixin, View):
    def post(self, request: HttpRequest) -> HttpResponse:
        current = request.session.session_key
        count = browsers.end_others(user_of(request), current=current)
        words = "other browser is" if count == 1 else "other browsers are"
        messages.success(request, f"{count} {words} signed out.")
        return _back()


class ExportView(LoginRequiredMixin, View):
    """All that is kept about somebody, as one JSON document. Raises Busy."""

    def get(self, request: HttpRequest) -> StreamingHttpResponse:
        if not _exports.acquire(blocking=False):
            raise Busy
        document = _Export(exporting.document(user_of(request)))
        answer = StreamingHttpResponse(document, content_type="application/json")
        name = f"nijika-{timezone.now():%Y-%m-%d}.json"
        answer["Content-Disposition"] = f'attachment; filename="{name}"'
        answer["Cache-Control"] = "no-store"
        return answer


class DeleteView(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return _delete_page(request, DeleteForm(expected=user_of(request).email))

    def post(self, request: HttpRequest) -> HttpResponse:
        user = user_of(request)
        form = DeleteForm(request.POST, expected=user.email)
        if not form.is_valid():
            return _delete_page(request, form, status=422)
        try:
            leaving.leave(user)
        except StaffStays as error:
            messages.error(request, str(error))
            return _back()
        logout(request)
        return render(request, "accounts/left.html")


class Busy(Unavailable):
    """Somebody else is being given their data. Please try again in a minute."""

    headers = {"Retry-After": "60"}


_exports = threading.BoundedSemaphore(1)
"""A slow reader holds a thread of the web server: of such there is one at most."""


class _Export:
    """The pieces of a document; once closed, it is another's turn."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            _exports.release()


def _delete_page(
    request: HttpRequest, form: DeleteForm, *, status: int = 200
) -> HttpResponse:
    return render(request, "accounts/delete.html", {"form": form}, status=status)


def _back() -> SeeOther:
    return SeeOther(reverse("accounts:account"))
