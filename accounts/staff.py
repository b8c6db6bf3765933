"""Roles and suspension. Whoever changes one of them does it here.

There is always an admin who can sign in: nobody takes the role from the last one, or
suspends them, the last one themself included. Of two admins who demote each other at
once, one wins: both lock all admins' rows, in id order, and look again.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from accounts.errors import LastAdmin, NotYours
from accounts.models import User


@transaction.atomic
def set_role(user_id: int, role: str) -> str:
    """Give the user this role; gives the one they had. Raises LastAdmin."""
    role = User.Role(role)
    others = _lock_admins() - {user_id}
    user = _locked(user_id)
    was = user.role
    if not others and role != User.Role.ADMIN and _rules(user):
        raise LastAdmin
    is_superuser = user.is_superuser and role == User.Role.ADMIN
    User.objects.filter(pk=user_id).update(role=role, is_superuser=is_superuser)
    return was


@transaction.atomic
def suspend(user_id: int, *, spare_staff: bool = False) -> bool:
    """Shut the user out, everywhere within a second; whether that was new.

    Raises LastAdmin, and NotYours if staff is to be spared and this is one of them.
    """
    others = _lock_admins() - {user_id}
    user = _locked(user_id)
    _check_reach(user, spare_staff=spare_staff)
    if not others and _rules(user):
        raise LastAdmin
    rows = User.objects.filter(pk=user_id, suspended_at=None)
    return bool(rows.update(suspended_at=Now()))


@transaction.atomic
def resume(user_id: int, *, spare_staff: bool = False) -> bool:
    """End the suspension; whether there was one. Raises NotYours as `suspend` does."""
    _check_reach(_locked(user_id), spare_staff=spare_staff)
    rows = User.objects.filter(pk=user_id).exclude(suspended_at=None)
    return bool(rows.update(suspended_at=None))


def _check_reach(user: User, *, spare_staff: bool) -> None:
    if spare_staff and user.is_staff:
        raise NotYours


def _lock_admins() -> set[int]:
    """The admins who can sign in. A row that has changed while this waited is looked
    at again by the database, so whoever was demoted meanwhile is not among them."""
    admins = User.objects.filter(
        role=User.Role.ADMIN, suspended_at=None, deleted_at=None
    )
    rows = admins.order_by("pk").select_for_update(no_key=True)
    return set(rows.values_list("pk", flat=True))


def _locked(user_id: int) -> User:
    return User.objects.select_for_update(no_key=True).get(pk=user_id)


def _rules(user: User) -> bool:
    return user.role == User.Role.ADMIN and user.is_active
