"""What a million jobs cost: no list, no dispatch, no reaping reads them all.

The rows are committed once for the whole module, because a dispatcher has a session of
its own; the tests change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import issuing
from accounts.joining import join
from accounts.models import User
from jobs import reaping, retention
from jobs.database import unpooled
from jobs.database.unpooled import Connection
from jobs.dispatching import picking
from jobs.following import positions
from jobs.upkeep import figures
from nijika.staff import keyset
from tests.jobs.plans import nodes
from tests.jobs.queueing import worker
from tests.staff import million as staff

pytestmark = pytest.mark.django_db

ENDED, WAITING, USERS = 900_000, 100_000, 200
OF_WHAT_RUNS = {"job_in_flight", "job_by_worker", "job_leases"}
OF_ENGINES = {"pace_once_per_size", "engine_once_per_operation"}


def fill(count: int, *, after: int, users: list[int], status: str) -> None:
    """So many more jobs, whose ids ascend as those of real ones do.

    Without triggers, whose look for the user of each is half of the work.
    """
    ended = "clock_timestamp()" if status == "succeeded" else "NULL"
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '5min'")
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(
            f"""
            INSERT INTO jobs_job (id, user_id, test, status, operation, engine, queue,
                parameters, metadata, inputs, waiting_fetches, request_id, price,
                charged, attempt, worker, run_limit_s, start_by, give_up_at, dispatches,
                failures, losses, hand_backs, alone, ended_at, result_prefix, results)
            SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                (%s::bigint[])[1 + n %% %s], false, %s,
                'removebg', 'classical', 'cpu', '{{}}', '{{}}', '[]', 0, '',
                0, 0, 0, '', 60,
                now() + interval '1 day', now() + interval '3 days',
                0, 0, 0, 0, false, {ended}, '', '[]'
            FROM generate_series(%s, %s) AS n
            """,
            [users, len(users), status, after + 1, after + count],
        )
        cursor.execute("RESET session_replication_role")


@contextmanager
def indexes_made_afterwards() -> Iterator[None]:
    """Made over all rows at once, they take a third of the time."""
    of_jobs = """
        SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        WHERE indrelid = 'jobs_job'::regclass AND NOT indisunique
    """
    with connection.cursor() as cursor:
        cursor.execute(of_jobs)
        indexes = cursor.fetchall()
        cursor.execute(f"DROP INDEX {', '.join(name for name, _ in indexes)}")
        yield
        for _, definition in indexes:
            cursor.execute(definition)


@pytest.fixture(scope="module")
def million(django_db_setup: None, django_db_blocker: Any) -> Iterator[list[int]]:
    """The ids of the users to whom the jobs belong."""
    with django_db_blocker.unblock():
        people = [User(email=f"{n}@example.com") for n in range(USERS)]
        ids = [user.pk for user in User.objects.bulk_create(people)]
        with indexes_made_afterwards():
            for after in range(0, ENDED, WAITING):
                fill(WAITING, after=after, users=ids, status="succeeded")
            fill(WAITING, after=ENDED, users=ids, status="queued")
        worker(slots=2)
        staff.fill()
        with connection.cursor() as cursor:  # as the database does by itself, later
            cursor.execute("ANALYZE accounts_user, billing_wallet, billing_entry")
    yield ids
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        tables = "jobs_job, jobs_worker, accounts_user, jobs_webhookdelivery"
        cursor.execute(f"TRUNCATE {tables} CASCADE")


@pytest.fixture
def crowd(million: list[int]) -> Iterator[Connection]:
    with unpooled.connect("test") as session:
        yield session


def plan(session: Connection, query: str, **more: Any) -> dict[str, Any]:
    values = {"queue": "cpu", "gone_s": settings.WORKER_GONE_S, "long_ms": 2000}
    values |= {"message_ms": 50} | more
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}"
    row = psycopg.ClientCursor(session).execute(explain, values).fetchone()
    assert row is not None
    return dict(row[0][0])


def full_scans(plan: dict[str, Any]) -> list[str]:
    """The ways in which a plan reads all rows, of the table or of an index. What is in
    flight is no more than the windows hold, and engines are few, so their indexes may
    be read whole."""
    return [
        f"{node['Node Type']} {node.get('Index Name', '')}"
        for node in nodes(plan["Plan"])
        if "Scan" in node["Node Type"]
        and (node.get("Relation Name") == "jobs_job" or "Index Name" in node)
        and "Index Cond" not in node
        and node["Node Type"] != "Bitmap Heap Scan"
        and node.get("Index Name") not in OF_WHAT_RUNS | OF_ENGINES
    ]


def test_choosing_among_very_many_jobs_costs_only_by_waiting_users(
    crowd: Connection,
) -> None:
    found = plan(crowd, picking._PICK)
    assert full_scans(found) == []
    # A few pages per waiting user, whatever the number of their jobs.
    assert found["Plan"]["Shared Hit Blocks"] < 10 * USERS


def test_a_window_of_many_short_jobs_reads_little_more_of_them(
    crowd: Connection,
) -> None:
    """Not as many of each user as all could be."""
    with crowd.transaction(force_rollback=True):
        crowd.execute("UPDATE jobs_worker SET seen_at = clock_timestamp()")
        crowd.execute(
            "INSERT INTO jobs_engine (operation, name, queue, spec)"
            """ VALUES ('removebg', 'classical', 'cpu', '{"batch_size": 16}')"""
        )
        found = plan(crowd, picking._PICK)
    rows = [
        node["Actual Rows"] * node["Actual Loops"]
        for node in nodes(found["Plan"])
        if node.get("Index Name") == "job_waiting"
    ]
    window = 5 * 16
    assert found["Plan"]["Actual Rows"] == window
    assert sum(rows) < USERS + 4 * window
    assert full_scans(found) == []


def test_finding_that_no_job_waits_alone_costs_a_few_pages(crowd: Connection) -> None:
    found = plan(crowd, picking._TAKE_LONE, message=UUID(int=1))
    assert full_scans(found) == []
    assert found["Plan"]["Shared Hit Blocks"] < 50


def test_looking_for_test_jobs_costs_nothing_beside_live_ones(
    crowd: Connection,
) -> None:
    found = plan(crowd, picking._TESTS_WAIT)
    assert found["Plan"]["Shared Hit Blocks"] < 10
    found = plan(crowd, picking._PICK_TESTS, spare_runs=8)
    assert found["Plan"]["Shared Hit Blocks"] < 100


def test_no_statement_of_control_reads_all_jobs(crowd: Connection) -> None:
    ids = [one.id for one in picking.pick(crowd, "cpu")]
    each: dict[str, Any] = {"ids": ids, "messages": ids, "dispatches": [0] * len(ids)}
    each["numbers"] = each["dispatches"]
    for query in (
        picking._TAKE,
        picking._TAKE_AGAIN,
        picking._GIVE_BACK,
        picking._UNCLAIMED,
        positions._WRONG,
        positions._WRITE,
    ):
        found = plan(crowd, query, **each, pause_s=0, age_s=1, most=1000)
        assert full_scans(found) == [], query


def test_expiry_reads_only_what_is_due(crowd: Connection) -> None:
    found = plan(crowd, retention._EXPIRED.replace("%s", "100"))
    assert full_scans(found) == []


@pytest.mark.parametrize("query", [reaping._LOST, reaping._WAITED, reaping._TOO_OLD])
def test_reaping_reads_only_what_is_due(crowd: Connection, query: str) -> None:
    assert full_scans(plan(crowd, query, batch=200, seen=[])) == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "status=queued",
        "status=failed",
        "operation=removebg",
        "operation=resize",
        "status=succeeded&operation=removebg&limit=100",
        "created_after=2020-01-01T00:00:00Z&created_before=2020-01-02T00:00:00Z",
    ],
)
def test_list_reads_a_page(million: list[int], client: Client, query: str) -> None:
    key = issuing.issue(User.objects.get(pk=million[0]), test=False).secret
    with CaptureQueriesContext(
        connection,
    ) as captured:
        answer = client.get(f"/api/v1/jobs?{query}", headers={"X-API-Key": key})
    assert answer.status_code == 200
    lists = [q["sql"] for q in captured if 'FROM "jobs_job"' in q["sql"]]
    assert lists
    for statement in lists:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}")
            found = cursor.fetchone()[0][0]
        assert full_scans(found) == []
        assert found["Plan"]["Shared Hit Blocks"] < 1000, found


# The admin


@pytest.fixture
def boss(million: list[int], monkeypatch: pytest.MonkeyPatch) -> Client:
    for module, name in ((keyset, "WINDOW"), (figures, "NEWEST"), (figures, "DEEPEST")):
        monkeypatch.setattr(module, name, staff.WINDOW)
    monkeypatch.setattr(figures, "NEWEST_OF_A_USER", staff.WINDOW)
    client = Client()
    client.force_login(join("boss@example.org", role=User.Role.ADMIN))
    return client


@pytest.mark.parametrize("page", staff.PAGES)
def test_page_of_the_admin_reads_a_bounded_number_of_rows(
    boss: Client, page: str
) -> None:
    staff.check(boss, f"/admin/{page}")


@pytest.mark.parametrize("which", [0, -1])
def test_pages_of_users_read_as_little(
    boss: Client, million: list[int], which: int
) -> None:
    """Of one who has more than a window of everything, and of one who has jobs only."""
    user = million[which]
    staff.check(boss, f"/admin/accounts/user/{user}/change/")
    for query in ("", "&status=failed", "&operation=crop", "&test=1"):
        staff.check(boss, f"/admin/jobs/job/?user={user}{query}")
    staff.check(boss, f"/admin/billing/entry/?user={user}&kind=refund")


@pytest.mark.parametrize("query", ["", "user={user}&"])
def test_page_after_page_goes_on_where_the_one_before_ended(
    boss: Client, million: list[int], query: str
) -> None:
    seen: set[Any] = set()
    page = "/admin/jobs/job/?" + query.format(user=million[0])
    link = page
    for _ in range(4):
        answer = staff.check(boss, link)
        rows = [job.pk for job in answer.context["cl"].result_list]
        assert len(rows) == 50 and seen.isdisjoint(rows)
        seen.update(rows)
        link = f"{page}before={answer.context['cl'].older}"


def test_search_says_how_far_it_looked_and_goes_on(boss: Client) -> None:
    page = "/admin/jobs/job/?status=failed"
    answer = staff.check(boss, page)
    assert "Searched back to" in answer.content.decode()
    older = answer.context["cl"].older
    assert older and "Search on" in answer.content.decode()
    staff.check(boss, f"{page}&before={older}")
