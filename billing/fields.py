from django.db import models


class Credits(models.DecimalField):
    """An exact amount of credits, four decimals."""

    def __init__(self, **options: object) -> None:
        options.setdefault("max_digits", 16)
        options.setdefault("decimal_places", 4)
        super().__init__(**options)  # type: ignore[arg-type]
