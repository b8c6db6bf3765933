"""Performance profiles: defaults of the platform that go together.

`NIJIKA_PROFILE` names one; a variable that is set itself beats it. The worker's part of
each is in `gpu_worker.settings`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from environ import ImproperlyConfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`fetches`: how many sources are downloaded at once. The limit of a JSON body has
    room for an upload in base64. `spool_memory`: for bodies that have just come."""

    fetches: int
    fetch_timeout: str
    upload_limit: str
    json_limit: str
    spool_memory: str
    slots_per_core: float

    @property
    def slots(self) -> int:
        """Pictures made on the fly at once, on this machine."""
        return max(1, int((os.cpu_count() or 1) * self.slots_per_core))


PROFILES = {
    "default": Profile(
        fetches=20,
        fetch_timeout="20s",
        upload_limit="50MB",
        json_limit="70MB",
        spool_memory="32MB",
        slots_per_core=1,
    ),
    "high_throughput": Profile(
        fetches=50,
        fetch_timeout="15s",
        upload_limit="100MB",
        json_limit="140MB",
        spool_memory="64MB",
        slots_per_core=2,
    ),
    "low_latency": Profile(
        fetches=10,
        fetch_timeout="10s",
        upload_limit="20MB",
        json_limit="28MB",
        spool_memory="32MB",
        slots_per_core=1,
    ),
    "memory_efficient": Profile(
        fetches=5,
        fetch_timeout="45s",
        upload_limit="10MB",
        json_limit="14MB",
        spool_memory="1MB",
        slots_per_core=0.5,
    ),
}


def named(name: str) -> Profile:
    """Raises ImproperlyConfigured for a name that there is none of."""
    if name not in PROFILES:
        known = ", ".join(PROFILES)
        raise ImproperlyConfigured(f"NIJIKA_PROFILE={name!r} is none of: {known}")
    return PROFILES[name]
