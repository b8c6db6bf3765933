"""Why a caller is turned away."""

from nijika.errors import Conflict, NotAllowed, Unauthenticated


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


class LastAdmin(Conflict):
    """This is the last admin; make another one first."""

    code = "last_admin"
