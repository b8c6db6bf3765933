"""One job's way through a provider: submit, poll, fetch, and paid once.

- Before a request goes out the platform has stored that it will: a run that dies then
  has left its trace. A request whose end nobody knows is repeated once at most.
- A ticket is stored as soon as it is there. Whoever runs the job next asks for that
  request, and sends none.
- What the provider surely did not work for (a refusal, no connection) leaves no trace.
- A job that its owner cancels is cancelled at the provider; one that is handed back, as
  its worker goes, is not: the next run asks for it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

from gpu_worker.engines.hosted import options, pictures
from gpu_worker.engines.hosted.circuit import Circuit
from gpu_worker.engines.hosted.errors import (
    HostedError,
    ProviderRateLimited,
    ProviderTimeout,
    ProviderUnavailable,
)
from gpu_worker.engines.hosted.memory import Memory
from gpu_worker.engines.hosted.provider import Account, Made, Provider, Ticket, Wish
from gpu_worker.errors import Stopped, StorageUnavailable

logger = logging.getLogger("gpu_worker.hosted")

KEEP_TIMEOUT_S = 30.0
MOST_MISSED_LOOKS = 5
LEAST_TIME_S = 1.0
STEPS = 3
PASSING = (ProviderUnavailable, ProviderTimeout, ProviderRateLimited)
"""What a look at a queued request may come to, and the request be well."""


class Talk(Protocol):
    """How one job's run talks to the platform."""

    def progress(self, step: int, total: int, message: str) -> None: ...

    def is_stopped(self) -> bool: ...

    def is_handed_back(self) -> bool: ...

    def keep(self, text: str, *, wait_s: float = 0) -> bool:
        """Store the checkpoint; whether it is there, within the time."""


@dataclass(slots=True, kw_only=True)
class Drive:
    """One run of one job."""

    provider: Provider
    circuit: Circuit
    wish: Wish
    account: Account
    memory: Memory
    talk: Talk
    deadline: float = field(
        default_factory=lambda: time.monotonic() + options.timeout_s()
    )

    def run(self) -> tuple[list[bytes], Made]:
        """The pictures as files. Raises HostedError, Stopped, StorageUnavailable."""
        try:
            return self._files()
        except HostedError as error:
            self._settle(error)
            raise error from None
        finally:
            self.account.session.close()

    def _files(self) -> tuple[list[bytes], Made]:
        made = self._made()
        self.talk.progress(STEPS, STEPS, "fetching the result")
        return [self._file(one) for one in made.pictures], made

    def _made(self) -> Made:
        if self.memory.ticket is not None:
            return self._follow(Ticket(self.memory.ticket))
        answer = self._submit()
        if isinstance(answer, Made):
            return answer
        self.memory.ticket = answer.text
        # Not waited for: the request is on its way, and the link repeats what it says.
        self.talk.keep(self.memory.text())
        return self._follow(answer)

    def _submit(self) -> Ticket | Made:
        if not self.memory.may_send:
            raise ProviderUnavailable(
                "Two requests to the provider came to nothing.", unpaid=False
            )
        trial = self.circuit.check(self.account.payer)
        self.memory.sent += 1
        if not self.talk.keep(self.memory.text(), wait_s=self._wait_s()):
            self.memory.sent -= 1
            raise StorageUnavailable("The platform could not be told of the request.")
        if self.talk.is_stopped():
            self.memory.sent -= 1
            self.talk.keep(self.memory.text())
            raise Stopped
        self.talk.progress(1, STEPS, f"asking {self.provider.name}")
        try:
            answer = self.provider.submit(self.wish, self.account, self._left_s())
        except HostedError as error:
            self.circuit.heard(error, self.account.payer, trial=trial)
            self.memory.sent -= error.unpaid
            raise
        self.circuit.heard(None)
        return answer

    def _follow(self, ticket: Ticket) -> Made:
        """Wait for a queued request. Raises HostedError and Stopped."""
        missed = 0
        while True:
            pause_s = options.poll_s()
            self._stop_if_asked(ticket)
            if time.monotonic() > self.deadline:
                self.provider.cancel(ticket, self.account)
                self.memory.ticket = None
                raise ProviderTimeout(again=False)
            try:
                waits_for = self.provider.poll(ticket, self.account)
                if waits_for is None:
                    return self.provider.fetch(ticket, self.account)
                missed = 0
                self.circuit.heard(None)
                self.talk.progress(2, STEPS, waits_for)
            except PASSING as error:
                self.circuit.heard(error, self.account.payer)
                missed += 1
                if missed >= MOST_MISSED_LOOKS:
                    raise
                pause_s = max(pause_s, min(error.retry_after_s, self._left_s()))
            _pause(pause_s, self.talk)

    def _file(self, picture: bytes | str) -> bytes:
        if isinstance(picture, bytes):
            return picture
        return pictures.fetched(picture, timeout_s=self._left_s())

    def _settle(self, error: HostedError) -> None:
        """Whether the job may be tried again, and what its next run must know."""
        if not isinstance(error, (*PASSING, pictures.ResultUnreachable)):
            # A queued request is over: what it made, or did not, is not to be had.
            self.memory.ticket = None
        self.talk.keep(self.memory.text())
        error.retryable = error.again and (
            self.memory.ticket is not None or self.memory.may_send
        )
        logger.warning(
            "job %s: %s at %s", self.wish.job_id, error.code, self.provider.name
        )

    def _stop_if_asked(self, ticket: Ticket) -> None:
        if not self.talk.is_stopped():
            return
        if not self.talk.is_handed_back():
            self.provider.cancel(ticket, self.account)
        raise Stopped

    def _left_s(self) -> float:
        return max(LEAST_TIME_S, self.deadline - time.monotonic())

    def _wait_s(self) -> float:
        return min(KEEP_TIMEOUT_S, self._left_s())


def _pause(seconds: float, talk: Talk) -> None:
    """Sleep, but not longer than somebody waits."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not talk.is_stopped():
        time.sleep(min(0.1, left))
