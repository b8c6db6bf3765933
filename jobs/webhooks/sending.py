"""One try: a signed POST through the guard, and what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from gpu_worker import fetch
from gpu_worker.errors import WorkerError
from gpu_worker.fetch import INTERNET, Network
from jobs.webhooks import signing

READ_BYTES = 64_000
KEPT_CHARACTERS = 1_000
GONE = 410
LONGEST_WISH_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What goes out: already written, so that no thread needs the database."""

    id: UUID
    claim: UUID
    event_id: str
    url: str
    body: bytes
    holder: str
    generations: tuple[int, ...]
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a try. Without a status nobody answered, and `error` says why.

    `is_sent`: else the receiver has no part in it. `is_final`: nothing will be sent any
    more. `wish_s`: how long the receiver wants to be left alone.
    """

    id: UUID
    claim: UUID
    tries: int
    status: int | None = None
    error: str = ""
    milliseconds: int = 0
    answer: str = ""
    wish_s: float = 0
    is_sent: bool = True
    is_final: bool = False

    @property
    def ok(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == GONE

    @property
    def is_sick(self) -> bool:
        """Whether it speaks against the receiver, not only against this event."""
        if not self.is_sent:
            return False
        return self.status is None or self.status >= 500 or self.status in (408, 429)


def send(letter: Letter, network: Network = INTERNET) -> Outcome:
    """Raises nothing that a receiver can cause."""
    began = time.monotonic()
    status, error, answer, wish_s = None, "", b"", 0.0
    try:
        posted = fetch.post(
            letter.url,
            headers=_headers(letter),
            body=letter.body,
            limit_bytes=READ_BYTES,
            timeout_s=settings.WEBHOOK_TIMEOUT_S,
            allowed_hosts=settings.WEBHOOK_ALLOWED_HOSTS,
            network=network,
        )
        status, answer = posted.status, posted.body
        wish_s = _wish_s(posted.retry_after)
    except WorkerError as refusal:
        error = str(refusal)
    return Outcome(
        id=letter.id,
        claim=letter.claim,
        tries=letter.tries,
        status=status,
        error=error,
        milliseconds=round((time.monotonic() - began) * 1000),
        answer=_text(answer),
        wish_s=wish_s,
    )


def _headers(letter: Letter) -> dict[str, str]:
    signed = signing.headers(
        letter.event_id,
        int(time.time()),
        letter.body,
        letter.holder,
        letter.generations,
    )
    return {"Content-Type": "application/json", **signed}


def _text(answer: bytes) -> str:
    """The first bytes as text that PostgreSQL takes."""
    text = answer[: 4 * KEPT_CHARACTERS].decode("utf-8", "replace")
    return text.replace("\x00", "\ufffd")[:KEPT_CHARACTERS]


def _wish_s(retry_after: str) -> float:
    """The seconds of `Retry-After`; a date is too seldom to be worth reading."""
    if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 8:
        return min(float(retry_after), LONGEST_WISH_S)
    return 0.0
