"""`make run` and `make demo`, in a checkout of their own, as a newcomer uses them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from tests.flows.house import environment_of_a_newcomer, eventually

ROOT = Path(__file__).resolve().parents[2]
PARTS = ["accounts", "billing", "gpu_worker", "jobs", "nijika", "manage.py", "Procfile"]
STOPS_WITHIN_S = 15.0


@pytest.fixture
def checkout() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nijika-checkout-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # as root the database runs under another uid
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        yield folder
        assert left_over(folder) == []


def test_demo_shows_the_cut_out_the_charge_and_leaves_nothing_running(
    checkout: Path,
) -> None:
    done = start(checkout, "demo")
    output, _ = done.communicate(timeout=90)
    assert done.returncode == 0, output
    assert "credits  50.0000 → 49.9900" in output
    assert re.search(r"ledger +hold +-0\.0100", output)
    assert re.search(r"queued \d+ ms · engine \d+ ms · platform \d+ ms", output)
    assert output.endswith(".nijika/demo/cutout.png\n.nijika/demo/before-after.png\n")
    with Image.open(checkout / ".nijika/demo/cutout.png") as cutout:
        assert (cutout.size, cutout.mode) == ((680, 440), "RGBA")


def test_demo_that_fails_names_the_process_and_shows_its_log(checkout: Path) -> None:
    broken = checkout / "gpu_worker" / "__main__.py"
    broken.write_text("raise SystemExit('no device found')")
    done = start(checkout, "demo")
    output, _ = done.communicate(timeout=120)
    assert done.returncode == 1
    assert "worker does not run. Its log ends:\nno device found" in output


def test_run_serves_restarts_what_crashes_and_ends_in_time_on_ctrl_c(
    checkout: Path,
) -> None:
    with running(checkout) as run:
        output = read_until(run, "-F image=@")
        assert "key    nj_live_" in output
        environment = environment_of(checkout)
        assert get(environment, "/api/health").startswith('{"status": "healthy"')
        assert manage(environment, checkout, "check_ledger") == 0

        again = start(checkout, "run")
        assert "already running in this checkout" in again.communicate(timeout=20)[0]
        assert again.returncode == 1

        [control] = processes(checkout, "manage.py control")
        os.kill(control, signal.SIGKILL)
        assert "restarting it" in read_until(run, "control ended (SIGKILL)")
        eventually(
            lambda: processes(checkout, "manage.py control") or None, within_s=10
        )
        assert_ends_in_time(run, signal.SIGINT)
    assert not (checkout / ".nijika" / "env").exists()


def test_run_killed_takes_its_processes_along_and_the_next_one_ends_on_sigterm(
    checkout: Path,
) -> None:
    with running(checkout) as run:
        read_until(run, "-F image=@")
        run.kill()
        run.wait()
        eventually(lambda: not left_over(checkout) or None, within_s=STOPS_WITHIN_S)
    # A queue whose worker somebody starts by hand, when the stack is there.
    with running(checkout, NIJIKA_QUEUES="cpu,remote") as run:
        read_until(run, "-F image=@")
        assert_ends_in_time(run, signal.SIGTERM)


def assert_ends_in_time(run: "subprocess.Popen[str]", number: signal.Signals) -> None:
    began = time.monotonic()
    run.send_signal(number)
    assert run.wait(STOPS_WITHIN_S) == 0
    assert time.monotonic() - began < STOPS_WITHIN_S


@contextmanager
def running(checkout: Path, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    process = start(checkout, "run", **settings)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def start(checkout: Path, command: str, **settings: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "nijika.local", command],
        cwd=checkout,
        env=environment_of_a_newcomer() | {"PYTHONUNBUFFERED": "1"} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: "subprocess.Popen[str]", text: str) -> str:
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(output)


def environment_of(checkout: Path) -> dict[str, str]:
    script = "set -a; . .nijika/env; env -0"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=checkout,
        env=environment_of_a_newcomer(),
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)


def get(environment: dict[str, str], path: str) -> str:
    with urllib.request.urlopen(environment["NIJIKA_URL"] + path) as answer:
        text: str = answer.read().decode()
    return text


def manage(environment: dict[str, str], checkout: Path, command: str) -> int:
    arguments = [sys.executable, "manage.py", command]
    return subprocess.run(arguments, cwd=checkout, env=environment).returncode


def processes(checkout: Path, words: str) -> list[int]:
    """Processes of the checkout whose arguments end with these words."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if line.strip().endswith(words) and is_of(folder, checkout):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def left_over(checkout: Path) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) != os.getpid() and is_of(folder, checkout):
                found.append((folder / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found


def is_of(process: Path, checkout: Path) -> bool:
    """Whether a living process works in the checkout or names it in its arguments."""
    if process.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
        return False
    named = str(checkout).encode() in (process / "cmdline").read_bytes()
    return named or Path(os.readlink(process / "cwd")) == checkout
