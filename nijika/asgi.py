"""The web server's application: the front before Django, under the settings' limits."""

import logging
import os
from pathlib import Path

import django
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nijika.settings")
django.setup()

from django.db import OperationalError, connection  # noqa: E402

from nijika import counters, link_door  # noqa: E402
from nijika.front.bodies import Spool  # noqa: E402
from nijika.front.server import Front, Options  # noqa: E402
from nijika.link_server import LinkServer  # noqa: E402
from nijika.wsgi import application as wsgi_application  # noqa: E402

logger = logging.getLogger(__name__)


LINK_LIMIT_BYTES = 16_000_000
MULTIPART_OVERHEAD_BYTES = 1_000_000
OTHER_CONNECTIONS = 10
"""The listener's, those of combined submits, and some to spare."""


def refusal() -> str | None:
    """Why this process must not start: its threads could use up the database."""
    threads = settings.WEB_THREADS + settings.WEB_UPLOAD_THREADS
    doors = 2 if settings.LINK_LISTEN else 1
    threads += settings.WEB_LINK_THREADS * doors + OTHER_CONNECTIONS
    wanted = threads * settings.WEB_PROCESSES
    try:
        allowed = _connections_allowed()
    except OperationalError as error:
        logger.warning("the database's connections could not be checked: %s", error)
        return None
    if wanted <= allowed:
        return None
    return (
        f"{settings.WEB_PROCESSES} web processes may need {wanted} database connections"
        f", and the database allows {allowed}: lower NIJIKA_WEB_THREADS"
    )


def _connections_allowed() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('max_connections')::int"
            " - current_setting('superuser_reserved_connections')::int"
        )
        row: tuple[int] = cursor.fetchone()
    connection.close()
    return row[0]


def link_server() -> LinkServer | None:
    """The link's own port, if it is to have one, not yet started. Raises
    ImproperlyConfigured."""
    host, _, port = settings.LINK_LISTEN.rpartition(":")
    if not port:
        return None
    if not (port.isdecimal() and int(port) < 1 << 16):
        wrong = (
            f"NIJIKA_LINK_LISTEN={settings.LINK_LISTEN!r} is not like 127.0.0.1:8001"
        )
        raise ImproperlyConfigured(wrong)
    return LinkServer(
        (host, int(port)),
        threads=settings.WEB_LINK_THREADS,
        limit_bytes=LINK_LIMIT_BYTES,
    )


application = Front(
    Options(
        application=wsgi_application,
        threads=settings.WEB_THREADS,
        upload_threads=settings.WEB_UPLOAD_THREADS,
        link_threads=settings.WEB_LINK_THREADS,
        waiting=settings.WEB_WAITING,
        link_path=link_door.PATH,
        spool=Spool(
            budget_bytes=settings.SPOOL_BUDGET_BYTES,
            memory_bytes=settings.SPOOL_MEMORY_BYTES,
            folder=Path(settings.SPOOL_FOLDER) if settings.SPOOL_FOLDER else None,
        ),
        body_limit_bytes=settings.JSON_LIMIT_BYTES,
        multipart_limit_bytes=settings.UPLOAD_LIMIT_BYTES + MULTIPART_OVERHEAD_BYTES,
        link_limit_bytes=LINK_LIMIT_BYTES,
        bytes_per_s=settings.MIN_UPLOAD_BYTES_PER_S,
        looks_valid=import_string(settings.CREDENTIALS_LOOK_VALID),
        signed_limit_bytes=import_string(settings.SIGNED_BODY_LIMIT),
        check=refusal,
        observe=counters.observe,
    )
)
