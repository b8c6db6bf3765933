"""Jobs, batches, uploads, pictures on the fly. A job's status is `jobs.lifecycle`'s: an
ended job stays ended, and what is run again is another job."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from billing import ledger
from billing.models import Entry
from jobs import lifecycle, news
from jobs.files import links
from jobs.models import Batch, Job, JobEvent, RenditionUse, Upload
from jobs.requests import again
from jobs.requests.orders import Orderer
from nijika import request_ids
from nijika.errors import Conflict, NijikaError
from nijika.staff import audit, finding
from nijika.staff.acts import Act, Deed
from nijika.staff.base import Choice, Mode, StaffAdmin, choice, labelled, narrow, short
from nijika.staff.keyset import SEARCH, Walk

COLOURS = {
    "queued": "info",
    "running": "primary",
    "succeeded": "success",
    "failed": "danger",
    "cancelled": "",
}
REFUND = uuid.UUID("6d6b1a52-5f0c-4a37-9d0e-1f4f0e0b8a11")
"""The namespace of refunds' names in the audit log: one per job."""


class NothingToRefund(Conflict):
    """This job has charged nothing."""


class Refunded(Conflict):
    """This job is refunded already."""


# What can be done with jobs


def cancel(deed: Deed) -> str:
    """Each by itself: those that have ended, or are in use, are named and left."""
    refused = [job for job in deed.rows if not _cancelled(deed, job)]
    done = len(deed.rows) - len(refused)
    if refused and not done:
        raise Conflict("Not cancelled: they have ended, or are in use.")
    left = f" Left, for they have ended or are in use: {_named(refused)}."
    return f"{done} cancelled.{left if refused else ''}"


def _cancelled(deed: Deed, job: Job) -> bool:
    try:
        with transaction.atomic():
            lifecycle.cancel(job.pk, user_id=job.user_id, test=job.test)
            _record(deed, "job cancelled", job, once=deed.once(job))
            # It has announced itself before anybody else could see it.
            transaction.on_commit(lambda: news.announce([job.pk]))
    except NijikaError:
        return False
    return True


def _named(jobs: list[Job]) -> str:
    return ", ".join(str(job.pk) for job in jobs[:10])


@transaction.atomic
def refund(deed: Deed) -> str:
    """Give back all that the job has charged, once."""
    [job] = deed.rows
    if not job.charged:
        raise NothingToRefund
    if refund_of(job) is not None:
        raise Refunded
    ledger.refund(
        job.user_id,
        job.charged,
        str(job.pk),
        note=deed.reason,
        created_by_id=deed.actor_id,
    )
    details = {"credits": f"{job.charged:.4f}"}
    once = uuid.uuid5(REFUND, str(job.pk))
    _record(deed, "job refunded", job, details=details, once=once)
    return f"{job.charged.normalize():f} credits refunded."


def refund_of(job: Job) -> Entry | None:
    kind = Entry.Kind.REFUND
    return Entry.objects.filter(kind=kind, reference=str(job.pk)).first()


def run_again(deed: Deed) -> HttpResponse:
    """Submit it anew for its owner, who pays today's price for a success."""
    [job] = deed.rows
    orderer = Orderer(
        user_id=job.user_id,
        test=job.test,
        request_id=deed.request.META.get(request_ids.KEY, ""),
        idempotency_key=f"staff-again:{deed.given['once']}",
    )
    made = again.run_again(job, orderer).job
    details = {"new job": str(made.pk)}
    _record(deed, "job run again", job, details=details, once=deed.once(job))
    return redirect("admin:jobs_job_change", made.pk)


def _record(
    deed: Deed,
    what: str,
    job: Job,
    *,
    once: uuid.UUID,
    details: dict[str, Any] | None = None,
) -> None:
    audit.record(
        deed.request,
        what,
        job,
        user_id=job.user_id,
        reason=deed.reason,
        details=details,
        once=once,
    )


# The pages


