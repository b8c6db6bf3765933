"""The application behind the front, for it and for any other WSGI server.

The link has a door of its own: its calls pass no middleware, no sessions, no routing.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import reset_queries

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nijika.settings")
_django = get_wsgi_application()

# Django looks after lists of queries, caches and URLconfs around each request. Nobody
# reads the lists here, the one cache lives in memory, and there is one URLconf.
request_started.disconnect(reset_queries)
request_finished.disconnect(close_caches)
request_finished.disconnect(reset_urlconf)

from nijika import link_door  # noqa: E402


def application(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    if environ["PATH_INFO"] == link_door.PATH:
        return link_door.application(environ, start_response)
    return _django(environ, start_response)
