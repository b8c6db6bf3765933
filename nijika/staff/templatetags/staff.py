import json as encoder
from decimal import Decimal
from typing import Any

from django import template
from django.db.models import Model
from django.template.defaultfilters import capfirst

register = template.Library()
AS_IN_THE_MENU = {
    "staff actions": "Audit log",
    "entries": "Ledger",
    "api keys": "API keys",
    "rendition uses": "Pictures on the fly",
}


@register.filter
def json(value: Any) -> str:
    """The value as JSON to read; the template escapes it."""
    return encoder.dumps(value, indent=2, ensure_ascii=False)


@register.filter
def many(value: int | Decimal) -> str:
    """A number in groups of three digits; credits with two places."""
    text = f"{value:,.2f}" if isinstance(value, Decimal) else f"{value:,}"
    return text.replace(",", "\N{NO-BREAK SPACE}")


@register.filter
def signed(credits: Decimal) -> str:
    """A movement of credits; none is a dash."""
    return f"{credits:+.4f}" if credits else "-"


@register.filter
def headline(part: Any) -> str:
    """The name of a table as the menu has it; a row is called what it is called."""
    if isinstance(part, Model):
        return str(part)
    return AS_IN_THE_MENU.get(str(part), str(capfirst(str(part))))


@register.filter
def path(parts: list[Any]) -> list[Any]:
    """Without the name of the app, which is ours and tells staff nothing."""
    return parts[1:] if len(parts) > 1 else parts
