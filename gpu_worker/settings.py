"""The worker's settings: environment variables, read with the standard library alone.

`<NAME>_FILE` names a file that holds the value, for secrets. Durations carry their unit
(`500ms`, `10s`, `5m`) and sizes theirs (`50MB`). A value that cannot be read stops the
start and names its variable.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
LINK_SCHEMES = ("http", "https")
BROKER_SCHEMES = ("redis", "rediss", "unix")
SIZE_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Defaults that go together. `nijika.profiles` has the platform's part of each.

    `spares_memory`: a picture is not decoded with its whole file in memory, and a JPEG
    is resized by its planes, also where that takes longer.
    """

    slots_per_core: float
    storage_timeout: str
    storage_connections: int
    spares_memory: bool = False


PROFILES = {
    "default": Profile(slots_per_core=1, storage_timeout="30s", storage_connections=50),
    "high_throughput": Profile(
        slots_per_core=2, storage_timeout="15s", storage_connections=100
    ),
    "low_latency": Profile(
        slots_per_core=1, storage_timeout="10s", storage_connections=25
    ),
    "memory_efficient": Profile(
        slots_per_core=0.5,
        storage_timeout="45s",
        storage_connections=10,
        spares_memory=True,
    ),
}
"""By `NIJIKA_PROFILE`. A variable that is set itself beats the profile."""


class SettingsError(SystemExit):
    """A setting is missing or cannot be read: the program does not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What one worker process is told.

    `grace_s`: how long a drain waits for what runs. `call_every_s`: the longest silence
    on the link. `memory_bytes`: what a job may add to a child. `claim_ahead_s`: engines
    whose runs take longer are not claimed ahead, because a claim starts a job's clock.
    """

    broker_url: str
    broker_prefix: str
    link_url: str
    link_token: str
    name: str
    queue: str
    slots: int
    grace_s: float
    call_every_s: float
    beat_s: float
    link_timeout_s: float
    retry_most_s: float
    memory_bytes: int
    claim_ahead_s: float
    storage_timeout_s: float
    storage_connections: int
    scratch: Path


def read(*, queue: str, name: str = "", slots: int = 0) -> Settings:
    """The settings of this process; the arguments are those of its command line."""
    chosen = profile()
    return Settings(
        broker_url=_broker_url(),
        broker_prefix=text("NIJIKA_BROKER_PREFIX", "nijika:"),
        link_url=_address("NIJIKA_LINK_URL", text("NIJIKA_LINK_URL"), LINK_SCHEMES),
        link_token=text("NIJIKA_LINK_TOKEN"),
        name=name or f"{queue}-{socket.gethostname()}",
        queue=queue,
        slots=slots or whole("NIJIKA_WORKER_SLOTS", _slots(chosen)),
        grace_s=seconds("NIJIKA_WORKER_GRACE", "20s"),
        call_every_s=seconds("NIJIKA_LINK_EVERY", "2s"),
        beat_s=seconds("NIJIKA_BEAT", "2s"),
        link_timeout_s=seconds("NIJIKA_LINK_TIMEOUT", "5s"),
        retry_most_s=seconds("NIJIKA_LINK_RETRY_MOST", "2s"),
        memory_bytes=bytes_count("NIJIKA_CHILD_MEMORY", "1500MB"),
        claim_ahead_s=seconds("NIJIKA_CLAIM_AHEAD", "2s"),
        storage_timeout_s=seconds("NIJIKA_STORAGE_TIMEOUT", chosen.storage_timeout),
        storage_connections=whole(
            "NIJIKA_STORAGE_CONNECTIONS", chosen.storage_connections
        ),
        scratch=Path(text("NIJIKA_WORKER_SCRATCH", _memory_folder())),
    )


def profile() -> Profile:
    """The one that `NIJIKA_PROFILE` names. Raises SettingsError."""
    name = text("NIJIKA_PROFILE", "default")
    if name not in PROFILES:
        known = ", ".join(PROFILES)
        raise SettingsError(f"NIJIKA_PROFILE={name!r} is none of: {known}")
    return PROFILES[name]


def extra_engines() -> dict[tuple[str, str], str]:
    """`NIJIKA_WORKER_ENGINES`: operation/engine=module:Class, separated by commas."""
    entries = text("NIJIKA_WORKER_ENGINES", "").split(",")
    return dict(_engine(entry.strip()) for entry in entries if entry.strip())


def weights() -> Path:
    """`NIJIKA_WEIGHTS`: the folder with one folder or file per engine. Read late."""
    return Path(text("NIJIKA_WEIGHTS", str(Path(__file__).parents[1] / "weights")))


def log_level() -> str:
    """`NIJIKA_LOG_LEVEL`. Raises SettingsError."""
    level, known = text("NIJIKA_LOG_LEVEL", "INFO"), logging.getLevelNamesMapping()
    if level not in known:
        raise SettingsError(
            f"NIJIKA_LOG_LEVEL={level!r} is none of: {', '.join(known)}"
        )
    return level


def text(name: str, default: str | None = None) -> str:
    if file := os.environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            raise SettingsError(f"{name}_FILE cannot be read: {error}") from error
    value = os.environ.get(name, default)
    if value is None:
        raise SettingsError(f"{name} is not set")
    return value


def whole(name: str, default: int) -> int:
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError as error:
        raise SettingsError(f"{name}={value!r} is no whole number") from error


def seconds(name: str, default: str) -> float:
    return _measured(name, default, DURATION_UNITS)


def bytes_count(name: str, default: str) -> int:
    return int(_measured(name, default, SIZE_UNITS))


def _broker_url() -> str:
    name = "NIJIKA_BROKER_URL"
    if name not in os.environ and f"{name}_FILE" not in os.environ:
        name = "REDIS_URL"
    return _address(name, text(name), BROKER_SCHEMES)


def _address(name: str, url: str, schemes: tuple[str, ...]) -> str:
    """The address, which may hold a password and is therefore not shown."""
    try:
        parts = urlsplit(url)
        is_whole = parts.port != 0 and ("@" in parts.netloc or "@" not in url)
    except ValueError:
        is_whole = False
    if not is_whole or parts.scheme not in schemes or not (parts.netloc or parts.path):
        raise SettingsError(f"{name} is no address that begins with {schemes[0]}://")
    return url


def _slots(chosen: Profile) -> int:
    return max(1, int((os.cpu_count() or 1) * chosen.slots_per_core))


def _measured(
    name: str, default: str, units: dict[str, float] | dict[str, int]
) -> float:
    value = text(name, default)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", value)
    if match is None or match[2] not in units:
        known = ", ".join(units)
        raise SettingsError(f"{name}={value!r} needs a unit: {known}")
    return float(match[1]) * units[match[2]]


def _engine(entry: str) -> tuple[tuple[str, str], str]:
    match = re.fullmatch(r"([^/=]+)/([^=]+)=([\w.]+:\w+)", entry)
    if match is None:
        shape = "operation/engine=module:Class"
        raise SettingsError(f"NIJIKA_WORKER_ENGINES: {entry!r} is not {shape}")
    return (match[1], match[2]), match[3]


def _memory_folder() -> str:
    """Files in memory where the system has them: pictures on their way need no disk."""
    shared = Path("/dev/shm")
    return str(shared) if os.access(shared, os.W_OK) else tempfile.gettempdir()
