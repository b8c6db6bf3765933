"""The id that a request carries through logs, answers, jobs and workers."""

import random
import re

KEY = "nijika.request_id"
"""Where in `request.META` it is, from the first line of the request's treatment on."""

HEADER = "X-Request-Id"
SANE = re.compile(r"[A-Za-z0-9._~-]{1,64}")


def choose(offered: str | None) -> str:
    """The caller's own id where it is sane, else a new one."""
    if offered and SANE.fullmatch(offered):
        return offered
    # Not a secret, so no system call: those give up the interpreter lock.
    return f"{random.getrandbits(96):024x}"
