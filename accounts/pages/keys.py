"""API keys: made, shown once, replaced and ended by their owner."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views import View

from accounts import issuing, shown_once
from accounts.errors import KeyNotActive
from accounts.models import ApiKey, User
from accounts.pages.forms import KeyForm, state_of
from accounts.signing_in import SeeOther

ENDED_SHOWN = 20


class KeysView(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        page = _page(request, KeyForm())
        shown_once.forget(page)
        return page

    def post(self, request: HttpRequest) -> HttpResponse:
        form = KeyForm(request.POST)
        if not form.is_valid():
            return _page(request, form, status=422)
        user = user_of(request)
        issued = issuing.issue(user, **form.issued_as())
        return _to_list(user, issued)


class RotateView(LoginRequiredMixin, View):
    """A key like it; the old one works on for a day."""

    def post(self, request: HttpRequest, key_id: int) -> HttpResponse:
        user = user_of(request)
        try:
            issued = issuing.rotate(_own(user, key_id))
        except KeyNotActive as error:
            messages.error(request, str(error))
            return SeeOther(reverse("accounts:keys"))
        return _to_list(user, issued)


class RevokeView(LoginRequiredMixin, View):
    def post(self, request: HttpRequest, key_id: int) -> HttpResponse:
        key = _own(user_of(request), key_id)
        issuing.revoke(key)
        messages.success(request, f"{key.name} is revoked, everywhere within a second.")
        return SeeOther(reverse("accounts:keys"))


def user_of(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _own(user: User, key_id: int) -> ApiKey:
    """Raises Http404 for a key of somebody else, as for one that there is none of."""
    key = ApiKey.objects.select_related("user").filter(pk=key_id, user=user).first()
    if key is None:
        raise Http404
    return key


def _to_list(user: User, issued: issuing.Issued) -> HttpResponse:
    answer = SeeOther(reverse("accounts:keys"))
    shown_once.hand_over(answer, issued.secret, user=user)
    return answer


def _page(request: HttpRequest, form: KeyForm, *, status: int = 200) -> HttpResponse:
    user = user_of(request)
    rows: list[dict[str, Any]] = [
        {"key": key, "state": state_of(key)}
        for key in ApiKey.objects.filter(user=user).order_by("-created_at", "-pk")
    ]
    context = {
        "form": form,
        "active": [row for row in rows if row["state"] == "active"],
        "ended": [row for row in rows if row["state"] != "active"][:ENDED_SHOWN],
        "secret": shown_once.take(request, user=user),
    }
    return render(request, "accounts/keys.html", context, status=status)
