"""Sessions of people, as rows that say whose they are.

So they are listed and ended by their owner, and all end with the account. The cookie
holds a random key and nothing else. One that nobody has signed in to (it remembers a
sign-in that has begun) ends soon; others end after `SESSION_COOKIE_AGE` without use.
The rows' model is asked for by its name, for `accounts.models` knows this store.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

ANONYMOUS_S = 3600


class SessionStore(DatabaseStore):
    @classmethod
    def get_model_class(cls) -> Any:
        return apps.get_model("accounts", "Session")

    def get_session_cookie_age(self) -> int:
        """Seconds without use after which this session ends."""
        age: int = settings.SESSION_COOKIE_AGE
        return age if self.get(SESSION_KEY) else min(age, ANONYMOUS_S)

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row: Any = super().create_model_instance(data)
        row.user_id = data.get(SESSION_KEY)
        return row
