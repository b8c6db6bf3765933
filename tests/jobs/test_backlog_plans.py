"""A plan that was made while few jobs waited must not read all of a later backlog.

Prepared statements keep their plan, and statistics are a minute old: an index of the
waiting or unfinished jobs looks small to a plan made when there were few.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from jobs import batches, lifecycle
from jobs.dispatching import picking
from tests.jobs.test_lifecycle_plans import nodes, values

STATEMENTS = {
    "take": picking._TAKE,
    "start": lifecycle._START,
    "succeed": lifecycle._SUCCEED,
}

OF_THE_BACKLOG = {"job_waiting", "job_start_by", "job_give_up"}


@pytest.mark.django_db
@pytest.mark.parametrize("name", STATEMENTS)
def test_plan_of_jobs_named_by_their_ids_reads_no_backlog(name: str) -> None:
    given = values()
    given |= {"ids": given["jobs"], "messages": given["jobs"]}

    used = {one.get("Index Name") for one in nodes(plan_of(STATEMENTS[name], given))}

    assert "jobs_job_pkey" in used
    assert not used & OF_THE_BACKLOG


@pytest.mark.django_db
def test_plan_of_completing_batches_reads_their_own_jobs_only() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {batches._COMPLETE}", [1])
        plan = cursor.fetchone()[0][0]["Plan"]
    used = {one.get("Index Name") for one in nodes(plan)}
    assert "job_of_batch" in used
    assert not used & OF_THE_BACKLOG


@pytest.mark.django_db
def test_plan_of_waiting_test_jobs_reads_no_live_ones() -> None:
    plan = plan_of(picking._TESTS_WAIT, {"queue": "cpu"})
    used = {one.get("Index Name") for one in nodes(plan)}
    assert used & {*OF_THE_BACKLOG, "job_waiting_test"} == {"job_waiting_test"}


@pytest.mark.django_db
def test_plan_of_taking_a_lone_job_reads_no_more_for_the_test_jobs() -> None:
    given = {"queue": "cpu", "gone_s": 6, "long_ms": 1000, "message": UUID(int=1)}
    plan = plan_of(picking._TAKE_LONE, given)
    used = {one.get("Index Name") for one in nodes(plan)}
    assert {"job_waiting_test", "job_in_flight"} <= used


def plan_of(text: str, given: dict[str, Any]) -> dict[str, Any]:
    """The plan that a prepared statement keeps, whatever its values."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", text)))
    for number, name in enumerate(names, 1):
        text = text.replace(f"%({name})s", f"${number}")
    places = ", ".join("%s" for _ in names)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        cursor.execute(f"PREPARE kept AS {text}")
        chosen = [given[name] for name in names]
        cursor.execute(f"EXPLAIN (FORMAT json) EXECUTE kept ({places})", chosen)
        [[[plan]]] = cursor.fetchall()
        cursor.execute("DEALLOCATE kept")
    return plan["Plan"]  # type: ignore[no-any-return]
