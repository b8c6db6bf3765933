"""Jobs, workers and engines, for staff: to look at. A job is cancelled by lifecycle,
as its owner would; nothing is edited, for every column is some module's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from jobs import lifecycle
from jobs.models import Engine, Job, JobEvent, KeptReport, RenditionUse, Worker
from nijika.errors import NijikaError

MOST_CANCELLED = 200


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False

    def has_delete_permission(
        self, request: HttpRequest, obj: Model | None = None
    ) -> bool:
        return False


class EventInline(admin.TabularInline):  # type: ignore[type-arg]
    model = JobEvent
    fields = ("created_at", "type", "attempt", "reason")
    ordering = ("id",)
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "status",
        "operation",
        "engine",
        "queue",
        "user",
        "test",
        "attempt",
        "error_code",
        "price",
        "charged",
        "created_at",
        "ended_at",
    )
    list_filter = ("status", "operation", "engine", "queue", "test", "created_at")
    list_select_related = ("user",)
    search_fields = ("=user__email", "=worker", "=request_id")
    search_help_text = "A job's id, or an e-mail, a worker or a request id, in full."
    ordering = ("-created_at", "-id")
    inlines = (EventInline,)
    actions = ("cancel",)

    @admin.display(description="error")
    def error_code(self, job: Job) -> str:
        return str(job.error["code"]) if job.error else ""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        try:
            return queryset.filter(pk=UUID(search_term.strip())), False
        except ValueError:
            return super().get_search_results(request, queryset, search_term)

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_job")

    @admin.action(description="Cancel the selected jobs", permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        """Each by itself: those that have ended, or are in use, are named and left."""
        jobs = list(queryset[:MOST_CANCELLED])
        refused = [job for job in jobs if not _cancelled(job)]
        self.message_user(request, f"{len(jobs) - len(refused)} cancelled.")
        if refused:
            self.message_user(request, _named(refused), messages.WARNING)


def _cancelled(job: Job) -> bool:
    try:
        lifecycle.cancel(job.pk, user_id=job.user_id, test=job.test)
    except NijikaError:
        return False
    return True


def _named(jobs: Sequence[Job]) -> str:
    ids = ", ".join(str(job.pk) for job in jobs[:10])
    return f"{len(jobs)} not cancelled, for they have ended or are in use: {ids}"


@admin.register(Worker)
class WorkerAdmin(ReadOnlyAdmin):
    list_display = (
        "name",
        "queue",
        "slots",
        "free_slots",
        "incarnation",
        "started_at",
        "seen_at",
    )
    list_filter = ("queue",)
    ordering = ("queue", "name")


@admin.register(Engine)
class EngineAdmin(ReadOnlyAdmin):
    list_display = ("operation", "name", "queue", "announced_at")
    list_filter = ("operation", "queue")
    ordering = ("operation", "name")


@admin.register(KeptReport)
class KeptReportAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "job_id", "reason")
    ordering = ("-id",)


@admin.register(RenditionUse)
class RenditionUseAdmin(ReadOnlyAdmin):
    list_display = ("day", "user", "made", "served")
    list_filter = ("day",)
    list_select_related = ("user",)
    search_fields = ("user__email",)
    ordering = ("-day", "user")
