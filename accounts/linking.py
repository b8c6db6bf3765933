"""Which user an account at a provider belongs to: the rules of signing in.

- A known account signs its user in, whatever its e-mail has become meanwhile.
- An unknown account with a verified e-mail of a user is linked to that user. Addresses
  that the provider has not verified count for nothing: they link nothing, and nobody
  joins by one, or it would wait there for its real owner to be linked to it.
- Who is signed in links an unknown account; one of another user's is refused.
- An account that is too young, or does not say how old it is, is refused each time,
  before anything is looked up.
- Welcome credits come once for each account at a provider, for ever: unlinking it, or
  leaving and coming back, brings them no second time.

Two callbacks at once for one account or one e-mail meet at unique indexes; the one that
lost looks again and finds what the other has made.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts import issuing, joining
from accounts.errors import (
    AccountSuspended,
    AgeUnknown,
    LastWayIn,
    LinkedToAnother,
    LinkNotFound,
    NoVerifiedEmail,
    TooYoung,
)
from accounts.models import User, Welcomed

TRIES = 3
FIRST_KEY = "first key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An account at a provider, as the provider has just described it.

    `emails` are the verified ones, the primary one first. `created_at` is None where
    the provider did not say.
    """

    provider: str
    uid: str
    name: str
    url: str
    created_at: datetime | None
    emails: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Who has arrived. `secret` is the first key of a new user, for showing once;
    `is_gifted` is a new user with the welcome credits."""

    user: User
    is_new: bool = False
    is_gifted: bool = False
    is_linked: bool = False
    secret: str = field(default="", repr=False)


def require_age(identity: Identity) -> None:
    """Raises TooYoung and AgeUnknown."""
    months = settings.PROVIDER_ACCOUNT_MONTHS
    if not months:
        return
    if identity.created_at is None:
        raise AgeUnknown
    old_enough_at = months_after(identity.created_at, months)
    if old_enough_at > timezone.now():
        raise TooYoung(old_enough_at)


def months_after(moment: datetime, months: int) -> datetime:
    """The same day some calendar months later, or the last one of a shorter month."""
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    last_day = calendar.monthrange(year, month + 1)[1]
    day = min(moment.day, last_day)
    return moment.replace(year=year, month=month + 1, day=day)


def arrive(identity: Identity) -> Arrival:
    """The user of this account, found, linked by e-mail, or made.

    Raises TooYoung, AgeUnknown, NoVerifiedEmail and AccountSuspended.
    """
    require_age(identity)
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                return _arrive(identity)
        except IntegrityError as error:  # its twin was faster
            lost = error
    raise lost


def link(user: User, identity: Identity) -> bool:
    """Link the account to this user; whether that was new.

    Raises TooYoung, AgeUnknown and LinkedToAnother.
    """
    require_age(identity)
    try:
        with transaction.atomic():
            return _link_unless_known(user, identity)
    except IntegrityError:
        return _link_unless_known(user, identity)


def may_use_password(user: User) -> bool:
    return user.is_staff and user.has_usable_password()


@transaction.atomic
def unlink(user: User, account_id: int) -> str:
    """Take an account off its user; gives its provider.

    Raises LinkNotFound, and LastWayIn for the last one of a user who has no password.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # one at a time
    accounts = {one.pk: one for one in SocialAccount.objects.filter(user=user)}
    if account_id not in accounts:
        raise LinkNotFound
    if len(accounts) == 1 and not may_use_password(user):
        raise LastWayIn
    accounts[account_id].delete()
    return str(accounts[account_id].provider)


def links_of(user: User) -> list[SocialAccount]:
    return list(SocialAccount.objects.filter(user=user).order_by("date_joined"))


def _arrive(identity: Identity) -> Arrival:
    known = _known(identity)
    if known is not None:
        _require_active(known.user)
        _note(known, identity)
        return Arrival(user=known.user)
    if not identity.emails:
        raise NoVerifiedEmail
    owner = _owner_of(identity.emails)
    if owner is None:
        return _join(identity.emails[0], identity)
    _require_active(owner)
    _add(owner, identity)
    return Arrival(user=owner, is_linked=True)


def _join(email: str, identity: Identity) -> Arrival:
    is_first = _is_first(identity)
    user = joining.join(email, credits=None if is_first else Decimal(0))
    _add(user, identity)
    secret = issuing.issue(user, name=FIRST_KEY).secret
    return Arrival(user=user, is_new=True, is_gifted=is_first, secret=secret)


def _link_unless_known(user: User, identity: Identity) -> bool:
    known = _known(identity)
    if known is None:
        _add(user, identity)
        return True
    if known.user_id != user.pk:
        raise LinkedToAnother
    _note(known, identity)
    return False


def _known(identity: Identity) -> SocialAccount | None:
    accounts = SocialAccount.objects.select_related("user")
    return accounts.filter(provider=identity.provider, uid=identity.uid).first()


def _owner_of(emails: Sequence[str]) -> User | None:
    """The user of the first of these addresses that is somebody's."""
    lower = [email.lower() for email in emails]
    users = User.objects.alias(lower=Lower("email")).filter(lower__in=lower)
    by_email = {user.email.lower(): user for user in users}
    return next((by_email[email] for email in lower if email in by_email), None)


def _require_active(user: User) -> None:
    if not user.is_active:
        raise AccountSuspended


def _add(user: User, identity: Identity) -> None:
    account = SocialAccount(user=user, provider=identity.provider, uid=identity.uid)
    _note(account, identity)
    Welcomed.objects.get_or_create(digest=_digest(identity))


def _note(account: SocialAccount, identity: Identity) -> None:
    """What the account's owner is shown of it; nothing else of a profile is kept."""
    account.extra_data = {"login": identity.name, "html_url": identity.url}
    account.save()


def _is_first(identity: Identity) -> bool:
    return not Welcomed.objects.filter(digest=_digest(identity)).exists()


def _digest(identity: Identity) -> str:
    text = f"{identity.provider}/{identity.uid}"
    made = salted_hmac(
        "accounts.welcomed", text, secret=settings.SECRET_KEY, algorithm="sha256"
    )
    return made.hexdigest()
