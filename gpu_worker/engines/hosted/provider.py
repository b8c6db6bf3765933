"""What every provider is spoken to in: submit, poll, fetch.

One that answers at once gives what it made to `submit`. One that queues gives a ticket,
by which any worker with the key can `poll` and `fetch`. All calls raise HostedError,
with texts of ours: nothing that the provider said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import log
from typing import Any, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for. Pictures are whole files: JPEG, or PNG where transparent;
    `mask` is a PNG of the first picture's size, white where to work."""

    job_id: str
    operation: str
    model: str
    prompt: str
    parameters: dict[str, Any]
    pictures: tuple[bytes, ...] = ()
    mask: bytes | None = None

    def size_px(self) -> tuple[int, int] | None:
        """The size that the result will be brought to, if one was asked for."""
        if "width" not in self.parameters or "height" not in self.parameters:
            return None
        return self.parameters["width"], self.parameters["height"]


class Session(ExitStack):
    """What a provider keeps open between the calls of one run."""

    client: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who pays for one run. `own`: the job's owner does, with their own key."""

    key: str = field(repr=False)
    own: bool
    session: Session = field(default_factory=Session, repr=False, compare=False)

    @property
    def payer(self) -> str:
        """Who it is, without the key."""
        return hashlib.sha256(self.key.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request that the provider has queued. No secret is in it."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Pictures, as files or as URLs (`https:` or `data:`), and what the result's
    details say of them."""

    pictures: tuple[bytes | str, ...]
    details: dict[str, Any] = field(default_factory=dict)


def nearest(ratios: Mapping[str, float], size_px: tuple[int, int]) -> str:
    """The name of the proportions that are most like those of a size."""
    wanted = size_px[0] / size_px[1]
    return min(ratios, key=lambda name: abs(log(ratios[name] / wanted)))


class Provider(Protocol):
    name: str

    def submit(self, wish: Wish, account: Account, timeout_s: float) -> Ticket | Made:
        """Ask once: a request is never repeated here."""

    def poll(self, ticket: Ticket, account: Account) -> str | None:
        """What the request is waiting for, or None when it can be fetched."""

    def fetch(self, ticket: Ticket, account: Account) -> Made: ...

    def cancel(self, ticket: Ticket, account: Account) -> None:
        """Nobody waits for it any more. Best effort."""


class AtOnce:
    """A provider that answers in the same breath: it has no tickets."""

    def poll(self, ticket: Ticket, account: Account) -> str | None:
        return None

    def fetch(self, ticket: Ticket, account: Account) -> Made:
        raise NotImplementedError

    def cancel(self, ticket: Ticket, account: Account) -> None: ...
