"""How a person gets an account. What else a newcomer is given hears of it by signal."""

from decimal import Decimal

from django.db import transaction
from django.dispatch import Signal

from accounts.models import User

joined = Signal()
"""Sent in the transaction that makes a user: `user_id`, `credits` (None: as usual)."""


@transaction.atomic
def join(
    email: str,
    *,
    role: str = User.Role.USER,
    password: str | None = None,
    credits: Decimal | None = None,
) -> User:
    """Make a user. Raises IntegrityError if the e-mail is taken, whatever its case."""
    user = User.objects.create_user(email, password)
    if role != user.role:
        user.role = role
        user.save(update_fields=["role"])
    welcome(user, credits=credits)
    return user


def welcome(user: User, *, credits: Decimal | None = None) -> None:
    """Tell the others of a user who has just been stored."""
    joined.send(sender=User, user_id=user.pk, credits=credits)