def of_user(asked: Mapping[str, str], *, by: str = "created_at") -> Walk | None:
    """The rows of the user that is asked for, by id or e-mail, in one mode."""
    query = asked.get(SEARCH, "").strip()
    if asked.get("user", "").isdecimal():
        user_id, answered = int(asked["user"]), {"user", "test"}
    elif "@" in query:
        found = finding.people(query)
        user_id, answered = (found[0].pk if found else 0), {SEARCH, "test"}
    else:
        return None
    where = {"user_id": user_id, "test": asked.get("test") == "1"}
    return Walk(where=where, by=by, answers=frozenset(answered))


def by_id(asked: Mapping[str, str]) -> Walk | None:
    row_id = finding.id_of(asked.get(SEARCH, "").strip())
    if row_id is None:
        return None
    return Walk(where={"pk": row_id}, answers=frozenset({SEARCH}))


class Operation(Choice):
    title = parameter_name = "operation"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in sorted(settings.DEFAULT_ENGINES)]


class Queue(Choice):
    title = parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in settings.QUEUES]


class JobAdmin(StaffAdmin):
    list_display = (
        "short_id",
        "status_label",
        "does",
        "user",
        "error_code",
        "charged",
        "created_at",
    )
    list_filter = (
        choice("status", Job.Status.values),
        Operation,
        Queue,
        Mode,
        narrow("user"),
        narrow("batch"),
    )
    list_select_related = ("user",)
    search_fields = ("id",)
    search_help_text = "A job's id, an e-mail, a request id or a worker"
    fields = (
        ("operation", "engine", "queue"),
        ("created_at", "started_at", "ended_at"),
        ("attempt", "failures", "losses", "worker"),
        ("request_id", "webhook_url"),
        ("expires_at", "erased_at"),
    )
    panels = "staff/job.html"
    acts = (
        Act(
            name="cancel",
            title="Cancel",
            says="What has not ended yet ends now; its credits go back.",
            permission="jobs.change_job",
            icon="cancel",
            do=cancel,
            on=lambda job: job.ended_at is None,
            is_dangerous=True,
        ),
        Act(
            name="refund",
            title="Refund",
            says="All that the job has charged goes back to its owner, once.",
            permission="billing.change_wallet",
            icon="undo",
            do=refund,
            on=lambda job: bool(job.charged) and refund_of(job) is None,
            on_many=False,
        ),
        Act(
            name="again",
            title="Run again",
            says="A new job on the same files, at today's price, paid by its owner. "
            "This one stays as it is.",
            permission="jobs.change_job",
            icon="replay",
            do=run_again,
            on=again.may_run_again,
            on_many=False,
        ),
    )

    def walk(self, asked: Mapping[str, str]) -> Walk:
        if batch_id := finding.id_of(asked.get("batch", "")):
            where = {"batch_id": batch_id}
            return Walk(where=where, by="batch_index", answers=frozenset({"batch"}))
        return by_id(asked) or of_user(asked) or Walk()

    def matching(self, query: str) -> Q:
        return Q(request_id=query.strip()) | Q(worker=query.strip())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        rows: QuerySet[Job] = super().get_queryset(request)
        return rows.select_related("user")

    def get_urls(self) -> list[URLPattern]:
        file = path(
            "<uuid:job_id>/results/<int:index>/",
            self.admin_site.admin_view(self.show_result),
            name="jobs_job_result",
        )
        return [file, *super().get_urls()]

    def show_result(
        self, request: HttpRequest, job_id: uuid.UUID, index: int
    ) -> HttpResponse:
        """A customer's picture: whoever of staff looks at it is written down."""
        job = self.get_object(request, str(job_id))
        if job is None or index >= len(job.results):
            raise Http404
        details = {"result": index}
        audit.record(
            request, "result looked at", job, user_id=job.user_id, details=details
        )
        return redirect(links.result_url(job.pk, index))

    def more_about(self, request: HttpRequest, row: Job) -> dict[str, Any]:
        retries = Job.objects.filter(user_id=row.user_id, test=row.test)
        return {
            "job": row,
            "colour": COLOURS[row.status],
            "events": JobEvent.objects.filter(job=row).order_by("pk")[:100],
            "refund": refund_of(row),
            "retries": retries.filter(retry_of=row.pk, created_at__gt=row.created_at)[
                :5
            ]
            if row.ended_at
            else [],
            "entries": Entry.objects.filter(
                kind__in=Entry.Kind.values, reference=str(row.pk)
            ).order_by("pk"),
            "shows": {
                "parameters": row.parameters,
                "then": row.then,
                "metadata": row.metadata,
            },
        }

    @admin.display(description="job")
    def short_id(self, job: Job) -> str:
        return short(job.pk)

    @admin.display(description="operation")
    def does(self, job: Job) -> str:
        more = f" +{len(job.then)}" if job.then else ""
        test = " (test)" if job.test else ""
        return f"{job.operation}/{job.engine}{more}{test}"

    @labelled("status", COLOURS)
    def status_label(self, job: Job) -> str:
        return job.status

    @admin.display(description="error")
    def error_code(self, job: Job) -> str:
        return str(job.error["code"]) if job.error else ""


