"""A request's path as it was sent, before anybody decoded it. A leaf module.

PATH_INFO has lost the difference between `%2F` and a slash; a signature over a path
needs it.
"""

from urllib.parse import quote

from django.http import HttpRequest

KEY = "nijika.raw_path"
"""Where in `request.META` the front leaves it."""

_UNESCAPED = "/:@!$&'()*+,;=~"


def of(request: HttpRequest) -> str:
    """The undecoded path; under other servers the decoded one in plain spelling."""
    raw = request.META.get(KEY)
    return raw if raw is not None else quote(request.path_info, safe=_UNESCAPED)
