"""The one reader of environment variables.

`<NAME>_FILE` names a file that holds the value, for secrets. Durations carry their unit
(`500ms`, `10s`, `5m`, `24h`) and sizes theirs (`50MB`).
"""

import re
from collections.abc import Mapping
from datetime import timedelta

import environ

DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


class Env(environ.FileAwareEnv):  # type: ignore[misc]
    def seconds(self, name: str, default: str) -> float:
        """A duration in seconds. Raises ImproperlyConfigured for a missing unit."""
        return _measured(self.str(name, default), DURATION_UNITS, name)

    def seconds_each(self, name: str, default: str) -> list[float]:
        """Durations with commas between them, in seconds."""
        texts = self.str(name, default).split(",")
        return [_measured(text, DURATION_UNITS, name) for text in texts]

    def duration(self, name: str, default: str) -> timedelta:
        return timedelta(seconds=self.seconds(name, default))

    def bytes_count(self, name: str, default: str) -> int:
        return int(_measured(self.str(name, default), SIZE_UNITS, name))


def _measured(text: str, units: Mapping[str, float], name: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2] not in units:
        known = ", ".join(units)
        raise environ.ImproperlyConfigured(f"{name}={text!r} needs a unit: {known}")
    return float(match[1]) * units[match[2]]
