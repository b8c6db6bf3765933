"""What the worker's environment may say."""

from pathlib import Path

import pytest

from gpu_worker import settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJIKA_LINK_URL", "http://127.0.0.1/internal/link")
    monkeypatch.setenv("NIJIKA_LINK_TOKEN", "a token")


def test_durations_and_sizes_carry_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJIKA_WORKER_GRACE", "1500ms")
    monkeypatch.setenv("NIJIKA_CHILD_MEMORY", "2GB")
    read = settings.read(queue="cpu")
    assert (read.grace_s, read.memory_bytes) == (1.5, 2 * 10**9)


def test_duration_without_a_unit_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIJIKA_WORKER_GRACE", "20")
    with pytest.raises(settings.SettingsError, match="NIJIKA_WORKER_GRACE"):
        settings.read(queue="cpu")


def test_missing_token_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIJIKA_LINK_TOKEN")
    with pytest.raises(settings.SettingsError, match="NIJIKA_LINK_TOKEN"):
        settings.read(queue="cpu")


def test_secret_is_read_from_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("from a file\n")
    monkeypatch.setenv("NIJIKA_LINK_TOKEN_FILE", str(tmp_path / "token"))
    assert settings.read(queue="cpu").link_token == "from a file"


def test_extra_engines_are_a_list_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIJIKA_WORKER_ENGINES", "a/b=m.n:C, d/e=f:G")
    assert settings.extra_engines() == {("a", "b"): "m.n:C", ("d", "e"): "f:G"}


def test_engine_without_a_class_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NIJIKA_WORKER_ENGINES", "a/b")
    with pytest.raises(settings.SettingsError, match="operation/engine"):
        settings.extra_engines()
