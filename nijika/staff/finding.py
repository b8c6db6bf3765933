"""The search field (Ctrl K): an id, an e-mail or a key, and the pages it leads to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db.models import Model
from django.db.models.functions import Lower
from django.http import HttpRequest
from django.urls import reverse
from unfold.dataclasses import SearchResult

from accounts import keys
from accounts.models import ApiKey, User
from jobs.models import Batch, Job, Upload, WebhookDelivery, WebhookEndpoint

BY_ID: tuple[type[Model], ...] = (Job, Batch, Upload, WebhookDelivery, WebhookEndpoint)
MOST = 10
LEAST = 3
"""The least that an e-mail may begin with, for a search."""


def find(request: HttpRequest, term: str) -> list[SearchResult]:
    """What this term names. Every look-up is by an index."""
    return [_result(row) for row in _rows(term.strip())]


def people(term: str) -> list[User]:
    """The user of this id or e-mail, or those whose e-mail begins so."""
    if term.isdecimal() and len(term) < 19:
        return list(User.objects.filter(pk=int(term)))
    if len(term) < LEAST:
        return []
    users = User.objects.alias(lowered=Lower("email"))
    starting = users.filter(email__startswith=term).exclude(lowered=term.lower())
    return [*users.filter(lowered=term.lower()), *starting.order_by("email")[:MOST]]


def keys_of(term: str) -> list[ApiKey]:
    """The key itself, or those whose visible beginning this is."""
    if keys.is_well_formed(term):
        return list(ApiKey.objects.filter(digest=keys.digest(term)))
    if term.startswith("nj_") and len(term) >= keys.VISIBLE_LENGTH:
        return list(ApiKey.objects.filter(prefix=term[: keys.VISIBLE_LENGTH])[:MOST])
    return []


def id_of(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None


def _rows(term: str) -> Iterator[Model]:
    if row_id := id_of(term):
        for model in BY_ID:
            yield from model._default_manager.filter(pk=row_id)
    elif term.startswith("nj_"):
        yield from keys_of(term)
    else:
        yield from people(term)


def _result(row: Model) -> Any:
    meta = row._meta
    name = f"admin:{meta.app_label}_{meta.model_name}_change"
    return SearchResult(
        title=row.email if isinstance(row, User) else str(row),
        description=str(meta.verbose_name).capitalize(),
        link=reverse(name, args=[row.pk]),
        icon="arrow_forward",
    )
