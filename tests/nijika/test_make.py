"""What `make` runs can be run: no command needs settings that only tests have."""

import os
import re
import subprocess
import sys

import pytest

from tests.flows.house import ROOT

COMMANDS = set(re.findall(r"-m ([a-z_.]+)", (ROOT / "Makefile").read_text()))
NEEDS_TORCH = {"bench.gpu"}
MODULES = sorted(COMMANDS - NEEDS_TORCH - {"pytest", "engines"})


@pytest.mark.parametrize("module", MODULES)
def test_command_finds_all_that_it_imports(module: str) -> None:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("DJANGO_")}
    is_package = (ROOT / module.replace(".", "/")).is_dir()
    program = f"{module}.__main__" if is_package else module
    command = [sys.executable, "-c", f"import {program}"]
    subprocess.run(command, cwd=ROOT, env=ours, check=True)
