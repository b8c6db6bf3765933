"""Engines of other packages: the example of the documentation, installed and run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "third-party-engines.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE.read_text(), re.S)
ENGINE, TESTS = (text for language, text in BLOCKS if language == "python")
[POINTS] = (text for language, text in BLOCKS if language == "toml")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder as pip leaves it."""
    (tmp_path / "sepia.py").write_text(ENGINE)
    (tmp_path / "test_sepia.py").write_text(TESTS)
    about = tmp_path / "sepia-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sepia\nVersion: 1\n")
    points = POINTS.replace("project.entry-points.", "").replace('"', "")
    (about / "entry_points.txt").write_text(points)
    return tmp_path


def python(folder: Path, *arguments: str) -> Any:
    root = PAGE.parents[1]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={"PYTHONPATH": f"{folder}:{root}", "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


SPECS = """
import json
from gpu_worker import registry
from gpu_worker.contract import to_json
print(json.dumps([to_json(spec) for spec in registry.specs_of("t4")]))
"""


def test_example_is_forty_lines() -> None:
    code = [line for line in ENGINE.splitlines() if line.strip()]
    assert len(code) <= 45


def test_worker_finds_an_installed_engine(installed: Path) -> None:
    specs = {one["engine"]: one for one in json.loads(python(installed, "-c", SPECS))}
    assert specs["sepia"]["operation"] == "edit"
    assert specs["sepia"]["unavailable"] == ""


def test_installed_package_replaces_no_engine_of_ours(installed: Path) -> None:
    points = installed / "sepia-1.0.dist-info" / "entry_points.txt"
    points.write_text("[nijika.engines]\nremovebg/classical = sepia:Sepia\nodd = a:B\n")
    ask = "from gpu_worker import registry; print(registry.table())"
    table = python(installed, "-c", ask)
    assert "sepia" not in table and "a:B" not in table


def test_engine_that_cannot_be_imported_leaves_the_others(installed: Path) -> None:
    (installed / "sepia.py").write_text("1 / 0")
    specs = {one["engine"] for one in json.loads(python(installed, "-c", SPECS))}
    assert "sepia" not in specs


def test_example_passes_the_contract(installed: Path) -> None:
    said = python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert " passed" in said and "failed" not in said
