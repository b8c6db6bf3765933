"""Connections that no pooler may stand between: LISTEN and advisory locks belong to one
session of PostgreSQL and are lost, or somebody else's, behind a pooler."""

from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

# Such a connection is mostly silent, so the kernel has to notice a vanished server.
NOTICE_DEATH = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def connect(name: str) -> psycopg.Connection[Any]:
    """A new autocommit connection that shows itself as `name` in pg_stat_activity.

    Raises psycopg.OperationalError.
    """
    known = connection.get_connection_params()
    params = {
        key: known[key]
        for key in ("host", "port", "user", "password", "dbname", "options", "sslmode")
        if known.get(key)
    }
    if settings.UNPOOLED_DATABASE_URL:
        direct = conninfo_to_dict(settings.UNPOOLED_DATABASE_URL)
        params |= {key: value for key, value in direct.items() if key != "dbname"}
    params |= NOTICE_DEATH | {"application_name": name[:63], "connect_timeout": 3}
    return psycopg.connect(autocommit=True, **params)
