from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_delete, post_save


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        price = self.get_model("Price")
        post_save.connect(_forget_prices, sender=price)
        post_delete.connect(_forget_prices, sender=price)


def _forget_prices(**_: Any) -> None:
    from billing import prices  # models must not be imported before they are ready

    prices.forget()
