"""Make an environment and install the locked packages of a set; seconds when done.

Run by path with the machine's own Python, before anything is installed, so it imports
nothing but the standard library:

    python3 nijika/local/bootstrap.py run|test      into .venv
    python3 nijika/local/bootstrap.py engines       into .venv-engines, with torch
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TORCH = "torch==2.13.0"
"""Not in a lock: pip's own settings say which build of it fits this machine."""
RUN = [
    "nijika/requirements.txt",
    "gpu_worker/requirements.txt",
    "nijika/local/requirements.txt",
]
TEST = [*RUN, "tests/requirements.txt", "bench/requirements.txt"]
ENGINES = [
    *TEST,
    "gpu_worker/requirements-gpu.txt",
    "gpu_worker/requirements-fastsam.txt",
    "gpu_worker/requirements-onnx.txt",
    "gpu_worker/requirements-remote.txt",
    "tests/requirements-engines.txt",
]
SETS = {"run": RUN, "test": TEST, "engines": ENGINES}
VENV = ROOT / (".venv-engines" if sys.argv[1:] == ["engines"] else ".venv")


def main(name: str) -> None:
    if sys.version_info < (3, 11):  # noqa: UP036, here a newcomer is told
        sys.exit(f"nijika needs Python 3.11 or newer; this is {sys.version.split()[0]}")
    if name != "run":
        _install_browser()
    missing = [lock for lock in SETS[name] if not _installed(lock)]
    if not missing:
        return
    began = time.monotonic()
    if not (VENV / "bin" / "python").exists():
        print(f"Making {VENV.name} …", flush=True)
        _make_environment()
    duration = "a few minutes" if name == "engines" else "about half a minute"
    print(f"Installing {', '.join(missing)} ({duration}) …", flush=True)
    if name == "engines":
        _pip(TORCH)
    _install(missing)
    for lock in missing:
        _stamp(lock).write_text(_digest(lock))
    print(f"Installed in {time.monotonic() - began:.0f} s.", flush=True)


def _installed(lock: str) -> bool:
    stamp = _stamp(lock)
    return stamp.exists() and stamp.read_text() == _digest(lock)


def _stamp(lock: str) -> Path:
    return VENV / (".installed-" + lock.replace("/", "-"))


def _digest(lock: str) -> str:
    return hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()


def _make_environment() -> None:
    shutil.rmtree(VENV, ignore_errors=True)
    try:
        venv.create(VENV, with_pip=True, symlinks=True)
    except (subprocess.CalledProcessError, ModuleNotFoundError):
        # Debian keeps ensurepip in a package of its own.
        shutil.rmtree(VENV, ignore_errors=True)
        _install_ensurepip()
        command = [sys.executable, "-m", "venv", str(VENV)]
        subprocess.run(command, check=True)


def _install_ensurepip() -> None:
    package = f"python3.{sys.version_info.minor}-venv"
    if os.geteuid() != 0:
        sys.exit(f"Python's venv is missing: run `apt-get install {package}` as root")
    _apt_install(package)


def _install_browser() -> None:
    """The tests of the pages drive a real one. It comes from no package index."""
    if shutil.which("chromium") is None and os.geteuid() == 0:
        print("Installing chromium …", flush=True)
        _apt_install("chromium")


def _apt_install(package: str) -> None:
    subprocess.run(["apt-get", "update", "-q"], check=True)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    subprocess.run(command, check=True)


def _install(locks: list[str]) -> None:
    names = [part for lock in locks for part in ("-r", str(ROOT / lock))]
    _pip("--no-deps", "--require-hashes", *names)


def _pip(*arguments: str) -> None:
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    command += ["--disable-pip-version-check", *arguments]
    # Without it pyvips would be built against a libvips of the system's, which may be
    # old and does not go with pillow-heif, instead of using its own wheel.
    environment = os.environ | {"PKG_CONFIG": "/bin/false"}
    if subprocess.run(command, env=environment).returncode:
        sys.exit("Installing failed; the lines above say why.")


if __name__ == "__main__":
    main(sys.argv[1])