class BatchAdmin(StaffAdmin):
    list_display = ("short_id", "user", "mode", "size", "created_at", "completed_at")
    list_filter = (Mode, narrow("user"))
    list_select_related = ("user",)
    search_fields = ("id",)
    search_help_text = "A batch's id, or an e-mail"
    fields = (
        ("user", "test", "size"),
        ("created_at", "completed_at"),
        ("request_id", "metadata"),
    )
    panels = "staff/batch.html"

    def walk(self, asked: Mapping[str, str]) -> Walk:
        return by_id(asked) or of_user(asked) or Walk()

    def more_about(self, request: HttpRequest, row: Batch) -> dict[str, Any]:
        jobs = Job.objects.filter(batch_id=row.pk).order_by("batch_index")
        link = reverse("admin:jobs_job_changelist")
        return {
            "jobs": jobs[:20],
            "all_jobs": f"{link}?{urlencode({'batch': str(row.pk)})}",
        }

    @admin.display(description="batch")
    def short_id(self, batch: Batch) -> str:
        return short(batch.pk)

    @admin.display(description="mode")
    def mode(self, batch: Batch) -> str:
        return "test" if batch.test else "live"


class UploadAdmin(StaffAdmin):
    list_display = (
        "short_id",
        "user",
        "content_type",
        "size_bytes",
        "size_px",
        "created_at",
        "ready_at",
        "expires_at",
    )
    list_filter = (Mode, narrow("user"))
    list_select_related = ("user",)
    search_fields = ("id",)
    search_help_text = "An upload's id, or an e-mail"
    fields = (
        ("user", "test", "content_type"),
        ("size_bytes", "width_px", "height_px"),
        ("created_at", "send_by", "ready_at", "expires_at"),
        ("sha256",),
    )

    def walk(self, asked: Mapping[str, str]) -> Walk:
        return by_id(asked) or of_user(asked, by="expires_at") or Walk()

    @admin.display(description="upload")
    def short_id(self, upload: Upload) -> str:
        return short(upload.pk)

    @admin.display(description="size")
    def size_px(self, upload: Upload) -> str:
        return f"{upload.width_px} x {upload.height_px}" if upload.ready_at else ""


class RenditionUseAdmin(StaffAdmin):
    list_display = ("day", "user", "made", "served")
    list_filter = (narrow("user"),)
    list_select_related = ("user",)
    search_fields = ("user",)
    search_help_text = "An e-mail"
    fields = (("day", "user"), ("made", "served"))
    time_field = "day"

    def walk(self, asked: Mapping[str, str]) -> Walk:
        found = of_user(asked, by="day")
        if found is None:
            return Walk()
        where = {"user_id": found.where["user_id"]}
        return Walk(where=where, by="day", answers=found.answers)


admin.site.register(Job, JobAdmin)
admin.site.register(Batch, BatchAdmin)
admin.site.register(Upload, UploadAdmin)
admin.site.register(RenditionUse, RenditionUseAdmin)
