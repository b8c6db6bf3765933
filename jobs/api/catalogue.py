"""What is offered: operations, their engines, limits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models.functions import Now

from billing.errors import PriceMissing
from billing.prices import price_of
from gpu_worker.contract import SANDBOX, EngineSpec
from jobs import engines
from jobs.api.rendering import credits_text
from jobs.models import Worker


def operations() -> list[dict[str, Any]]:
    """The operations by name, each with its engines, the default first."""
    live = _live_queues()
    return [
        {
            "name": operation.name,
            "engines": [_engine(spec, live) for spec in operation.engines],
        }
        for operation in engines.offered()
    ]


def providers(*, test: bool) -> dict[str, Any]:
    """Who edits images, the default first: names alone, and more of each."""
    live = _live_queues()
    specs = engines.known("edit", test=test)
    default = SANDBOX if test else settings.DEFAULT_ENGINES.get("edit")
    return {
        "default": default,
        "available": [spec.engine for spec in specs],
        "providers": [
            {
                "name": spec.engine,
                "title": spec.title,
                "queue": spec.queue,
                "available": spec.queue in live,
                "price": _price(spec),
                "licence": spec.licence,
            }
            for spec in specs
        ],
    }


def _live_queues() -> set[str]:
    alive = Now() - timedelta(seconds=settings.WORKER_GONE_S)
    workers = Worker.objects.filter(seen_at__gt=alive)
    return set(workers.values_list("queue", flat=True))


def _engine(spec: EngineSpec, live: set[str]) -> dict[str, Any]:
    least, most = spec.images
    return {
        "name": spec.engine,
        "title": spec.title,
        "default": settings.DEFAULT_ENGINES.get(spec.operation) == spec.engine,
        "queue": spec.queue,
        # Whether a worker is there now. Where none is, jobs wait for one.
        "available": spec.queue in live,
        "price": _price(spec),
        "licence": spec.licence,
        "images": {"min": least, "max": most},
        "roles": list(spec.roles),
        "needs": list(spec.needs),
        "results": spec.results,
        "is_step": spec.is_step,
        "parameters": spec.parameters,
    }


def _price(spec: EngineSpec) -> str | None:
    try:
        return credits_text(price_of(spec.operation, spec.engine))
    except PriceMissing:
        return None


def limits() -> dict[str, Any]:
    """What every request is held to."""
    return {
        "upload_bytes": settings.UPLOAD_LIMIT_BYTES,
        "image_pixels": settings.IMAGE_LIMIT_PIXELS,
        "image_side_px": settings.IMAGE_LIMIT_SIDE_PX,
        "unfinished_test_jobs": settings.SANDBOX_UNFINISHED,
    }
