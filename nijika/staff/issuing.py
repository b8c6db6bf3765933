"""Keys that staff makes, rotates and revokes. A secret is on one page, once."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts import issuing
from accounts.authentication import SCOPES
from accounts.issuing import Issued
from nijika.staff import audit
from nijika.staff.acts import Deed, ReasonForm


class KeyForm(ReasonForm):
    name = forms.CharField(max_length=100, widget=UnfoldAdminTextInputWidget)
    test = forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget)
    scopes = forms.MultipleChoiceField(
        choices=[(scope, scope) for scope in SCOPES],
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="None means all.",
    )
    expires_at = forms.DateTimeField(
        required=False,
        label="Expires (UTC)",
        widget=forms.DateTimeInput(
            attrs={"type": "datetime-local", "class": " ".join(INPUT_CLASSES)}
        ),
    )
    field_order = ("name", "test", "scopes", "expires_at", "reason")


@transaction.atomic
def make(deed: Deed) -> HttpResponse:
    [user] = deed.rows
    given = deed.given
    issued = issuing.issue(
        user,
        name=given["name"],
        test=given["test"],
        scopes=given["scopes"],
        expires_at=given["expires_at"],
    )
    _record(deed, "key made", issued.key)
    return shown_once(deed.request, issued)


@transaction.atomic
def rotate(deed: Deed) -> HttpResponse:
    [key] = deed.rows
    issued = issuing.rotate(key)
    _record(deed, "key rotated", key)
    return shown_once(deed.request, issued)


@transaction.atomic
def revoke(deed: Deed) -> str:
    for key in deed.rows:
        if key.revoked_at is None:
            issuing.revoke(key)
            _record(deed, "key revoked", key)
    return f"{len(deed.rows)} revoked, within a second."


def _record(deed: Deed, what: str, key: Any) -> None:
    audit.record(deed.request, what, key, user_id=key.user_id, reason=deed.reason)


def shown_once(request: HttpRequest, issued: Issued) -> HttpResponse:
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "A new key",
        "key": issued.key,
        "secret": issued.secret,
        "back": reverse("admin:accounts_user_change", args=[issued.key.user_id]),
    }
    answer = render(request, "staff/key_shown_once.html", context)
    answer["Cache-Control"] = "no-store"
    return answer
