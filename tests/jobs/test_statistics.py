"""Tables that grow quickly are counted before autovacuum comes by."""

import pytest
from django.db import connection

from jobs.database import statistics
from jobs.models import Worker

pytestmark = pytest.mark.django_db(transaction=True)


def worker(number: int) -> Worker:
    return Worker(
        name=f"cpu-{number}",
        incarnation=1,
        queue="cpu",
        slots=1,
        free_slots=1,
        specs_digest="1f",
    )


def test_table_that_has_grown_is_counted_once() -> None:
    statistics.analyze()
    Worker.objects.bulk_create([worker(number) for number in range(600)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    assert "jobs_worker" in statistics.refresh()
    assert "jobs_worker" not in statistics.refresh()


def test_few_rows_are_left_to_autovacuum() -> None:
    statistics.analyze()
    Worker.objects.bulk_create([worker(number) for number in range(10)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
    assert "jobs_worker" not in statistics.refresh()
