"""What an account has spent by day and operation, and the drawing of it.

Jobs are counted on the day on which they were made. An account may have a great many,
so a process adds an account's up once a minute at most.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.db import connection

DAYS = 30
FRESH_S = 60.0
MOST_KNOWN = 2000
WIDTH, HEIGHT, FLOOR = 720.0, 150.0, 130.0
MOST_KINDS = 6
OTHERS = "others"

Spent = Mapping[date, Mapping[str, Decimal]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One operation's part of a day's column, in units of the drawing."""

    operation: str
    kind: int
    credits: Decimal
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    day: date
    credits: Decimal
    x: str
    middle: str
    width: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`kinds` are the operations in the order of their colours; `top` is the highest
    day's credits."""

    days: tuple[Day, ...]
    kinds: tuple[tuple[int, str, Decimal], ...]
    total: Decimal
    top: Decimal


def spent(user_id: int, zone: ZoneInfo) -> Spent:
    """Charged credits of live jobs of the last days, by the days of this zone."""
    key = user_id, zone.key
    with _lock:
        known = _known.get(key)
    if known and time.monotonic() - known[0] < FRESH_S:
        return known[1]
    found = _read(user_id, zone)
    with _lock:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = time.monotonic(), found
    return found


def forget() -> None:
    with _lock:
        _known.clear()


def chart(found: Spent, today: date) -> Chart:
    days = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    kinds = _kinds(found, set(days))
    totals = {day: sum(found.get(day, {}).values(), Decimal(0)) for day in days}
    top = max(totals.values())
    columns = [
        _column(number, day, found.get(day, {}), kinds, top)
        for number, day in enumerate(days)
    ]
    sums = _sums(found, days, kinds)
    return Chart(
        days=tuple(columns),
        kinds=tuple((kind, name, sums[name]) for name, kind in kinds.items()),
        total=sum(totals.values(), Decimal(0)),
        top=top,
    )


def _kinds(found: Spent, days: set[date]) -> dict[str, int]:
    """The operations that cost most, each with the number of its colour."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for day, parts in found.items():
        if day in days:
            for name, credits in parts.items():
                sums[name] += credits
    ranked = sorted((n for n in sums if sums[n]), key=lambda name: (-sums[name], name))
    if len(ranked) > MOST_KINDS:
        ranked = [*ranked[: MOST_KINDS - 1], OTHERS]
    return {name: number for number, name in enumerate(ranked, start=1)}


def _sums(found: Spent, days: list[date], kinds: dict[str, int]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for day in days:
        for name, credits in _grouped(found.get(day, {}), kinds).items():
            sums[name] += credits
    return sums


def _grouped(parts: Mapping[str, Decimal], kinds: dict[str, int]) -> dict[str, Decimal]:
    grouped: dict[str, Decimal] = defaultdict(Decimal)
    for name, credits in parts.items():
        if credits:
            grouped[name if name in kinds else OTHERS] += credits
    return grouped


def _column(
    number: int,
    day: date,
    parts: Mapping[str, Decimal],
    kinds: dict[str, int],
    top: Decimal,
) -> Day:
    step = WIDTH / DAYS
    x, width = number * step + step * 0.14, step * 0.72
    bars, y = [], FLOOR
    grouped = _grouped(parts, kinds)
    for name in (one for one in kinds if one in grouped):
        height = float(grouped[name] / top) * (FLOOR - 8)
        y -= height
        bars.append(
            Bar(
                operation=name,
                kind=kinds[name],
                credits=grouped[name],
                x=f"{x:.2f}",
                y=f"{y:.2f}",
                width=f"{width:.2f}",
                height=f"{height:.2f}",
            )
        )
    return Day(
        day=day,
        credits=sum(grouped.values(), Decimal(0)),
        x=f"{number * step:.2f}",
        middle=f"{x + width / 2:.2f}",
        width=f"{step:.2f}",
        bars=tuple(bars),
    )


def _read(user_id: int, zone: ZoneInfo) -> Spent:
    since = datetime.now(zone) - timedelta(days=DAYS)
    with connection.cursor() as cursor:
        cursor.execute(_SPENT, [zone.key, user_id, since])
        rows = cursor.fetchall()
    found: dict[date, dict[str, Decimal]] = defaultdict(dict)
    for day, operation, credits in rows:
        found[day][operation] = credits
    return found


_SPENT = """
SELECT (created_at AT TIME ZONE %s)::date AS day, operation, sum(charged)
FROM jobs_job
WHERE user_id = %s AND NOT test AND created_at >= %s
GROUP BY day, operation
"""

_lock = threading.Lock()
_known: dict[tuple[int, str], tuple[float, Spent]] = {}
