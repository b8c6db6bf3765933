"""The pages of credits."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views import View

from billing import ledger
from billing.models import Entry, Price
from billing.pages import export
from nijika.continuation import stream
from nijika.errors import NotFound
from nijika.pieces import PiecesFeed

PER_PAGE = 30
KINDS = {
    Entry.Kind.GRANT: "Given",
    Entry.Kind.PURCHASE: "Bought",
    Entry.Kind.HOLD: "Set aside for a job",
    Entry.Kind.ADJUSTMENT: "Corrected",
    Entry.Kind.REFUND: "Refunded",
}
ID = "[0-9]{1,18}"


class CreditsPage(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        user_id = cast(int, request.user.pk)
        before = request.GET.get("before", "")
        if before and not re.fullmatch(ID, before):
            raise NotFound
        found = ledger.statement(
            user_id, limit=PER_PAGE + 1, before=int(before) if before else None
        )
        shown = found[:PER_PAGE]
        available, held = ledger.balance(user_id)
        context = {
            "available": available,
            "held": held,
            "is_low": available < settings.CREDITS_LOW,
            "entries": [_row(entry) for entry in shown],
            "older": shown[-1].pk if len(found) > PER_PAGE else None,
            "before": before,
            "prices": prices(),
        }
        response = render(request, "billing/credits.html", context)
        response["Cache-Control"] = "no-store"
        return response


class Export(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponseBase:
        feed = PiecesFeed(export.pieces(cast(int, request.user.pk)))
        response = stream(request, feed, content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = 'attachment; filename="nijika-credits.csv"'
        response["Cache-Control"] = "no-store"
        response["X-Content-Type-Options"] = "nosniff"
        return response


class PricesPage(View):
    """Needs nobody: prices are no secret."""

    def get(self, request: HttpRequest) -> HttpResponse:
        return render(request, "billing/prices.html", {"prices": prices()})


def prices() -> list[dict[str, Any]]:
    """What is offered here and what it costs, engines with a price of their own
    included."""
    rows = Price.objects.order_by("operation", "engine", "own_key")
    offered = settings.DEFAULT_ENGINES
    return [
        {
            "operation": row.operation,
            "engine": row.engine,
            "own_key": row.own_key,
            "credits": row.credits,
            "per_credit": _per_credit(row.credits),
        }
        for row in rows
        if row.operation in offered
    ]


def _per_credit(price: Decimal) -> int | None:
    """How many whole jobs one credit pays."""
    return int(1 / price) if 0 < price <= 1 else None


def _words(entry: Entry) -> str:
    if entry.kind != Entry.Kind.SETTLE:
        return KINDS.get(Entry.Kind(entry.kind), entry.kind)
    if not entry.amount:
        return "Charged for a job"
    is_all = entry.amount == -entry.held_amount
    return (
        "Given back, nothing charged" if is_all else "Charged in part, rest given back"
    )


def _row(entry: Entry) -> dict[str, Any]:
    is_settled = entry.kind == Entry.Kind.SETTLE
    is_job = entry.kind in (Entry.Kind.HOLD, Entry.Kind.SETTLE, Entry.Kind.REFUND)
    return {
        "entry": entry,
        "words": _words(entry),
        "charged": -entry.held_amount - entry.amount if is_settled else Decimal(0),
        "job": entry.reference if is_job else "",
    }
