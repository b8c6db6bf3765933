"""What PostgreSQL's planner should know early."""

from typing import Any

from django.apps import AppConfig, apps
from django.db import connection

OURS = ("accounts", "billing", "jobs", "staff")


def analyze() -> None:
    """Count the rows of our tables. Plans that were made while the tables were empty,
    above all those of foreign-key checks, would scan them for ever."""
    tables = [
        connection.ops.quote_name(model._meta.db_table)
        for label in OURS
        for model in apps.get_app_config(label).get_models()
    ]
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {', '.join(tables)}")


def after_migrate(sender: AppConfig, plan: Any = None, **more: Any) -> None:
    """For the signal `post_migrate`, which tests send after every flush, too."""
    if plan:
        analyze()
