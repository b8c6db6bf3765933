"""Performance profiles: three presets, which a variable of its own beats."""

import os
import subprocess
import sys
from dataclasses import fields

import pytest
from environ import ImproperlyConfigured

from gpu_worker import settings as worker_settings
from nijika import profiles

# Of the service that nijika replaces: downloads at once, processing per core, seconds,
# megabytes, connections.
PRESETS = {
    "high_throughput": (50, 2, 15, 100, 100),
    "low_latency": (10, 1, 10, 20, 25),
    "memory_efficient": (5, 0.5, 45, 10, 10),
}
SHOW = """
import django
django.setup()
from django.conf import settings as s
from gpu_worker import settings as w
r = w.read(queue="cpu")
print(s.FETCHES, s.ONTHEFLY_FETCHES, s.ONTHEFLY_SLOTS, s.FETCH_TIMEOUT_S,
      s.UPLOAD_LIMIT_BYTES, r.slots, r.storage_timeout_s, r.storage_connections)
"""


def shown(**variables: str) -> list[float]:
    """What a process that starts with these variables has for its settings."""
    run = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=os.environ | {"NIJIKA_LINK_URL": "http://127.0.0.1/"} | variables,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return [float(part) for part in run.stdout.split()]


@pytest.mark.parametrize("name", PRESETS)
def test_a_profile_sets_what_the_older_service_set(name: str) -> None:
    fetches, per_core, timeout_s, megabytes, connections = PRESETS[name]
    slots = max(1, int((os.cpu_count() or 1) * per_core))
    assert shown(NIJIKA_PROFILE=name) == [
        fetches,
        fetches,
        slots,
        timeout_s,
        megabytes * 10**6,
        slots,
        timeout_s,
        connections,
    ]


def test_a_variable_of_its_own_beats_the_profile() -> None:
    seen = shown(
        NIJIKA_PROFILE="high_throughput",
        NIJIKA_FETCHES="3",
        NIJIKA_WORKER_SLOTS="7",
        NIJIKA_UPLOAD_LIMIT="1MB",
    )
    assert (seen[0], seen[1], seen[4], seen[5]) == (3, 50, 10**6, 7)


def test_the_platform_and_the_worker_know_the_same_profiles() -> None:
    assert profiles.PROFILES.keys() == worker_settings.PROFILES.keys()
    for name, ours in profiles.PROFILES.items():
        assert ours.slots_per_core == worker_settings.PROFILES[name].slots_per_core


def test_a_profile_has_room_for_an_upload_in_base64() -> None:
    for profile in profiles.PROFILES.values():
        upload, body = (
            int(text.removesuffix("MB"))
            for text in (profile.upload_limit, profile.json_limit)
        )
        assert body > upload * 4 / 3
    assert len(fields(profiles.Profile)) == 6


def test_a_name_that_there_is_not_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIJIKA_PROFILE", "turbo")
    with pytest.raises(worker_settings.SettingsError, match="turbo"):
        worker_settings.profile()
    with pytest.raises(ImproperlyConfigured, match="turbo"):
        profiles.named("turbo")
