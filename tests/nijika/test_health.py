import os
import signal
import socket
import threading
import time
from pathlib import Path
from unittest.mock import patch

import pytest
from django.db import OperationalError, connection
from django.test import Client
from pytest_django.fixtures import Settings

from jobs import control
from jobs.models import Worker
from jobs.upkeep import control_signs
from nijika import health

LOOPS = (*control_signs.TOGETHER, *control_signs.APART)
pytestmark = pytest.mark.django_db


def services() -> dict[str, str]:
    report = health.look()
    return {name: s["status"] for name, s in report["services"].items()} | {
        "overall": report["status"]
    }


@pytest.fixture
def everything() -> None:
    control_signs.give(LOOPS)
    Worker.objects.create(
        name="cpu-1",
        incarnation=1,
        queue="cpu",
        slots=1,
        free_slots=1,
        specs_digest="1f",
    )


@pytest.mark.usefixtures("everything")
def test_health_with_everything_up_is_healthy(client: Client) -> None:
    health.forget()
    reply = client.get("/api/health")

    assert reply.status_code == 200
    assert reply.json()["status"] == "healthy"
    assert reply.json()["services"]["queue:cpu"]["workers"] == 1
    assert reply["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("everything")
def test_health_without_a_live_worker_is_degraded(settings: Settings) -> None:
    ago = "clock_timestamp() - interval '1 minute'"
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE jobs_worker SET seen_at = {ago}")

    assert services()["queue:cpu"] == "unhealthy"
    assert services()["overall"] == "degraded"
    settings.SCALE_TO_ZERO_QUEUES = ["cpu"]
    assert services()["overall"] == "healthy"


@pytest.mark.django_db(transaction=True)
def test_database_that_hangs_counts_as_away(client: Client) -> None:
    """Its connections stay open and say nothing; no limit of its own is kept to."""
    health.forget()
    for path in ("/api/health", "/health/ready"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            [pid] = cursor.fetchone()
        os.kill(pid, signal.SIGSTOP)
        goes_on = threading.Timer(10, os.kill, [pid, signal.SIGCONT])
        goes_on.start()
        began = time.monotonic()
        try:
            reply = client.get(path)
        finally:
            goes_on.cancel()
            os.kill(pid, signal.SIGCONT)
        assert time.monotonic() - began < health.ASK_TIMEOUT_S + 2
        if path == "/health/ready":
            assert reply.status_code == 503
        else:
            assert reply.json()["status"] == "unhealthy"
            assert reply.json()["services"]["database"]["status"] == "unhealthy"
        connection.close()
    health.forget()


@pytest.mark.usefixtures("everything")
def test_health_before_a_worker_has_announced_its_engines_is_degraded() -> None:
    Worker.objects.update(specs_digest="")

    assert services()["queue:cpu"] == "unhealthy"


@pytest.mark.usefixtures("everything")
@pytest.mark.parametrize("loop", LOOPS)
def test_health_without_one_of_controls_loops_is_degraded(loop: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_controlsign SET seen_at = seen_at - interval '1 minute'"
            " WHERE loop = %s",
            [loop],
        )

    found = services()
    of = loop if loop in control_signs.APART else "control"
    assert (found.pop(of), found.pop("overall")) == ("unhealthy", "degraded")
    assert set(found.values()) == {"healthy"}


def test_health_asks_for_all_loops_that_control_has() -> None:
    together = {loop.name for loop in control.loops()}
    apart = {loop.name for loop in control.loops(",".join(control_signs.APART))}
    assert together == set(control_signs.TOGETHER)
    assert apart == set(control_signs.APART)
    assert len(control.loops(",".join(LOOPS))) == len(control.loops()) + len(apart)


@pytest.mark.usefixtures("everything")
def test_health_without_redis_is_degraded(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    found = services()

    assert (found["redis"], found["broker"]) == ("unhealthy", "healthy")
    assert found["overall"] == "degraded"


@pytest.mark.usefixtures("everything")
def test_health_without_storage_is_degraded(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    settings.STORAGE_URL = f"file://{file}/below"

    assert services()["storage"] == "unhealthy"


def test_health_without_the_database_is_unhealthy_and_ready_is_503(
    client: Client,
) -> None:
    health.forget()
    with patch.object(connection, "cursor", side_effect=OperationalError):
        reply = client.get("/api/health")
        ready = client.get("/health/ready")

    assert (reply.status_code, reply.json()["status"]) == (200, "unhealthy")
    assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")


def test_ready_asks_the_database_alone(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    assert client.get("/health/ready").status_code == 200
    assert client.post("/health/ready").status_code == 405


@pytest.mark.usefixtures("everything")
def test_health_is_looked_at_once_a_second(
    client: Client, django_assert_num_queries: object
) -> None:
    health.forget()
    client.get("/api/health")
    with django_assert_num_queries(0):  # type: ignore[operator]
        assert client.get("/api/health").json()["status"] == "healthy"


def test_signs_of_all_loops_are_one_statement(
    django_assert_num_queries: object,
) -> None:
    with django_assert_num_queries(1):  # type: ignore[operator]
        control_signs.give(LOOPS)
    assert control_signs.living() == set(LOOPS)


@pytest.mark.usefixtures("everything")
def test_frozen_redis_does_not_hold_health_up(settings: Settings) -> None:
    """It accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        began = time.monotonic()
        assert services()["redis"] == "timeout"
        assert time.monotonic() - began < 3
