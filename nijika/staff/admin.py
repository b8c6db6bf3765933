"""Where Django looks for the pages of this app: those of all tables are here."""

from nijika.staff import (
    credits,
    keys,
    machinery,
    prices,
    records,
    users,
    webhooks,
    work,
)

__all__ = [
    "credits",
    "keys",
    "machinery",
    "prices",
    "records",
    "users",
    "webhooks",
    "work",
]
