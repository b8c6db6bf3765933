"""The application behind the front, for it and for any other WSGI server.

The link has a door of its own: its calls pass no middleware, no sessions, no routing.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

from django.core.cache import close_caches
from django.core.signals import request_finished
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "nijika.settings")
_django = get_wsgi_application()
# Our one cache lives in memory and has nothing to close; asking it costs each request
# a twentieth of its time.
request_finished.disconnect(close_caches)

from nijika import link_door  # noqa: E402


def application(
    environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    if environ["PATH_INFO"] == link_door.PATH:
        return link_door.application(environ, start_response)
    return _django(environ, start_response)
