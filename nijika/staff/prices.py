"""Prices: to set, each time with a reason."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from billing.models import Price
from nijika.staff import audit
from nijika.staff.acts import Act, Deed, reason
from nijika.staff.base import StaffAdmin


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]
    """A price, and why it becomes this one."""

    reason = reason()


@transaction.atomic
def delete(deed: Deed) -> HttpResponse:
    """Answers with the list: the page of what was deleted is gone."""
    for price in deed.rows:
        details = {"from": _in_words(price)}
        audit.record(
            deed.request, "price deleted", price, reason=deed.reason, details=details
        )
        price.delete()
    messages.success(deed.request, f"{len(deed.rows)} deleted.")
    return redirect("admin:billing_price_changelist")


class PriceAdmin(StaffAdmin):
    """A change holds for jobs that are submitted a second later; the log has both, and
    why. Django's own deletion asks for no reason, so it is an act."""

    form = PriceForm
    fields = ("operation", "engine", "own_key", "credits", "reason")
    list_display = ("operation", "engine_name", "own_key", "credits", "updated_at")
    list_display_links = ("operation",)
    shown = list_display
    time_field = "updated_at"
    acts = (
        Act(
            name="delete",
            title="Delete",
            says="Jobs then cost what the operation's price for any engine says. "
            "Where there is none, they are refused.",
            permission="billing.delete_price",
            icon="delete",
            do=delete,
            is_dangerous=True,
        ),
    )

    @admin.display(description="engine")
    def engine_name(self, price: Price) -> str:
        return price.engine or "any"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("billing.add_price")

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return request.user.has_perm("billing.change_price")

    def save_model(
        self, request: HttpRequest, obj: Price, form: Any, change: bool
    ) -> None:
        """Runs in the form's transaction; only here is known what the price was."""
        before = Price.objects.get(pk=obj.pk) if change else None
        super().save_model(request, obj, form, change)
        details = {"from": _in_words(before)} if before else {}
        audit.record(
            request,
            "price changed" if before else "price added",
            obj,
            reason=form.cleaned_data["reason"],
            details=details | {"to": _in_words(obj)},
        )

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> None:
        """`save_model` has written it."""

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> None:
        """`save_model` has written it."""


def _in_words(price: Model) -> str:
    return str(price)


admin.site.register(Price, PriceAdmin)
