"""The ledger to read, and credits given and taken with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db import transaction
from django.urls import reverse
from django.utils.html import format_html
from unfold.widgets import UnfoldAdminDecimalFieldWidget

from billing import ledger
from billing.errors import InsufficientCredits
from billing.ledger import Posting
from billing.models import Entry, Wallet
from nijika.errors import Conflict
from nijika.staff import audit, finding
from nijika.staff.acts import Deed, ReasonForm
from nijika.staff.base import StaffAdmin, choice, labelled, narrow, short
from nijika.staff.keyset import SEARCH, Walk

BY_STAFF = "staff:"
"""How the references of such entries begin."""


class TooLittle(Conflict):
    """Not all of them have that much; nothing was taken from anybody."""


class CreditsForm(ReasonForm):
    """How much to give or, below zero, to take."""

    credits = forms.DecimalField(
        max_digits=15,
        decimal_places=4,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="Below zero takes credits.",
    )
    field_order = ("credits", "reason")

    def clean_credits(self) -> Decimal:
        amount: Decimal = self.cleaned_data["credits"]
        if not amount or abs(amount) > ledger.MOST:
            raise forms.ValidationError("That is no amount to give or take.")
        return amount


@transaction.atomic
def move(deed: Deed) -> str:
    """Give each as much, or take it, all or none; sent twice, it is done once."""
    amount: Decimal = deed.given["credits"]
    post = ledger.grant_many if amount > 0 else ledger.adjust_many
    postings = [_posting(deed, user.pk, amount) for user in deed.rows]
    try:
        # Inside, so that its failure leaves the outer transaction usable.
        with transaction.atomic():
            post(postings)
    except InsufficientCredits as error:
        raise _too_little(error, len(postings)) from error
    for user in deed.rows:
        audit.record(
            deed.request,
            "credits given" if amount > 0 else "credits taken",
            user,
            user_id=user.pk,
            reason=deed.reason,
            details={"credits": f"{amount:.4f}"},
            once=deed.once(user),
        )
    verb = "given to" if amount > 0 else "taken from"
    each = " each" if len(deed.rows) > 1 else ""
    whom = deed.rows[0].email if len(deed.rows) == 1 else f"{len(deed.rows)} users"
    return f"{abs(amount).normalize():f} credits {verb} {whom}{each}."


def _posting(deed: Deed, user_id: int, amount: Decimal) -> Posting:
    return Posting(
        user_id=user_id,
        credits=amount,
        reference=f"{BY_STAFF}{deed.given['once']}:{user_id}",
        note=deed.reason,
        created_by_id=deed.actor_id,
    )


def _too_little(error: InsufficientCredits, users: int) -> Conflict:
    if users == 1:
        return TooLittle(f"Only {error.available} are available.")
    return TooLittle()


class WalletAdmin(StaffAdmin):
    """What everybody has. Credits are given and taken on the users' pages."""

    list_display = ("whose", "available", "held", "entries")
    list_display_links = None
    list_filter = (narrow("user"),)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    search_help_text = "An e-mail or its beginning, or a user's id"
    fields = (("whose", "available", "held", "entries"),)
    time_field = ""

    def walk(self, asked: Mapping[str, str]) -> Walk:
        if asked.get("user", "").isdecimal():
            return Walk(where={"user_id": asked["user"]}, answers=frozenset({"user"}))
        if SEARCH in asked:
            people = [user.pk for user in finding.people(asked[SEARCH].strip())]
            return Walk(where={"user_id__in": people}, answers=frozenset({SEARCH}))
        return Walk()

    @admin.display(description="user")
    def whose(self, wallet: Wallet) -> str:
        link = reverse("admin:accounts_user_change", args=[wallet.user_id])
        return format_html('<a href="{}">{}</a>', link, wallet.user)

    @admin.display(description="entries")
    def entries(self, wallet: Wallet) -> str:
        link = reverse("admin:billing_entry_changelist")
        return format_html('<a href="{}?user={}">Ledger</a>', link, wallet.user_id)


class EntryAdmin(StaffAdmin):
    list_display = (
        "created_at",
        "whose",
        "kind_label",
        "moved",
        "moved_held",
        "available_after",
        "of_what",
        "note",
        "created_by",
    )
    list_display_links = ("created_at",)
    list_filter = (choice("kind", Entry.Kind.values), narrow("user"))
    list_select_related = ("wallet__user", "created_by")
    search_fields = ("reference",)
    search_help_text = "A reference (a job's id), or an e-mail"
    fields = (
        ("created_at", "whose", "kind"),
        ("amount", "held_amount", "available_after", "held_after"),
        ("reference", "note", "created_by"),
    )

    def walk(self, asked: Mapping[str, str]) -> Walk:
        query = asked.get(SEARCH, "").strip()
        people = finding.people(query) if "@" in query else []
        if asked.get("user", "").isdecimal():
            return Walk(
                where=_wallet_of([int(asked["user"])]), answers=frozenset({"user"})
            )
        if people:
            where = _wallet_of([user.pk for user in people[:1]])
            return Walk(where=where, answers=frozenset({SEARCH}))
        if query:
            # With all kinds named, the index over (kind, reference) finds it.
            where = {"kind__in": Entry.Kind.values, "reference": query}
            return Walk(where=where, answers=frozenset({SEARCH}))
        return Walk()

    @admin.display(description="user")
    def whose(self, entry: Entry) -> str:
        return str(entry.wallet.user)

    @labelled(
        "kind",
        {
            "grant": "success",
            "purchase": "success",
            "refund": "info",
            "adjustment": "warning",
            "hold": "",
            "settle": "",
        },
    )
    def kind_label(self, entry: Entry) -> str:
        return entry.kind

    @admin.display(description="reference")
    def of_what(self, entry: Entry) -> str:
        job_id = finding.id_of(entry.reference)
        if entry.reference.startswith(BY_STAFF):
            return format_html('<span title="{}">staff</span>', entry.reference)
        if job_id is None:
            return entry.reference
        link = reverse("admin:jobs_job_change", args=[job_id])
        return format_html('<a href="{}">{}</a>', link, short(job_id))

    @admin.display(description="amount")
    def moved(self, entry: Entry) -> str:
        return f"{entry.amount:+.4f}" if entry.amount else ""

    @admin.display(description="held")
    def moved_held(self, entry: Entry) -> str:
        return f"{entry.held_amount:+.4f}" if entry.held_amount else ""


def _wallet_of(user_ids: list[int]) -> dict[str, Any]:
    wallets = Wallet.objects.filter(user_id__in=user_ids)
    return {"wallet_id__in": list(wallets.values_list("pk", flat=True))}


admin.site.register(Wallet, WalletAdmin)
admin.site.register(Entry, EntryAdmin)
