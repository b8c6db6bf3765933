"""`python -m tests.browser.session`: keys of signed-in sessions, for who asks.

For tests that are not about signing in. Each line of the input is a JSON list of an
e-mail, credits and a role, each line of the output the key of a new session; the user
is made who is not there yet. Runs in the environment of a house.
"""

import json
import os
import sys
from decimal import Decimal

import django


def main(email: str, credits: str, role: str) -> str:
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
    for line in sys.stdin:
        print(main(*json.loads(line)), flush=True)  # noqa: T201
