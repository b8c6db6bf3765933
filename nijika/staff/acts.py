"""What staff can do: a page that says what will happen and asks why, then it happens.

An act is a button on the page of one thing and an entry of its list's menu for many.
Nothing is done by a GET, nor without a reason, nor by whoever lacks the permission; a
form that is sent twice carries the same `once`, by which the act knows its twin.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django import forms
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from unfold.widgets import UnfoldAdminTextInputWidget

MOST = 100
"""How many things one act may concern."""


def reason() -> forms.CharField:
    """The field that every form has which changes something."""
    return forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextInputWidget,
        help_text="Goes into the audit log.",
    )


class ReasonForm(forms.Form):
    reason = reason()
    once = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """An act that is to be done now: by whom, on what, with what the form says."""

    request: HttpRequest
    rows: Sequence[Any]
    given: Mapping[str, Any]

    @property
    def reason(self) -> str:
        return str(self.given["reason"])

    @property
    def actor_id(self) -> int:
        actor_id = self.request.user.pk
        assert actor_id is not None  # the admin lets nobody else in
        return int(actor_id)

    def once(self, row: Model) -> uuid.UUID:
        """This deed on this row, and its twin's if the form is sent twice."""
        return uuid.uuid5(self.given["once"], str(row.pk))


class Do(Protocol):
    """Does it and says what was done, or answers with a page. Raises NijikaError, which
    is shown beside the form: then nothing was done."""

    def __call__(self, deed: Deed) -> str | HttpResponse: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """`says` is what will happen; `on` tells on which rows the button is shown."""

    name: str
    title: str
    says: str
    permission: str
    icon: str
    do: Do
    form: type[ReasonForm] = ReasonForm
    on: Callable[[Any], bool] = lambda row: True
    on_many: bool = True
    is_dangerous: bool = False

    def is_allowed(self, request: HttpRequest) -> bool:
        return request.user.has_perm(self.permission)
