"""Keys of providers in a worker: opened for one job, shared with none."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from nacl.public import PrivateKey, PublicKey, SealedBox

from gpu_worker import sealing, settings

JOB = str(uuid.uuid4())


def private() -> str:
    return base64.b64encode(bytes(PrivateKey.generate())).decode()


def sealed(public: str, **said: str) -> str:
    box = SealedBox(PublicKey(base64.b64decode(public)))
    text = json.dumps({"job": JOB, "provider": "fal", "key": "the key"} | said)
    return base64.b64encode(box.encrypt(text.encode())).decode()


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> str:
    """The public half of the worker's key."""
    monkeypatch.setenv("NIJIKA_SEALING_KEYS", private())
    return sealing.public_key()


def test_sealed_key_is_opened_for_its_job_and_provider(keys: str) -> None:
    opened = sealing.open_for(sealed(keys), job_id=JOB, provider="fal")
    assert opened == "the key"


@pytest.mark.parametrize(
    "other", [{"job": str(uuid.uuid4())}, {"provider": "google"}, {"job": ""}]
)
def test_sealed_key_of_another_job_or_provider_stays_closed(
    keys: str, other: dict[str, str]
) -> None:
    with pytest.raises(sealing.CannotOpen):
        sealing.open_for(sealed(keys, **other), job_id=JOB, provider="fal")


@pytest.mark.parametrize("broken", ["", "!", "AAAA", "é"])
def test_what_is_no_sealed_key_stays_closed(keys: str, broken: str) -> None:
    with pytest.raises(sealing.CannotOpen):
        sealing.open_for(broken, job_id=JOB, provider="fal")


def test_older_key_still_opens_and_the_newest_is_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old, new = private(), private()
    monkeypatch.setenv("NIJIKA_SEALING_KEYS", old)
    waiting = sealed(sealing.public_key())
    monkeypatch.setenv("NIJIKA_SEALING_KEYS", f"{new}, {old}")
    assert sealing.open_for(waiting, job_id=JOB, provider="fal") == "the key"
    announced = PrivateKey(base64.b64decode(new)).public_key
    assert sealing.public_key() == base64.b64encode(bytes(announced)).decode()
    monkeypatch.setenv("NIJIKA_SEALING_KEYS", new)
    with pytest.raises(sealing.CannotOpen):
        sealing.open_for(waiting, job_id=JOB, provider="fal")


def test_without_a_key_none_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIJIKA_SEALING_KEYS", raising=False)
    assert sealing.public_key() == ""


def test_unreadable_key_stops_the_start_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIJIKA_SEALING_KEYS", "c2VjcmV0LW9mLXdyb25nLWxlbmd0aA==")
    with pytest.raises(settings.SettingsError) as refused:
        sealing.public_key()
    assert "c2Vj" not in str(refused.value)
    assert "gpu_worker.sealing" in str(refused.value)


@pytest.mark.parametrize("places", [(0, 1, 2), (5, 6, 7), (1, 4, 6)])
def test_jobs_with_keys_share_a_batch_with_nobody(
    worker: Any, platform: Any, places: tuple[int, ...]
) -> None:
    """Whichever of them comes first."""
    jobs = [platform.job("batched") for _ in range(8)]
    for place, key in zip(places, ("first", "second", "second"), strict=True):
        platform.jobs[jobs[place].job_id].sealed_key = key
    worker.send(*jobs)
    ended = platform.ended(*jobs)
    sizes = [job.report.results[0].details["batch"] for job in ended]
    assert sizes == [1 if place in places else 5 for place in range(8)]


def test_children_are_told_no_keys(start_worker: Any) -> None:
    secrets = {"NIJIKA_SEALING_KEYS": private(), "FAL_KEY": "fal-key-of-the-owner"}
    worker = start_worker(**secrets)
    for pid in worker.children():
        told = Path(f"/proc/{pid}/environ").read_text()
        assert not any(value in told for value in secrets.values())
