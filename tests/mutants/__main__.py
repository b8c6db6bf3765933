"""Take out each guard once and see a test fail: `python -m tests.mutants`.

Each file `tests/mutants/*.toml` lists guards:

    [[mutant]]
    name = "a claim looks at the job's status"     # the guard, in words
    file = "jobs/lifecycle.py"
    old = "text that stands in the file exactly once"
    new = "text without the guard"
    test = "tests/jobs/test_x.py::test_that_must_fail"    # one id, or a list of them

A mutant is killed when one of its tests fails, and survives when all pass. A test that
fails without the mutant, cannot be collected, or hangs is reported as broken: then it
says nothing about the guard.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LISTS = Path(__file__).resolve().parent
ENGINE_TESTS = "tests/engines/"
ENGINES = ROOT / ".venv-engines" / "bin" / "python"
TIMEOUT_S = 300
ALL_TIMEOUT_S = 3600
TESTS_FAILED = 1
"""pytest's exit code; 0 is all passed, the rest is trouble."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Change the file below `root`. Raises ValueError if the guard is not there."""
        path = root / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"the old text stands {text.count(self.old)} times in it")
        path.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    mutant: Mutant
    word: str
    output: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    mutants = [one for one in read(LISTS) if options.only in f"{one.file} {one.name}"]
    if not mutants:
        sys.exit(f"No guard has {options.only!r} in its file or name.")
    if trouble := _unmutated(mutants):
        print(trouble)
        return 2
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(_judged, mutants))
    bad = [one for one in verdicts if one.word != "killed"]
    for verdict in bad:
        print(f"\n{verdict.word.upper()}: {verdict.mutant.name}\n{verdict.output}")
    print(f"\n{len(verdicts) - len(bad)} of {len(verdicts)} mutants killed")
    return 1 if bad else 0


def read(folder: Path) -> list[Mutant]:
    """All mutants of the lists in a folder."""
    found = []
    for path in sorted(folder.glob("*.toml")):
        for values in tomllib.loads(path.read_text())["mutant"]:
            tests = values.pop("test")
            tests = (tests,) if isinstance(tests, str) else tuple(tests)
            found.append(Mutant(**values, tests=tests))
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", default="", help="text in the file's or guard's name")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at once")
    return parser


def _unmutated(mutants: Iterable[Mutant]) -> str:
    """What fails without any mutant, twice; nothing can be learnt from that."""
    tests = sorted({test for mutant in mutants for test in mutant.tests})
    with tempfile.TemporaryDirectory(prefix="nijika-mutant-") as folder:
        root = _copied(Path(folder))
        for command, folder_of_tests, some in _by_environment(tests):
            code, output = _ended([*command, *some], root, ALL_TIMEOUT_S)
            if code == TESTS_FAILED:
                again = [*command, "--last-failed", folder_of_tests]
                code, output = _ended(again, root, ALL_TIMEOUT_S)
            if code:
                return f"without any mutant:\n{output}"
    return ""


def _judged(mutant: Mutant) -> Verdict:
    started = time.monotonic()
    verdict = _verdict(mutant)
    print(f"{verdict.word:9} {time.monotonic() - started:5.1f} s  {mutant.name}")
    return verdict


def _verdict(mutant: Mutant) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="nijika-mutant-") as folder:
        root = _copied(Path(folder))
        try:
            mutant.apply(root)
        except ValueError as error:
            return Verdict(mutant=mutant, word="broken", output=str(error))
        code, output = _run(mutant.tests, root)
    word = {0: "survived", TESTS_FAILED: "killed"}.get(code, "broken")
    return Verdict(mutant=mutant, word=word, output="" if word == "killed" else output)


def _copied(folder: Path) -> Path:
    """The files of this checkout as they are now, committed or not."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    folder.chmod(0o755)
    for name in filter(None, names.decode().split("\0")):
        source, target = ROOT / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return folder


def _run(tests: Sequence[str], root: Path) -> tuple[int, str]:
    """Of the first environment whose tests did not all pass."""
    code, output = 0, ""
    for command, _, some in _by_environment(tests):
        if code == 0:
            code, output = _ended([*command, "-x", *some], root, TIMEOUT_S)
    return code, output


def _by_environment(tests: Sequence[str]) -> Iterator[tuple[list[str], str, list[str]]]:
    """How the tests of each environment are run, where they lie, and their names."""
    engines = [test for test in tests if test.startswith(ENGINE_TESTS)]
    others = [test for test in tests if test not in engines]
    environments = ((sys.executable, "tests", others), (ENGINES, ENGINE_TESTS, engines))
    for interpreter, folder, some in environments:
        if some:
            yield [str(interpreter), "-m", "pytest", "-q", "--no-header"], folder, some


def _ended(command: Sequence[str], root: Path, timeout_s: float) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        return -1, f"no end after {timeout_s} s"
    return done.returncode, (done.stdout + done.stderr)[-3000:]


if __name__ == "__main__":
    sys.exit(main())
