"""What all pages are written with: icons, places in the menu, times, credits."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django import template
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

register = template.Library()


@register.simple_tag
@cache
def icon(name: str) -> SafeString:
    """A drawing beside a text that says the same; screen readers pass over it."""
    return SafeString(render_to_string(f"nijika/icons/{name}.svg").strip())


@register.inclusion_tag("nijika/_nav.html", takes_context=True)
def nav(context: Any, href: str, text: str, name: str) -> dict[str, Any]:
    """A line of the menu; it says so where the page shown is below it."""
    request = context.get("request")
    path = request.path if request else ""
    here = path == href or path.startswith(f"{href.rstrip('/')}/")
    return {"href": href, "text": text, "name": name, "here": here}


@register.simple_tag
def when(at: datetime | None) -> SafeString | str:
    """A time: in UTC here, in the reader's zone and words once the script has run."""
    if at is None:
        return NOTHING
    utc = at.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{} UTC</time>',
        utc.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        utc.strftime("%Y-%m-%d %H:%M:%S"),
        utc.strftime("%Y-%m-%d %H:%M"),
    )


@register.filter
def credits(amount: Decimal | None) -> str:
    """Credits for reading: no more decimals than say something, at least two."""
    if amount is None:
        return NOTHING
    text = f"{amount:,.4f}"
    while text.endswith("0") and len(text) - text.index(".") > 3:
        text = text[:-1]
    return text


@register.filter
def signed(amount: Decimal) -> str:
    """Credits with their sign, a real minus in front of what is taken."""
    return ("+" if amount > 0 else MINUS if amount < 0 else "") + credits(abs(amount))


@register.filter
def short(value: object) -> str:
    """The end of an id, which is the part that tells ids of one day apart."""
    return str(value)[-12:]


@register.filter
def milliseconds(value: int | None) -> str:
    """A time span for reading."""
    if value is None:
        return NOTHING
    if value < 1000:
        return f"{value} ms"
    return f"{value / 1000:.1f} s" if value < 60_000 else f"{value / 60_000:.1f} min"


@register.simple_tag
def status(value: str) -> SafeString:
    """A state as a badge: its word, and a colour that only repeats it."""
    return format_html('<span class="badge" data-status="{}">{}</span>', value, value)
