"""What is offered: operations, their engines, limits."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.conf import settings

from billing.errors import PriceMissing
from billing.prices import price_of
from gpu_worker.contract import SANDBOX, EngineSpec
from jobs import engines
from jobs.api.rendering import credits_text
from jobs.errors import EngineUnavailable
from jobs.requests import sealing
from jobs.workers import engine_states


def operations() -> list[dict[str, Any]]:
    """The operations by name, each with its engines, the default first: all that are
    configured, and whether they would take a job now."""
    announced = {one.name: one.engines for one in engines.offered()}
    found = []
    for name, missing in engines.unannounced().items():
        known = [_engine(spec) for spec in announced.get(name, ())]
        unknown = [_unknown(name, engine) for engine in missing]
        # A default that nobody has announced is still the default.
        listed = sorted([*known, *unknown], key=lambda one: not one["default"])
        found.append({"name": name, "engines": listed})
    return found


def sandbox() -> list[dict[str, Any]]:
    """The operations as test keys have them: one engine each, which takes what the
    default one would take."""
    found = []
    for name in engines.unannounced():
        with suppress(EngineUnavailable):
            spec = engines.resolve(name, test=True)
            found.append({"name": name, "engines": [_engine(spec)]})
    return found


def providers(*, test: bool) -> dict[str, Any]:
    """Who edits images, the default first: names alone, and more of each."""
    specs = engines.known("edit", test=test)
    default = SANDBOX if test else settings.DEFAULT_ENGINES.get("edit")
    return {
        "default": default,
        "available": [name for spec in specs for name in (spec.engine, *spec.aliases)],
        "providers": [
            {
                "name": spec.engine,
                "aliases": list(spec.aliases),
                "title": spec.title,
                "queue": spec.queue,
                "available": engine_states.standing_of(spec).reason is None,
                "price": _price(spec),
                "own_key": _own_key(spec),
                "licence": spec.licence,
            }
            for spec in specs
        ],
    }


def _engine(spec: EngineSpec) -> dict[str, Any]:
    least, most = spec.images
    now = engine_states.standing_of(spec)
    return {
        "name": spec.engine,
        "aliases": list(spec.aliases),
        "title": spec.title,
        "default": settings.DEFAULT_ENGINES.get(spec.operation) == spec.engine,
        "queue": spec.queue,
        # Whether a job would start now, and else why not.
        "available": now.reason is None,
        "reason": now.reason,
        "state": now.state,
        "message": now.message,
        "price": _price(spec),
        "own_key": _own_key(spec),
        "licence": spec.licence,
        "images": {"min": least, "max": most},
        "roles": list(spec.roles),
        "needs": list(spec.needs),
        "results": spec.results,
        "is_step": spec.is_step,
        "parameters": spec.parameters,
    }


def _unknown(operation: str, engine: str) -> dict[str, Any]:
    """A configured engine that no worker has announced: nothing else is known of it."""
    return {
        "name": engine,
        "aliases": [],
        "title": "",
        "default": settings.DEFAULT_ENGINES[operation] == engine,
        "queue": None,
        "available": False,
        "reason": "no_worker",
        "state": None,
        "message": "",
        "price": _price_of(operation, engine),
        "own_key": None,
        "licence": "",
        "images": None,
        "roles": [],
        "needs": [],
        "results": 1,
        "is_step": False,
        "parameters": None,
    }


def _price(spec: EngineSpec) -> str | None:
    return _price_of(spec.operation, spec.engine)


def _own_key(spec: EngineSpec) -> dict[str, Any] | None:
    """How a client pays the provider by a key of their own, where that can be."""
    if not sealing.takes_keys(spec):
        return None
    price = _price_of(spec.operation, spec.engine, own_key=True)
    return {"headers": list(sealing.HEADERS[spec.provider]), "price": price}


def _price_of(operation: str, engine: str, *, own_key: bool = False) -> str | None:
    try:
        return credits_text(price_of(operation, engine, own_key=own_key))
    except PriceMissing:
        return None


def limits() -> dict[str, Any]:
    """What every request is held to."""
    return {
        "upload_bytes": settings.UPLOAD_LIMIT_BYTES,
        "image_pixels": settings.IMAGE_LIMIT_PIXELS,
        "image_side_px": settings.IMAGE_LIMIT_SIDE_PX,
        "unfinished_jobs": settings.UNFINISHED_PER_USER,
        "unfinished_test_jobs": settings.SANDBOX_UNFINISHED,
        "stored_bytes": settings.STORED_PER_USER_BYTES,
    }
