"""With many ended jobs, no statement of lifecycle, link or reaper reads them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from jobs import lifecycle, reaping
from jobs.database import locks
from tests.jobs.working import run_of, submit, user_with

MODULES = (lifecycle, locks, reaping)
STATEMENTS = {
    name: text
    for module in MODULES
    for name, text in vars(module).items()
    if isinstance(text, str) and text.startswith("\n") and "FROM" in text
}
STATEMENTS["_START_AFTER"] = lifecycle._START_AFTER.format(first="SELECT 1")
MANY = """
INSERT INTO jobs_job SELECT (jsonb_populate_record(job, jsonb_build_object(
    'id', gen_random_uuid(), 'status', 'succeeded', 'ended_at', now()
))).* FROM jobs_job AS job, generate_series(1, 5000) WHERE id = %s"""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The reads of jobs that have no condition to go by."""
    return [
        node
        for node in nodes(plan)
        if node.get("Relation Name") == "jobs_job"
        and "Scan" in node["Node Type"]
        and not node.keys() & {"Index Cond", "Recheck Cond"}
    ]


def values() -> dict[str, Any]:
    [job] = submit(user_with("1"))
    run = run_of(job)
    one = {name: ["{}"] for name in ("progress", "results", "errors", "stages")}
    one |= {name: ["x"] for name in ("texts", "prefixes", "codes")}
    one |= {"jobs": [str(job)], "attempts": [1], "claims": [run.claim]}
    one |= {"waits_s": [None], "put_off": [False]}
    lone = {"job": str(job), "worker": "x", "incarnation": 1, "user": 1, "test": False}
    said = {"report": "", "reason": "", "engine_ms": [1], "seen": [], "batch": 200}
    return one | lone | said | lifecycle._settings()


@pytest.mark.django_db
def test_no_statement_scans_the_jobs() -> None:
    given = values()
    assert len(STATEMENTS) > 15
    with connection.cursor() as cursor:
        cursor.execute(MANY, given["jobs"])
        cursor.execute("ANALYZE jobs_job")
        cursor.execute("SET LOCAL enable_seqscan = on")
        for name, text in STATEMENTS.items():
            cursor.execute(f"EXPLAIN (FORMAT json) {text}", given)
            [[[plan]]] = cursor.fetchall()
            # A partial index of the few that are due or leased is condition enough.
            found = [
                node
                for node in scans(plan["Plan"])
                if node.get("Index Name") in {None, "jobs_job_pkey"}
            ]
            assert found == [], name
