from decimal import Decimal
from typing import TYPE_CHECKING

from django.db import models

if TYPE_CHECKING:
    _Field = models.DecimalField[str | float | Decimal, Decimal]
else:
    _Field = models.DecimalField


class Credits(_Field):
    """An exact amount of credits, four decimals."""

    def __init__(self, **options: object) -> None:
        options.setdefault("max_digits", 16)
        options.setdefault("decimal_places", 4)
        super().__init__(**options)  # type: ignore[arg-type]
