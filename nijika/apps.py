from decimal import Decimal
from typing import Any

from django.apps import AppConfig


class NijikaConfig(AppConfig):
    name = "nijika"

    def ready(self) -> None:
        # accounts and billing don't know each other; models load before this runs.
        from accounts import exporting, joining

        joining.joined.connect(_open_wallet)
        exporting.exporting.connect(_export_work)


def _open_wallet(user_id: int, credits: Decimal | None, **_: Any) -> None:
    from billing import ledger

    ledger.welcome(user_id, credits)


def _export_work(user_id: int, **_: Any) -> dict[str, Any]:
    from jobs.upkeep import leaving

    return leaving.export(user_id)
