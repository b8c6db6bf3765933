"""The system page, and queues and workers live."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from billing import checks
from gpu_worker.contract import ContractError, EngineSpec, from_json
from jobs.models import Engine
from jobs.upkeep import figures
from jobs.workers import engine_states

LIVE_EVERY_S = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineNow:
    """`says` is its state in the workers, or why it is not ready; empty when ready."""

    row: Engine
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """A queue, what works on it, and with what."""

    queue: figures.QueueNow
    workers: list[figures.WorkerNow]
    engines: list[EngineNow]


def system() -> dict[str, Any]:
    """The context of the first page."""
    since, operations = figures.lately()
    return {
        "totals": figures.totals(),
        "since": since,
        "operations": operations,
        "rate": _rate(operations),
        "newest": figures.NEWEST,
        "ledger_check": checks.last(),
        "queues": figures.queues(),
        "chart": json.dumps(_chart(figures.by_hour())),
        "chart_options": json.dumps(CHART),
    }


def _rate(operations: list[figures.Lately]) -> float | None:
    succeeded = sum(one.succeeded for one in operations)
    ended = succeeded + sum(one.failed for one in operations)
    return 100 * succeeded / ended if ended else None


def _chart(hours: list[figures.Hour]) -> dict[str, Any]:
    return {
        "labels": [hour.at.strftime("%H:00") for hour in hours],
        "datasets": [
            _bars("Succeeded", [hour.succeeded for hour in hours], "#5b48e8"),
            _bars("Failed", [hour.failed for hour in hours], "#e5484d"),
        ],
    }


def _bars(label: str, values: list[int], colour: str) -> dict[str, Any]:
    return {
        "label": label,
        "data": values,
        "backgroundColor": colour,
        "stack": "jobs",
        "borderRadius": 3,
        "maxBarThickness": 22,
    }


GREY = "#7a8194"
"""Readable on light and on dark ground alike: a canvas does not know which it is on."""

CHART = {
    "maintainAspectRatio": False,
    "animation": False,
    "plugins": {"legend": {"labels": {"color": GREY}}},
    "scales": {
        "x": {"stacked": True, "grid": {"display": False}, "ticks": {"color": GREY}},
        "y": {
            "stacked": True,
            "beginAtZero": True,
            "ticks": {"precision": 0, "color": GREY},
        },
    },
}


def live(site: AdminSite) -> Callable[[HttpRequest], HttpResponse]:
    """The page; of itself, every other second, it asks for its middle alone."""

    def view(request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm("jobs.view_worker"):
            raise PermissionDenied
        context: dict[str, Any] = {"crews": crews(), "loops": figures.loops()}
        if request.headers.get("HX-Request"):
            return render(request, "staff/_live.html", context)
        context |= site.each_context(request)
        context |= {"title": "Live", "every_s": LIVE_EVERY_S}
        return render(request, "staff/live.html", context)

    return view


def crews() -> list[Crew]:
    workers, engines = figures.workers(), Engine.objects.order_by("operation", "name")
    return [
        Crew(
            queue=queue,
            workers=[one for one in workers if one.queue == queue.name],
            engines=[_now(one) for one in engines if one.queue == queue.name],
        )
        for queue in figures.queues()
    ]


def _now(row: Engine) -> EngineNow:
    try:
        standing = engine_states.standing_of(from_json(EngineSpec, row.spec))
    except ContractError:  # an older worker's announcement
        return EngineNow(row=row, says="")
    return EngineNow(row=row, says=standing.reason or standing.state or "")
