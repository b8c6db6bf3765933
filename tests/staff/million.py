"""The admin's pages with a million jobs: what they ask is bounded by their window.

Used by tests/jobs/test_million_jobs.py, which has the million. Every statement that a
page asks is explained as it was asked, and what it read is counted, whether it found
something or not.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.jobs.plans import nodes

BIG = ("jobs_job", "jobs_webhookdelivery", "billing_entry", "accounts_user")
WINDOW = 1000
"""The admin's own, made smaller, so that it is small beside one user's jobs, too."""
MOST_ROWS = 3 * WINDOW


def fill() -> None:
    """Entries and deliveries, all of the first user; wallets for all, and more users,
    of whom the staff and the suspended are the oldest."""
    with connection.cursor() as cursor:
        for query in (PEOPLE, WALLETS, ENTRIES, DELIVERIES):
            cursor.execute(query)
        cursor.execute(f"VACUUM ANALYZE {', '.join(BIG)}")


def read(plan: dict[str, Any]) -> int:
    """The rows of the large tables that a plan has looked at, found or thrown away."""
    return sum(
        round(
            node["Actual Loops"]
            * (
                node["Actual Rows"]
                + node.get("Rows Removed by Filter", 0)
                + node.get("Rows Removed by Index Recheck", 0)
            )
        )
        for node in nodes(plan["Plan"])
        if "Scan" in node["Node Type"] and node["Node Type"] != "Bitmap Heap Scan"
        and (node.get("Relation Name") in BIG or "Index Name" in node)
    )  # fmt: skip


def check(client: Client, page: str) -> Any:
    """Open the page, and explain each of its statements about a large table."""
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(page)
    assert answer.status_code == 200, page
    asked = [q["sql"] for q in captured]
    asked = [sql for sql in asked if sql.lstrip().startswith("SELECT")]
    asked = [sql for sql in asked if any(table in sql for table in BIG)]
    # The totals of the first page read a row per user, and say so.
    asked = [sql for sql in asked if not sql.lstrip().startswith("SELECT users,")]
    for statement in asked:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
            found = cursor.fetchone()[0][0]
        rows = read(found)
        assert rows <= MOST_ROWS, (page, rows, statement, json.dumps(found)[:3000])
    return answer


PAGES = [
    "",
    "live/",
    "jobs/job/",
    "jobs/job/?status=failed",
    "jobs/job/?status=succeeded&operation=resize&test=1",
    "jobs/job/?q=no-such-request",
    "jobs/job/?q=0%40example.com",
    "jobs/job/?q=0%40example.com&status=failed",
    "jobs/job/?q=nobody%40example.com",
    "jobs/job/?batch=01920000-0000-7000-8000-000000000000",
    "billing/wallet/",
    "billing/wallet/?q=PERSON123%40example.com",
    "billing/entry/",
    "billing/entry/?kind=refund",
    "billing/entry/?q=0%40example.com",
    "billing/entry/?q=no-such-reference",
    "jobs/webhookdelivery/",
    "jobs/webhookdelivery/?status=failed",
    "jobs/webhookdelivery/?q=0%40example.com&status=failed",
    "jobs/webhookdelivery/?endpoint=01920000-0000-7000-8000-000000000000",
    "accounts/user/",
    "accounts/user/?q=person123",
    "accounts/user/?q=PERSON123%40example.com",
    "accounts/user/?q=nobody%40example.com",
    "accounts/user/?role=user",
    "accounts/user/?role=admin",
    "accounts/user/?suspended=1",
    "accounts/apikey/?q=0%40example.com",
    "staff/action/",
]

PEOPLE = """
INSERT INTO accounts_user (email, role, suspended_at, password, is_superuser,
    created_at)
SELECT 'person' || n || '@example.com',
    CASE WHEN n < 5 THEN 'moderator' ELSE 'user' END,
    CASE WHEN n BETWEEN 5 AND 9 THEN now() END, '!', false, now()
FROM generate_series(1, 20000) AS n
"""
WALLETS = """
INSERT INTO billing_wallet (user_id, available, held)
SELECT id, 0, 0 FROM accounts_user
"""
ENTRIES = """
INSERT INTO billing_entry (wallet_id, kind, amount, held_amount, available_after,
    held_after, reference, note)
SELECT wallet.id, 'grant', 0, 0, 0, 0, 'x' || n, ''
FROM generate_series(1, 20000) AS n, LATERAL (
    SELECT id FROM billing_wallet OFFSET n % 2 LIMIT 1
) AS wallet
"""
DELIVERIES = """
INSERT INTO jobs_webhookdelivery (id, event_id, type, user_id, test, endpoint_id, url,
    lane, status, give_up_at, created_at, ended_at)
SELECT gen_random_uuid(), gen_random_uuid(), 'job.succeeded',
    (SELECT min(id) FROM accounts_user), false, gen_random_uuid(), '', 'x',
    'delivered', now(), now() - n * interval '1s', now()
FROM generate_series(1, 20000) AS n
"""
