"""`python -m tests.browser.session EMAIL [CREDITS [ROLE]]`: a signed-in session's key.

For tests that are not about signing in. It makes the user who is not there yet; runs in
the environment of a house.
"""

import os
import sys
from decimal import Decimal

import django


def main(email: str, credits: str = "50", role: str = "user") -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from accounts.models import User
    from accounts.sessions import SessionStore
    from billing import ledger

    user = User.objects.filter(email=email).first()
    if user is None:
        user = User.objects.create_user(email)
        User.objects.filter(pk=user.pk).update(role=role)
        ledger.welcome(user.pk, Decimal(credits))
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nijika.settings")
    django.setup()
    print(main(*sys.argv[1:]))  # noqa: T201
