"""What the pages name is there: other pages, files, settings, commands."""

import re
from pathlib import Path

import pytest

from jobs.errors import JOB_CODES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]
OF_CLIENTS = {"NIJIKA_URL", "NIJIKA_API_KEY"}  # .nijika/env has them, no program
OF_TESTS = {"NIJIKA_TEST_CHROMIUM"}
OF_DJANGO = {"migrate", "changepassword"}


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    links += re.findall(r'(?:src|srcset)="([^"]+)"', text)
    inner = [link for link in links if not link.startswith("https://")]
    assert [link for link in inner if not _leads(page, link)] == []


def _leads(page: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """The headings as GitHub names them."""
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    titles = re.findall(r"^#+ (.*)$", prose, re.M)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles}


def test_settings_are_known(page: Path) -> None:
    named = set(re.findall(r"\bNIJIKA_\w*[A-Z0-9]\b", page.read_text()))
    known = (ROOT / ".env.example").read_text()
    plain = {name.removesuffix("_FILE") for name in named} - OF_CLIENTS - OF_TESTS
    assert [name for name in plain if name not in known] == []


def test_files_are_there(page: Path) -> None:
    packages = "accounts|bench|billing|gpu_worker|jobs|nijika|tests"
    named = re.findall(rf"`((?:{packages})/[\w./-]+\w)`", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_commands_are_there(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"(?:`|^ +)make ([a-z-]+)", text, re.M)
    makefile = (ROOT / "Makefile").read_text()
    assert [one for one in targets if f"\n{one}:" not in makefile] == []
    commands = set(re.findall(r"manage\.py ([a-z_]+)", text)) - OF_DJANGO
    ours = {path.stem for path in ROOT.glob("*/management/commands/*.py")}
    assert commands <= ours
    modules = re.findall(r"python -m ([a-z_.]+[a-z_])", text)
    assert [name for name in modules if not _is_program(name)] == []


def _is_program(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__main__.py").exists()


def test_every_code_of_a_problem_and_of_a_job_is_explained() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    sources = [ROOT / "nijika", ROOT / "jobs", ROOT / "gpu_worker"]
    files = [path for root in sources for path in root.rglob("errors.py")]
    codes = {
        code
        for path in files
        for code in re.findall(r'^    code = "(\w+)"', path.read_text(), re.M)
    }
    internal = {"error", "stopped"}  # the roots' own, and a run that was cancelled
    explained = set(re.findall(r"`(\w+)`", text))
    assert codes - internal - explained == set()
    assert set(JOB_CODES) <= explained
