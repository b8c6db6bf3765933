import json as encoder
from typing import Any

from django import template

register = template.Library()


@register.filter
def json(value: Any) -> str:
    """The value as JSON to read; the template escapes it."""
    return encoder.dumps(value, indent=2, ensure_ascii=False)
