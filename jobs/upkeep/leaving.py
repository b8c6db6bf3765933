"""What is kept of a person's work: given to them, and erased when they have left.

Erasing goes on in the background (a loop of control), from the user who left first:
webhooks, uploads and pictures go, unfinished jobs are cancelled, and what people put
into jobs is blanked: parameters, metadata, names and addresses of inputs. The rows stay
with their prices, for the ledger's entries speak of them, and their files go as those
of expired jobs do. A turn that is cut is repeated from the beginning.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from accounts import leaving
from accounts.models import User
from billing import ledger
from jobs import lifecycle
from jobs.api.rendering import entry_view, job_view
from jobs.files import uploads
from jobs.models import (
    Batch,
    IdempotencyKey,
    Job,
    KeptReport,
    Rendition,
    Upload,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookSecret,
)
from jobs.webhooks import forgetting

UNFINISHED = [Job.Status.QUEUED, Job.Status.RUNNING]
AT_ONCE = 500
USERS_AT_ONCE = 10
LATE_WORK = timedelta(minutes=1)
"""A submission that was on its way when its user left has arrived by then."""

logger = logging.getLogger(__name__)


def export(user_id: int) -> dict[str, Iterator[dict[str, Any]]]:
    """The user's entries, jobs and webhook endpoints, read while they are sent."""
    return {
        "ledger": _entries(user_id),
        "jobs": _jobs(user_id),
        "webhook_endpoints": _endpoints(user_id),
    }


def erase() -> int:
    """Erase what is kept of users who have left; gives how many are done for good."""
    done = 0
    for user_id in leaving.to_erase(limit=USERS_AT_ONCE):
        _erase_work(user_id)
        if _is_quiet(user_id):
            leaving.erased(user_id)
            logger.info("erased what was left of user %s", user_id)
            done += 1
    return done


def _erase_work(user_id: int) -> None:
    # Webhooks go first, so that nobody is told of the cancelled jobs.
    WebhookEndpoint.objects.filter(user_id=user_id).delete()
    WebhookSecret.objects.filter(user_id=user_id).delete()
    _delete_deliveries(user_id)
    for test in (False, True):
        _cancel_all(user_id, test=test)
        _blank_all(user_id, test=test)
    for one in Upload.objects.filter(user_id=user_id):
        uploads.discard(one.pk, user_id=user_id, test=one.test)
    Rendition.objects.filter(user_id=user_id).update(expires_at=Now())
    Batch.objects.filter(user_id=user_id).update(metadata={})
    IdempotencyKey.objects.filter(user_id=user_id).delete()
    KeptReport.objects.filter(job__user_id=user_id).delete()


def _cancel_all(user_id: int, *, test: bool) -> None:
    unfinished = Job.objects.filter(user_id=user_id, test=test, status__in=UNFINISHED)
    unfinished.update(webhook_url="")  # nor is the address of a single job told
    while ids := list(unfinished.values_list("pk", flat=True)[:AT_ONCE]):
        if not lifecycle.cancel_many(ids, user_id=user_id, test=test):
            return  # they have ended by themselves


def _blank_all(user_id: int, *, test: bool) -> None:
    last: tuple[Any, Any] | None = ("infinity", "f" * 32)
    while last is not None:
        with connection.cursor() as cursor:
            cursor.execute(_BLANK, [user_id, test, *last, AT_ONCE])
            last = cursor.fetchone()


def _delete_deliveries(user_id: int) -> None:
    mine = WebhookDelivery.objects.filter(user_id=user_id)
    while ids := list(mine.values_list("pk", flat=True)[:AT_ONCE]):
        forgetting.forget(WebhookDelivery.objects.filter(pk__in=ids))


def _is_quiet(user_id: int) -> bool:
    left_long_ago = User.objects.filter(pk=user_id, deleted_at__lt=Now() - LATE_WORK)
    busy = Job.objects.filter(  # along the index of lists by status
        user_id=user_id, test__in=[False, True], status__in=UNFINISHED
    )
    return left_long_ago.exists() and not busy.exists()


def _entries(user_id: int) -> Iterator[dict[str, Any]]:
    before = None
    while page := ledger.statement(user_id, limit=AT_ONCE, before=before):
        yield from map(entry_view, page)
        before = page[-1].pk


def _jobs(user_id: int) -> Iterator[dict[str, Any]]:
    for test in (False, True):
        yield from _jobs_in(user_id, test=test)


def _jobs_in(user_id: int, *, test: bool) -> Iterator[dict[str, Any]]:
    mine = Job.objects.filter(user_id=user_id, test=test).order_by("-created_at", "-pk")
    page = list(mine[:AT_ONCE])
    while page:
        yield from map(job_view, page)
        last = page[-1]
        earlier = Q(created_at=last.created_at, pk__lt=last.pk)
        older = Q(created_at__lte=last.created_at) & (
            Q(created_at__lt=last.created_at) | earlier
        )
        page = list(mine.filter(older)[:AT_ONCE])


def _endpoints(user_id: int) -> Iterator[dict[str, Any]]:
    for one in WebhookEndpoint.objects.filter(user_id=user_id).order_by("pk"):
        yield {
            "id": str(one.pk),
            "url": one.url,
            "description": one.description,
            "test": one.test,
            "created_at": one.created_at,
        }


# One page of the user's jobs, newest first, along the index of lists; gives its last.
_BLANK = """
WITH page AS (
  SELECT id, created_at FROM jobs_job
  WHERE user_id = %s AND test = %s AND (created_at, id) < (%s::timestamptz, %s::uuid)
  ORDER BY created_at DESC, id DESC LIMIT %s
), blanked AS (
  UPDATE jobs_job SET parameters = '{}', metadata = '{}', inputs = '[]', "then" = '[]',
    webhook_url = '', progress = NULL, checkpoint = NULL,
    error = error || '{"message": ""}',
    expires_at = least(expires_at, statement_timestamp())
  WHERE id = ANY(ARRAY(SELECT id FROM page)) AND ended_at IS NOT NULL
)
SELECT created_at, id FROM page ORDER BY created_at, id LIMIT 1
"""
