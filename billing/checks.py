"""When the ledger was last compared with what it explains, and what came of it."""

from __future__ import annotations

from billing.models import LedgerCheck

KEPT_DIFFERENCES = 20


def write(differences: list[str], *, seconds: float, entries: int) -> None:
    """Keep what a check has found; of many differences the first ones."""
    LedgerCheck.objects.create(
        differences=len(differences),
        examples=differences[:KEPT_DIFFERENCES],
        seconds=seconds,
        entries=entries,
    )


def last() -> LedgerCheck | None:
    return LedgerCheck.objects.order_by("-id").first()
