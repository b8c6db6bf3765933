"""What can go wrong with credits."""

from decimal import Decimal
from typing import Any

from nijika.errors import Conflict, PaymentRequired, Unavailable


class InsufficientCredits(PaymentRequired):
    """There are not enough credits for this."""

    def __init__(self, *, needed: Decimal, available: Decimal) -> None:
        super().__init__()
        self.needed = needed
        self.available = available

    def fields(self) -> dict[str, Any]:
        return {"needed": f"{self.needed:.4f}", "available": f"{self.available:.4f}"}


class ReferenceReused(Conflict):
    """This reference already stands for another movement of credits."""

    code = "reference_reused"

    def __init__(self, reference: str) -> None:
        super().__init__()
        self.reference = reference


class WalletBusy(Unavailable):
    """The account's credits are in use by other requests at the moment."""


class PriceMissing(Unavailable):
    """No price is set for this operation."""

    headers: dict[str, str] = {}  # waiting does not help

    def __init__(self, operation: str) -> None:
        super().__init__()
        self.operation = operation
