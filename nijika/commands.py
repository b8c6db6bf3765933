"""`manage.py`: what an owner has set wrong is one line, not a traceback.

`--traceback` shows the whole story, as it does with Django's own errors of commands.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import OperationalError

from nijika.env import Env, shown

# The server ended the session, or refuses new ones; a connection that never came about
# has no code. All other errors are about a statement.
AWAY = {"57P01", "57P02", "57P03", "53300"}


def run(arguments: Sequence[str]) -> str | None:
    """Run a command; what to say before leaving with status 1, if it could not run."""
    try:
        execute_from_command_line(list(arguments))
    except ImproperlyConfigured as error:
        if "--traceback" in arguments:
            raise
        return str(error)
    except (OperationalError, psycopg.OperationalError) as error:
        if "--traceback" in arguments or not _is_away(error):
            raise
        url = shown(Env().str("DATABASE_URL"))
        return f"DATABASE_URL={url!r} cannot be used: {' '.join(str(error).split())}"
    return None


def _is_away(error: OperationalError | psycopg.OperationalError) -> bool:
    cause = error.__cause__ if isinstance(error, OperationalError) else error
    if not isinstance(cause, psycopg.OperationalError):
        return False
    return cause.sqlstate is None or cause.sqlstate in AWAY
