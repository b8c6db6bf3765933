"""`jobs.lifecycle` is the only writer of `Job.status`, `billing.ledger` of wallets."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for package in ("nijika", "accounts", "billing", "jobs", "gpu_worker")
    for path in (ROOT / package).rglob("*.py")
    if "migrations" not in path.parts
]
# Only what stands between SET and the end of the assignments.
SETS_STATUS = re.compile(
    r"UPDATE\s+jobs_job\b.*?\bSET\b(?:(?!\b(?:WHERE|FROM)\b).)*\bstatus\s*=", re.S
)


def writes(path: Path) -> Iterator[str]:
    """The places in a file that write a guarded column, as the ORM or as SQL."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if SETS_STATUS.search(node.value):
                yield "Job.status"
            if re.search(r"(UPDATE|INTO)\s+billing_(wallet|entry)\b", node.value):
                yield "Wallet"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names = {keyword.arg for keyword in node.keywords}
            if node.func.attr == "update" and "status" in names:
                yield "Job.status"
            if node.func.attr == "update" and names & {"available", "held"}:
                yield "Wallet"
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if ast.unparse(target) in {"job.status", "row.status"}:
                    yield "Job.status"


@pytest.mark.parametrize(
    ("column", "owners"),
    [
        ("Job.status", {"jobs/lifecycle.py"}),
        ("Wallet", {"billing/ledger.py"}),
    ],
)
def test_guarded_column_has_one_writer(column: str, owners: set[str]) -> None:
    writers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        if column in set(writes(path))
    }
    assert writers <= owners
