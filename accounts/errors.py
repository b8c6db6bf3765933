"""Why a caller is turned away."""

from datetime import datetime

from nijika.errors import Conflict, NotAllowed, NotFound, Unauthenticated


class KeyExpired(Unauthenticated):
    """This API key has expired."""

    code = "key_expired"


class KeyRevoked(Unauthenticated):
    """This API key has been revoked."""

    code = "key_revoked"


class AccountSuspended(NotAllowed):
    """This account is suspended."""

    code = "account_suspended"


class ScopeMissing(NotAllowed):
    """This API key lacks the scope for that."""

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope


class KeyNotActive(Conflict):
    """Only a key that works can be rotated."""

    code = "key_not_active"


class KeyNotFound(NotFound):
    """There is no such API key, or it is not yours."""


class BeyondThisKey(NotAllowed):
    """An API key cannot make, replace or end one that can do more than itself."""


class TooManyKeys(Conflict):
    """This account has as many working API keys as it may; revoke one first."""

    code = "too_many_keys"


class NotYours(NotAllowed):
    """Only an admin may do that to staff."""

    code = "not_yours"


class LastAdmin(Conflict):
    """This is the last admin; make another one first."""

    code = "last_admin"


class SignInRefused(NotAllowed):
    """This account cannot be used to sign in here."""

    code = "sign_in_refused"


class TooYoung(SignInRefused):
    """This account is too young."""

    code = "provider_account_too_young"

    def __init__(self, old_enough_at: datetime) -> None:
        super().__init__()
        self.old_enough_at = old_enough_at


class AgeUnknown(SignInRefused):
    """The provider did not say when this account was made."""

    code = "provider_account_age_unknown"


class NoVerifiedEmail(SignInRefused):
    """This account has no e-mail address that the provider has verified."""

    code = "no_verified_email"


class LinkedToAnother(SignInRefused):
    """This account is linked to another user."""

    code = "linked_to_another"


class LinkNotFound(NotFound):
    """No such account is linked to you."""

    code = "link_not_found"


class LastWayIn(Conflict):
    """This is your only way to sign in. Link another account first."""

    code = "last_way_in"


class StaffStays(Conflict):
    """Staff cannot delete their accounts; an admin takes the role away first."""

    code = "staff_stays"
