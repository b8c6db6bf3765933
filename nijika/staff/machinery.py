"""Workers, engines, and what workers said that could not be stored."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from jobs.models import Engine, Job, KeptReport, Worker
from nijika.staff.base import StaffAdmin
from nijika.staff.work import Queue


class WorkerAdmin(StaffAdmin):
    list_display = (
        "name",
        "queue",
        "slots",
        "free_slots",
        "incarnation",
        "started_at",
        "seen_at",
    )
    list_filter = (Queue,)
    fields = (
        ("name", "queue", "incarnation"),
        ("slots", "free_slots", "specs_digest"),
        ("started_at", "seen_at"),
    )
    time_field = "seen_at"
    panels = "staff/worker.html"

    def more_about(self, request: HttpRequest, row: Worker) -> dict[str, Any]:
        running = Job.objects.filter(worker=row.name, status="running")
        return {"jobs": running.order_by("pk")[:20]}


class EngineAdmin(StaffAdmin):
    list_display = ("operation", "name", "queue", "announced_at")
    list_filter = (Queue,)
    fields = (("operation", "name"), ("queue", "announced_at"))
    time_field = "announced_at"
    panels = "staff/engine.html"

    def more_about(self, request: HttpRequest, row: Engine) -> dict[str, Any]:
        return {"spec": json.dumps(row.spec, indent=2, ensure_ascii=False)}


class KeptReportAdmin(StaffAdmin):
    list_display = ("created_at", "job_id", "reason")
    fields = (("created_at", "job"), ("reason",), ("report",))


admin.site.register(Worker, WorkerAdmin)
admin.site.register(Engine, EngineAdmin)
admin.site.register(KeptReport, KeptReportAdmin)
