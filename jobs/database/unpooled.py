"""Connections that no pooler may stand between: LISTEN and advisory locks belong to one
session of PostgreSQL and are lost, or somebody else's, behind a pooler."""

import time
from types import TracebackType
from typing import Any
from zlib import crc32

import psycopg
from django.conf import settings
from django.db import connection
from psycopg.conninfo import conninfo_to_dict

# Such a connection is mostly silent, so both kernels have to notice a vanished peer.
CLIENT_NOTICES: dict[str, Any] = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SERVER_NOTICES = (
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)
# Whoever holds a lock says something every second; a frozen holder is ended after this.
FROZEN_S = 15
# What goes for every connection to the server, beside all that is said of TLS.
OF_ANY = ("host", "port", "user", "password", "dbname", "options", "channel_binding")
LOCKS = 0x6E6A  # the class of our advisory locks
TRY_EVERY_S = 1.0

Connection = psycopg.Connection[Any]


def connect(name: str, *, idle_s: float = 0, durable: bool = True) -> Connection:
    """A new autocommit connection that shows itself as `name` in pg_stat_activity.

    The server ends it when it says nothing for `idle_s` (0: never). Without `durable`
    its commits do not wait for the disk, and a crash of the server may undo the last.
    Raises psycopg.OperationalError.
    """
    known = connection.get_connection_params()
    params = {
        key: value
        for key, value in known.items()
        if value and (key in OF_ANY or key.startswith("ssl"))
    }
    if settings.UNPOOLED_DATABASE_URL:
        direct = conninfo_to_dict(settings.UNPOOLED_DATABASE_URL)
        params |= {key: value for key, value in direct.items() if key != "dbname"}
    params["options"] = (
        params.get("options", "")
        + SERVER_NOTICES
        + f" -c idle_session_timeout={int(idle_s * 1000)}"
        + ("" if durable else " -c synchronous_commit=off")
    )
    params |= {"application_name": name[:63], "connect_timeout": 3}
    return psycopg.connect(autocommit=True, **params, **CLIENT_NOTICES)


class Sole:
    """At most one holder of a name among all processes on the database.

    The lock is the session's own, so whatever is said over this connection is said by
    the holder, and a holder that dies, freezes or loses the database holds it no more.
    It is only ever tried: waiting for it would be an open statement, whose snapshot
    keeps VACUUM from removing anything.
    """

    def __init__(self, name: str, *, durable: bool = True) -> None:
        self._name = name
        self._durable = durable
        self._session: Connection | None = None
        self._is_mine = False
        self._tried_at = 0.0

    def __enter__(self) -> Connection | None:
        """The holder's connection, or None while it is somebody else's.

        Tried at most once a second. Raises psycopg.OperationalError. An error inside
        the `with` gives the lock up.
        """
        if not self._is_mine and time.monotonic() - self._tried_at >= TRY_EVERY_S:
            self._tried_at = time.monotonic()
            self._is_mine = self._try()
        return self._session if self._is_mine else None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.close()

    def close(self) -> None:
        """Let another have it, at once."""
        session, self._session, self._is_mine = self._session, None, False
        if session is not None:
            session.close()

    def _try(self) -> bool:
        try:
            if self._session is None:
                self._session = connect(
                    f"nijika {self._name}", idle_s=FROZEN_S, durable=self._durable
                )
            answer = self._session.execute(
                "SELECT pg_try_advisory_lock(%s, %s)", [LOCKS, _key(self._name)]
            ).fetchone()
        except BaseException:
            self.close()
            raise
        return answer == (True,)


def held(names: list[str]) -> set[str]:
    """Which of these names have a holder now."""
    keys = {_key(name) % 2**32: name for name in names}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND classid = %s AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
            [LOCKS],
        )
        return {keys[key] for (key,) in cursor.fetchall() if key in keys}


def _key(name: str) -> int:
    """A signed 32-bit number for a name."""
    number = crc32(name.encode())
    return number - 2**32 if number >= 2**31 else number
