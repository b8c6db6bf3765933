"""What PostgreSQL's planner should know early.

Statements are planned once per connection. A plan that was made while a table was small
stays until the table's statistics change: among ten thousand waiting jobs a lone one
took two milliseconds more, until autovacuum came by in its next minute.
"""

from typing import Any

from django.apps import AppConfig, apps
from django.db import connection

OURS = ("accounts", "billing", "jobs", "staff")

# Twice as many rows, or half of them changed, and no mere handful.
_GROWN = """
SELECT relname FROM pg_stat_user_tables
WHERE relname = ANY(%s) AND n_mod_since_analyze > greatest(500, n_live_tup / 2)
ORDER BY relname
"""


def analyze() -> None:
    """Count the rows of our tables. Plans that were made while the tables were empty,
    above all those of foreign-key checks, would scan them for ever."""
    _analyze(_tables())


def refresh() -> list[str]:
    """Count those anew that have grown much since; their names. Autovacuum does the
    same for the rest, in its own time."""
    with connection.cursor() as cursor:
        cursor.execute(_GROWN, [_tables()])
        grown = [name for (name,) in cursor.fetchall()]
    if grown:
        _analyze(grown)
    return grown


def after_migrate(sender: AppConfig, plan: Any = None, **more: Any) -> None:
    """For the signal `post_migrate`, which tests send after every flush, too."""
    if plan:
        analyze()


def _tables() -> list[str]:
    models = (m for label in OURS for m in apps.get_app_config(label).get_models())
    return [model._meta.db_table for model in models]


def _analyze(tables: list[str]) -> None:
    names = ", ".join(map(connection.ops.quote_name, tables))
    with connection.cursor() as cursor:
        # One that autovacuum has at this moment is in good hands.
        cursor.execute(f"ANALYZE (SKIP_LOCKED) {names}")
