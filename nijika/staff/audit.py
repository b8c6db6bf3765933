"""The writer of the audit log. Call it in the transaction of what it tells of."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models
from django.http import HttpRequest

from accounts.models import User
from nijika import request_ids
from nijika.client_address import client_address
from nijika.staff.models import Action

RECORDED = "_staff_recorded"
"""Mark of a request about which something was written."""


def record(
    request: HttpRequest,
    action: str,
    subject: models.Model | None = None,
    *,
    user_id: int | None = None,
    reason: str = "",
    details: dict[str, Any] | None = None,
    once: UUID | None = None,
) -> None:
    """Write that the request's user did this. With `once`, a repeat writes nothing."""
    actor_id = request.user.pk
    assert actor_id is not None  # the admin lets nobody else in
    deed = Action(
        actor_id=actor_id,
        action=action,
        user_id=user_id,
        subject=name_of(subject) if subject else "",
        reason=reason,
        details=details or {},
        address=_address(request),
        request_id=request.META.get(request_ids.KEY, ""),
        once=once,
    )
    Action.objects.bulk_create([deed], ignore_conflicts=once is not None)
    setattr(request, RECORDED, True)


def name_of(subject: models.Model) -> str:
    """What a thing is called in the log: its model and its key."""
    return f"{subject._meta.model_name} {subject.pk}"


def _address(request: HttpRequest) -> str | None:
    address = client_address(
        request.META,
        proxies=settings.TRUSTED_PROXIES,
        headers=settings.CLIENT_ADDRESS_HEADERS,
    )
    try:
        return str(ip_address(address))
    except ValueError:  # a socket of the machine's own has none
        return None


def is_recorded(request: HttpRequest) -> bool:
    return hasattr(request, RECORDED)


def on_sign_in(sender: Any, request: HttpRequest | None, user: User, **_: Any) -> None:
    """Staff that signs in is staff at work."""
    if request is not None and user.is_staff:
        request.user = user
        record(request, "signed in")
