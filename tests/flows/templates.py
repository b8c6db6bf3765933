"""Databases for houses, copied from one that was migrated once per run of the tests.

They lie in the server of `tests.plugin`; a house whose PostgreSQL is to be stopped or
crashed has a server of its own instead.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from nijika.local.stack import ROOT

TEMPLATE = "nijika_template"


@contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of a migrated database beside that of the given URL, until it is left."""
    name = f"house_{secrets.token_hex(4)}"
    with _alone(server) as connection:
        _make_template(connection, server)
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    try:
        yield _beside(server, name)
    finally:
        with _alone(server) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def _alone(server: str) -> Iterator[psycopg.Connection]:
    """A session that is alone in making databases; parallel tests wait for theirs."""
    with psycopg.connect(_beside(server, "postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")
        yield connection


def _make_template(connection: psycopg.Connection, server: str) -> None:
    query = "SELECT datistemplate FROM pg_database WHERE datname = %s"
    found = connection.execute(query, [TEMPLATE]).fetchone()
    if found is not None and found[0]:
        return
    connection.execute(f"DROP DATABASE IF EXISTS {TEMPLATE}")
    connection.execute(f"CREATE DATABASE {TEMPLATE}")
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": _beside(server, TEMPLATE)},
        check=True,
    )
    connection.execute(f"ALTER DATABASE {TEMPLATE} IS_TEMPLATE true")


def _beside(server: str, name: str) -> str:
    return f"{server.rsplit('/', 1)[0]}/{name}"
