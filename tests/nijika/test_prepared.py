import pytest
from django.db import DataError, connection, transaction

from nijika.postgres import prepared

pytestmark = pytest.mark.django_db


def test_rows_of_a_statement_are_planned_once() -> None:
    query = "SELECT %s::int + 41 AS answer"
    for _ in range(3):
        assert prepared.rows(query, [1]) == [(42,)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s",
            ["%41 AS answer"],
        )
        assert cursor.fetchone() == (1,)


def test_rows_of_each_of_many_statements_come_in_their_order() -> None:
    asked = [("SELECT %s::text", ["a"]), ("SET LOCAL work_mem = '4MB'", [])]
    assert prepared.rows_of_each([*asked, ("SELECT 1, 2", [])]) == [
        [("a",)],
        [],
        [(1, 2)],
    ]


def test_rows_of_a_refused_statement_raise_djangos_error() -> None:
    with pytest.raises(DataError), transaction.atomic():
        prepared.rows("SELECT 1 / %s::int", [0])
    with pytest.raises(DataError), transaction.atomic():
        prepared.rows_of_each([("SELECT 1", []), ("SELECT 1 / %s::int", [0])])
