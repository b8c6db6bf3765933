"""How often something may happen: buckets in Redis that all web processes share.

The generic cell rate algorithm (a leaky bucket as a meter): a bucket is one number, the
time at which it will be empty again, so the window slides and nothing is swept. One
script decides and counts, so that two processes cannot both take the last place. Redis
tells the time.

Redis only limits. While it is gone or slow, everything is allowed: a limiter that
refuses because of its own trouble would be the outage.
"""

from __future__ import annotations

import logging
import math
import re
import time
from dataclasses import dataclass
from typing import Any

import redis

PREFIX = "nijika:rate:"
TIMEOUT_S = 0.1
# After an error Redis is left alone for so long.
REST_S = 1.0
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`count` times in `period_s`, of which `burst` may come at once."""

    count: int
    period_s: int
    burst: int

    @property
    def interval_s(self) -> float:
        return self.period_s / self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether it may happen, and what the bucket has left.

    `retry_s` is when the next may come, `reset_s` when the bucket is empty again.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_s: int
    reset_s: int


def parse(text: str) -> Rate | None:
    """`50/s:100` is 50 a second, 100 at once; without `:` as many at once as in the
    period. Nothing, or `off`, is no limit. Raises ValueError."""
    if text.strip().lower() in ("", "off"):
        return None
    match = re.fullmatch(r"([1-9]\d*)/([smhd])(?::([1-9]\d*))?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no rate like 50/s or 50/s:100")
    count = int(match[1])
    burst = int(match[3] or count)
    return Rate(count=count, period_s=UNITS[match[2]], burst=burst)


class Rates:
    """The buckets of one Redis. For any thread."""

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=None,
            health_check_interval=0,
        )
        self._script: Any = self._redis.register_script(_TAKE)
        self._resting_until = 0.0

    def take(self, bucket: str, rate: Rate, *, count: int = 1) -> Verdict | None:
        """Count one into the bucket if there is room; `count` 0 only looks.

        None: Redis does not answer, so there is no limit.
        """
        if time.monotonic() < self._resting_until:
            return None
        values = [repr(rate.interval_s), rate.burst, count]
        try:
            answer = self._script(keys=[PREFIX + bucket], args=values)
        except redis.RedisError as error:
            self._resting_until = time.monotonic() + REST_S
            logger.warning("no rate limits for a moment: %s", type(error).__name__)
            return None
        allowed, remaining, retry_s, reset_s = answer
        return Verdict(
            allowed=bool(allowed),
            limit=rate.burst,
            remaining=int(remaining),
            retry_s=max(1, math.ceil(float(retry_s))),
            reset_s=math.ceil(float(reset_s)),
        )


# `empty_at` is when the bucket is empty if nothing more comes; each one in it pushes
# that an interval further. It is full when that lies `burst` intervals ahead.
_TAKE = """
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local count = tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local empty_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local after = empty_at + math.max(count, 1) * interval
local spare = now + burst * interval - after
local allowed = spare > -0.000001
if allowed and count > 0 then
  empty_at = after
  local lives_ms = math.max(1, math.ceil((empty_at - now) * 1000))
  redis.call('SET', KEYS[1], string.format('%.6f', empty_at), 'PX', lives_ms)
end
local remaining = math.floor((now + burst * interval - empty_at) / interval + 0.000001)
return {allowed and 1 or 0, remaining,
        string.format('%.3f', math.max(0, -spare)),
        string.format('%.3f', math.max(0, empty_at - now))}
"""
