"""How a person leaves: the row stays, anonymous, for the entries of the ledger do.

At once: nobody can sign in as them, their keys and signed addresses end, what names
them is gone. Other apps hear of it by signal and erase what is theirs; that of somebody
with many jobs takes a while, so it is done in the background until `erased_at` is set.
"""

from __future__ import annotations

from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.db.models.functions import Coalesce, Now
from django.dispatch import Signal

from accounts.errors import StaffStays
from accounts.models import ApiKey, ImageKey, Session, User

left = Signal()
"""Sent with `user_id` in the transaction that makes a user anonymous."""


@transaction.atomic
def leave(user: User) -> None:
    """Make the user anonymous, for good; once more changes nothing.

    Raises StaffStays.
    """
    row = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if row.deleted_at is not None:
        return
    if row.is_staff:
        raise StaffStays
    SocialAccount.objects.filter(user=row).delete()
    Session.objects.filter(user=row).delete()
    ImageKey.objects.filter(user=row).delete()
    keys = ApiKey.objects.filter(user=row)
    keys.update(revoked_at=Coalesce("revoked_at", Now()), name="")
    User.objects.filter(pk=row.pk).update(
        email=f"deleted-{row.pk}@deleted.invalid",
        password=make_password(None),
        last_login=None,
        deleted_at=Now(),
    )
    left.send(sender=User, user_id=row.pk)


def to_erase(*, limit: int) -> list[int]:
    """Users who have left and of whom something is kept, the first to leave first."""
    users = User.objects.filter(deleted_at__isnull=False, erased_at=None)
    return list(users.order_by("deleted_at").values_list("pk", flat=True)[:limit])


def erased(user_id: int) -> None:
    """Nothing is left to erase."""
    User.objects.filter(pk=user_id).update(erased_at=Now())
