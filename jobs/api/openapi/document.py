"""The whole document, put together from its subjects."""

from __future__ import annotations

from django.conf import settings

from jobs.api.openapi import (
    about,
    accounts,
    answers,
    batches,
    catalogue,
    jobs,
    keys,
    uploads,
    webhooks,
)
from jobs.api.openapi.schema import Schema

SUBJECTS = (jobs, batches, uploads, webhooks, catalogue, accounts, keys, about)


def document() -> Schema:
    """The whole document, as of now."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nijika",
            "version": "1",
            "description": "Jobs on images: send one, follow it, fetch the result.",
        },
        "servers": [{"url": f"{settings.PUBLIC_URL}/api/v1"}],
        "security": [{"key": []}, {"bearer": []}],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _paths() -> dict[str, Schema]:
    return {path: item for one in SUBJECTS for path, item in one.paths().items()}


def _schemas() -> dict[str, Schema]:
    return (
        jobs.schemas()
        | catalogue.SCHEMAS
        | accounts.SCHEMAS
        | keys.SCHEMAS
        | batches.SCHEMAS
        | uploads.SCHEMAS
        | webhooks.SCHEMAS
        | answers.SCHEMAS
    )
