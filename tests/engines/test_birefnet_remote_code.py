"""Code that lies beside weights runs only where its hash was listed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_worker.engines.birefnet.settings import Weights
from gpu_worker.errors import EngineUnavailable
from gpu_worker.settings import SettingsError
from tests.engines.tiny import birefnet
from tests.engines.tiny import remote_code as tiny

pytest.importorskip("torch")

from gpu_worker.engines.birefnet import remote_code, running, settings


@pytest.fixture(scope="module", autouse=True)
def own_modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """transformers copies the code to a folder, once per content."""
    folder = tmp_path_factory.mktemp("modules")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder))
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.build(tmp_path / "model")


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Any:
    def listed(folder: Path, pinned: str = "") -> None:
        value = f"{folder}={pinned or remote_code.hash_of(folder)}"
        monkeypatch.setenv("NIJIKA_BIREFNET_REMOTE_CODE", value)

    return listed


def load(folder: Path) -> Any:
    return running.load("cpu", Weights(name=str(folder)))


def test_listed_code_cuts_out(folder: Path, trust: Any) -> None:
    trust(folder)
    picture = np.full((40, 50, 3), 255, np.uint8)
    picture[:, 25:] = 0
    (cutout,) = load(folder).cut_out([picture], 64, 64)
    assert cutout.rgba.shape == (40, 50, 4)
    assert cutout.rgba[0, 0, 3] > 250
    assert cutout.rgba[0, 49, 3] < 5


def test_code_that_nobody_listed_is_not_even_read(folder: Path) -> None:
    mark = folder.parent / "ran"
    code = folder / "modeling_tiny.py"
    code.write_text(f"open({str(mark)!r}, 'w')\n" + code.read_text())
    with pytest.raises(EngineUnavailable, match="no BiRefNet"):
        load(folder)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["modeling_tiny.py", "config.json", "more.py"])
def test_code_that_changed_since_it_was_listed_does_not_run(
    folder: Path, trust: Any, name: str
) -> None:
    trust(folder)
    mark = folder.parent / "ran"
    changed = folder / name
    before = changed.read_text() if changed.exists() else ""
    after = " " if name.endswith("json") else f"open({str(mark)!r}, 'w')\n"
    changed.write_text(before + after)
    with pytest.raises(EngineUnavailable, match="not the code that was listed"):
        load(folder)
    assert not mark.exists()


def test_code_that_changes_while_it_is_loaded_does_not_run(
    folder: Path, trust: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was compared is what runs."""
    trust(folder)
    mark = folder.parent / "ran"
    inner = remote_code.hash_of

    def hash_of(copy: Path) -> str:
        found = inner(copy)
        (folder / "modeling_tiny.py").write_text(f"open({str(mark)!r}, 'w')\n")
        return found

    monkeypatch.setattr(remote_code, "hash_of", hash_of)
    assert load(folder).network is not None
    assert not mark.exists()


def test_listed_folder_may_not_name_code_of_another_place(
    folder: Path, trust: Any
) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"]["AutoModelForImageSegmentation"] = "x/y--modeling.Model"
    (folder / "config.json").write_text(json.dumps(config))
    trust(folder)
    with pytest.raises(EngineUnavailable, match="its own folder"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "old"),
    [
        ("WithoutPostInit", "pass"),
        ("WithItem", "self.rate = torch.zeros(1).item()"),
    ],
)
def test_code_too_old_for_transformers_5_is_said_to_be_so(
    tmp_path: Path, trust: Any, kind: str, old: str
) -> None:
    folder = tiny.build(tmp_path / "old", kind=kind, post_init=old)
    trust(folder)
    with pytest.raises(EngineUnavailable, match="2026-02-04"):
        load(folder)


def test_published_folder_with_code_beside_it_needs_none_of_it(tmp_path: Path) -> None:
    """The network of our own reads the weights; the code there is not run."""
    folder = birefnet.build(tmp_path / "published")
    config = {"auto_map": {"AutoModelForImageSegmentation": "birefnet.BiRefNet"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "birefnet.py").write_text("raise SystemExit('this must not run')")
    assert load(folder).network is not None


def test_hash_to_list_is_printed(folder: Path) -> None:
    module = "gpu_worker.engines.birefnet.remote_code"
    command = [sys.executable, "-m", module, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == remote_code.hash_of(folder)


@pytest.mark.parametrize("value", ["/somewhere", "/somewhere=abc", "=" + "a" * 64])
def test_list_that_cannot_be_read_stops_the_start(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIJIKA_BIREFNET_REMOTE_CODE", value)
    with pytest.raises(SettingsError, match="NIJIKA_BIREFNET_REMOTE_CODE"):
        settings.trusted()
