"""The one reader of environment variables.

`<NAME>_FILE` names a file that holds the value, for secrets. Durations carry their unit
(`500ms`, `10s`, `5m`, `24h`) and sizes theirs (`50MB`). What cannot be read is
ImproperlyConfigured, which names its variable; what that says of an address leaves its
password out.
"""

import logging
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import environ

DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
DATABASE_SCHEMES = ("postgres", "postgresql", "psql", "pgsql")
ESCAPING = "in a password / ? # : are written as %2F %3F %23 %3A"
REDIS_SCHEMES = ("redis", "rediss", "unix")
FORMS = {int: "a whole number", dict: "like name=value,name=value"}


class Env(environ.FileAwareEnv):  # type: ignore[misc]
    def get_value(
        self,
        var: str,
        cast: Any = None,
        default: Any = environ.Env.NOTSET,
        parse_default: bool = False,
    ) -> Any:
        """What all readings come through."""
        try:
            return super().get_value(var, cast, default, parse_default)
        except OSError as error:
            why = f"{var}_FILE cannot be read: {error}"
            raise environ.ImproperlyConfigured(why) from error
        except ValueError as error:
            why = f"{var}={self.ENVIRON[var]!r} is not {FORMS.get(cast, cast)}"
            raise environ.ImproperlyConfigured(why) from error

    def amount(self, name: str, default: str) -> Decimal:
        """Credits, exactly."""
        text = self.str(name, default)
        if not re.fullmatch(r"\d+(\.\d+)?", text):
            raise environ.ImproperlyConfigured(
                f"{name}={text!r} is no amount like 2.50"
            )
        return Decimal(text)

    def log_level(self, name: str, default: str) -> str:
        level = str(self.str(name, default))
        if level not in logging.getLevelNamesMapping():
            known = ", ".join(logging.getLevelNamesMapping())
            why = f"{name}={level!r} is none of: {known}"
            raise environ.ImproperlyConfigured(why)
        return level

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

    def database(self, name: str) -> dict[str, Any]:
        """Django's form of a PostgreSQL address. Raises ImproperlyConfigured."""
        url = _address(str(self.str(name)), DATABASE_SCHEMES, name)
        if not urlsplit(url).path.strip("/"):
            raise _wrong(name, url, "it names no database behind the host")
        config: dict[str, Any] = self.db_url_config(url)
        return config

    def redis(self, name: str, *default: str) -> str:
        """An address of a Redis. Raises ImproperlyConfigured."""
        return _address(str(self.str(name, *default)), REDIS_SCHEMES, name)


def shown(url: str) -> str:
    """The address without its password, also where that breaks the address's form."""
    masked = re.sub(r"(?s)^((?:[^:/]*://)?[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"(?i)([?&][^=&]*password=)[^&]*", r"\1***", masked)


def _address(url: str, schemes: tuple[str, ...], name: str) -> str:
    if not re.match(r"[a-z]+://", url):
        raise _wrong(
            name, url, f"no address like {schemes[0]}://user:password@host/name"
        )
    if url.partition("://")[0] not in schemes:
        raise _wrong(name, url, f"it has to begin with {schemes[0]}://")
    if not _is_whole(url):
        raise _wrong(name, url, f"its host or port cannot be read; {ESCAPING}")
    return url


def _is_whole(url: str) -> bool:
    """Whether no character of the password was taken for the end of the host."""
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        return False
    return has_port and ("@" in parts.netloc or "@" not in url)


def _wrong(name: str, url: str, why: str) -> environ.ImproperlyConfigured:
    return environ.ImproperlyConfigured(f"{name}={shown(url)!r}: {why}")


def _measured(text: str, units: Mapping[str, float], name: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2] not in units:
        known = ", ".join(units)
        raise environ.ImproperlyConfigured(f"{name}={text!r} needs a unit: {known}")
    return float(match[1]) * units[match[2]]
