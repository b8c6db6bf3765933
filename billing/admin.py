"""Credits and prices, for staff. Credits move by the ledger; entries are read."""

import uuid
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse

from billing import ledger
from billing.errors import InsufficientCredits
from billing.models import Entry, Price, Wallet


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """To look at. Nothing is added, changed or removed here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False


class CreditsForm(forms.Form):
    """How much to give (or, below zero, to take) and why. `reference` makes it once."""

    credits = forms.DecimalField(
        max_digits=15, decimal_places=4, help_text="Below zero takes credits."
    )
    reason = forms.CharField(max_length=300)
    reference = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def clean_credits(self) -> Decimal:
        credits: Decimal = self.cleaned_data["credits"]
        if not credits or abs(credits) > ledger.MOST:
            raise forms.ValidationError("That is no amount to give or take.")
        return credits

    def move(self, wallet: Wallet, by_id: int | None) -> None:
        """Raises InsufficientCredits if more is to be taken than is available."""
        move = ledger.grant if self.cleaned_data["credits"] > 0 else ledger.adjust
        move(
            wallet.user_id,
            self.cleaned_data["credits"],
            f"staff:{self.cleaned_data['reference']}",
            note=self.cleaned_data["reason"],
            created_by_id=by_id,
        )


@admin.register(Wallet)
class WalletAdmin(ReadOnlyAdmin):
    list_display = ("user", "available", "held")
    list_select_related = ("user",)
    search_fields = ("user__email",)

    def get_urls(self) -> list[URLPattern]:
        credits = path(
            "<int:wallet_id>/credits/",
            self.admin_site.admin_view(self.change_credits),
            name="billing_wallet_credits",
        )
        return [credits, *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        extra = {"may_change_credits": _may_change_credits(request)}
        return super().change_view(
            request, object_id, form_url, extra | (extra_context or {})
        )

    def change_credits(self, request: HttpRequest, wallet_id: int) -> HttpResponse:
        """Give or take credits with a reason; sent twice, it is done once."""
        if not _may_change_credits(request):
            raise PermissionDenied
        wallet = get_object_or_404(Wallet.objects.select_related("user"), pk=wallet_id)
        back = reverse("admin:billing_wallet_change", args=[wallet_id])
        form = CreditsForm(request.POST or None)
        if form.is_valid():
            try:
                form.move(wallet, request.user.pk)
            except InsufficientCredits as error:
                form.add_error("credits", f"Only {error.available} are available.")
            else:
                self.message_user(request, "Done.")
                return redirect(back)
        context = {"title": "Give or take credits", "form": form, "wallet": wallet}
        page = {**self.admin_site.each_context(request), **context, "back": back}
        return render(request, "billing/change_credits.html", page)


def _may_change_credits(request: HttpRequest) -> bool:
    return request.user.has_perm("billing.change_wallet")


@admin.register(Entry)
class EntryAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at",
        "wallet_user",
        "kind",
        "amount",
        "held_amount",
        "available_after",
        "held_after",
        "reference",
        "note",
        "created_by",
    )
    list_filter = ("kind", "created_at")
    list_select_related = ("wallet__user", "created_by")
    search_fields = ("=reference", "wallet__user__email")
    ordering = ("-id",)

    @admin.display(description="user")
    def wallet_user(self, entry: Entry) -> str:
        return str(entry.wallet.user)

    def lookup_allowed(
        self, lookup: str, value: str, request: HttpRequest | None = None
    ) -> bool:
        return lookup == "wallet__id__exact" or super().lookup_allowed(
            lookup,
            value,
            request,  # type: ignore[arg-type]
        )


@admin.register(Price)
class PriceAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("operation", "engine", "credits", "updated_at")
    ordering = ("operation", "engine")
