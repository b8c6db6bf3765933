"""`/metrics`: what this process has counted, and what the database knows of all.

For scrapers inside: with the token, or from an address of `NIJIKA_METRICS_NETWORKS`
that no proxy speaks for. What scaling and alerts read comes from the database, so any
one web process answers for the whole platform; the counters are this process's own.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.registry import Collector

from nijika.counters import REGISTRY
from nijika.errors import NotFound

FORWARDING = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP")
UP = "nijika_database_up"


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format. A stranger need not know that it is there: 404."""
    if not _may_read(request.META):
        raise NotFound()
    everything = CollectorRegistry()
    everything.register(_Database())
    text = generate_latest(REGISTRY) + generate_latest(everything)
    return HttpResponse(text, content_type=CONTENT_TYPE_LATEST)


def _may_read(meta: dict[str, Any]) -> bool:
    token: str = settings.METRICS_TOKEN
    given = str(meta.get("HTTP_AUTHORIZATION", ""))
    if token and hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        return True
    if any(name in meta for name in FORWARDING):
        return False
    return _is_inside(str(meta.get("REMOTE_ADDR", "")))


def _is_inside(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in ip_network(one) for one in settings.METRICS_NETWORKS)


class _Database(Collector):
    """Asked at each scrape: a handful of statements that go by indexes."""

    def collect(self) -> Iterable[Gauge]:
        try:
            found = list(_read())
        except Error:
            return [Gauge(UP, "Whether the database answers.", value=0)]
        return [Gauge(UP, "Whether the database answers.", value=1), *found]


def _read() -> Iterator[Gauge]:
    values = {"gone_s": settings.WORKER_GONE_S, "queues": list(settings.QUEUES)}
    yield from _by_queue(_JOBS, JOBS, values)
    yield from _by_queue(_WORKERS, WORKERS, values)
    [hooks] = _rows(_WEBHOOKS, {})
    yield from (_gauge(*said, hooks[n]) for n, said in enumerate(WEBHOOKS))
    for check in _rows(_LEDGER, {}):
        yield from (_gauge(*said, check[n]) for n, said in enumerate(LEDGER))


def _by_queue(
    query: str, said: tuple[tuple[str, str], ...], values: dict[str, Any]
) -> Iterator[Gauge]:
    rows = _rows(query, values)
    for column, (name, text) in enumerate(said, start=1):
        gauge = Gauge(f"nijika_{name}", text, labels=["queue"])
        for row in rows:
            gauge.add_metric([row[0]], float(row[column]))
        yield gauge


def _gauge(name: str, text: str, value: Any) -> Gauge:
    return Gauge(f"nijika_{name}", text, value=float(value))


def _rows(query: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


JOBS = (
    ("jobs_waiting", "Jobs that could start now, or wait for their inputs."),
    ("jobs_running", "Jobs that a worker has."),
    ("oldest_waiting_seconds", "How long the oldest of the waiting jobs has waited."),
)
# Queues that nothing waits on are there with zeros: an alert needs a series.
_JOBS = """
SELECT queue,
    count(id) FILTER (WHERE status = 'queued'),
    count(id) FILTER (WHERE status = 'running'),
    coalesce(extract(epoch FROM clock_timestamp()
        - min(created_at) FILTER (WHERE status = 'queued')), 0)
FROM unnest(%(queues)s::text[]) AS known (queue)
LEFT JOIN (
    SELECT id, queue, status, created_at FROM jobs_job
    WHERE status IN ('queued', 'running')
) AS job USING (queue)
GROUP BY queue ORDER BY queue
"""

WORKERS = (
    ("workers", "Workers that have called lately."),
    ("worker_slots", "Their slots."),
    ("worker_slots_free", "Those of their slots that are free."),
)
_WORKERS = """
SELECT queue, count(name), coalesce(sum(slots), 0), coalesce(sum(free_slots), 0)
FROM unnest(%(queues)s::text[]) AS known (queue)
LEFT JOIN (
    SELECT name, queue, slots, free_slots FROM jobs_worker
    WHERE seen_at > clock_timestamp() - make_interval(secs => %(gone_s)s)
) AS worker USING (queue)
GROUP BY queue ORDER BY queue
"""

WEBHOOKS = (
    ("webhooks_pending", "Deliveries that are not at their end."),
    ("webhooks_due", "Those of them whose next try is due."),
    ("webhooks_retrying", "Those of them that have failed at least once."),
    ("webhooks_failed_last_hour", "Deliveries given up within the last hour."),
)
_WEBHOOKS = """
SELECT count(*), count(*) FILTER (WHERE next_at <= clock_timestamp()),
    count(*) FILTER (WHERE attempts > 0),
    (
        SELECT count(*) FROM jobs_webhookdelivery
        WHERE status = 'failed' AND ended_at > clock_timestamp() - interval '1 hour'
    )
FROM jobs_webhookdelivery WHERE status = 'pending'
"""

LEDGER = (
    ("ledger_check_age_seconds", "How long ago the books were compared last."),
    ("ledger_differences", "What that comparison found wrong."),
)
_LEDGER = """
SELECT extract(epoch FROM clock_timestamp() - at), differences
FROM billing_ledgercheck ORDER BY at DESC LIMIT 1
"""
