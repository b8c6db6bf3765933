"""The first page after signing in: what is there, what was spent, what happened."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from billing import ledger
from jobs.models import Job
from jobs.pages import spending
from jobs.pages.base import PersonPage
from jobs.pages.listing import Row
from nijika import rates
from nijika.zones import zone_of

SHOWN = 6


class Overview(PersonPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        available, held = ledger.balance(self.user_id)
        zone = zone_of(request)
        chart = spending.chart(
            spending.spent(self.user_id, zone), datetime.now(zone).date()
        )
        jobs = Job.objects.filter(user_id=self.user_id, test=False)
        last = jobs.order_by("-created_at", "-id")[:SHOWN]
        return self.show(
            "jobs/overview.html",
            available=available,
            held=held,
            is_low=available < settings.CREDITS_LOW,
            chart=chart,
            zone=zone.key,
            rows=[Row(job) for job in last],
            limits=_limits(),
        )


def _limits() -> list[tuple[str, str]]:
    """What every account is held to, in words."""
    return [
        ("Requests per API key", _rate(settings.RATE_PER_KEY)),
        ("Largest file", f"{settings.UPLOAD_LIMIT_BYTES / 1_000_000:g} MB"),
        ("Largest image", f"{settings.IMAGE_LIMIT_PIXELS / 1_000_000:g} megapixels"),
        ("Results are kept for", f"{settings.RETENTION_S / 3600:g} hours"),
        ("Unfinished sandbox jobs", f"{settings.SANDBOX_UNFINISHED} at once"),
        ("Webhook endpoints", f"{settings.WEBHOOK_ENDPOINTS} per mode"),
    ]


def _rate(text: str) -> str:
    rate = rates.parse(text) if settings.RATE_LIMITS else None
    if rate is None:
        return "no limit"
    unit = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}[rate.period_s]
    return f"{rate.count} a {unit}, {rate.burst} at once"
