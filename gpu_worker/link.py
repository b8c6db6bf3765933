"""The worker's side of the link: all that it says to the platform, one call at a time.

- One call in flight over one kept connection. What collects meanwhile rides on the next
  call, which leaves as soon as the answer is there; with nothing to say, one leaves
  every `call_every_s`.
- Claims, hand-backs, checkpoints and reports are repeated until an answer has dealt
  with them; the platform takes each once. A claim keeps its id, so that a lost answer
  is asked for again. A report stays until it is acknowledged, however long that takes.
- A run beats from its grant until its report is acknowledged, or it was handed back, or
  the platform said stop.
- While the platform is away the calls go on, ever slower up to `retry_most_s`.
"""

from __future__ import annotations

import json
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import islice
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from gpu_worker.contract import (
    Answer,
    Beat,
    Call,
    Checkpoint,
    ContractError,
    EngineSpec,
    Grant,
    Progress,
    Report,
    Run,
    from_json,
    specs_digest,
    to_json,
)
from gpu_worker.settings import Settings
from gpu_worker.standing import Standing, Tidings

logger = logging.getLogger("gpu_worker.link")

FIRST_RETRY_S = 0.1
PROGRESS_EVERY_S = 0.05
"""Steps of a distilled model take a tenth of a second, and every second one is seen."""
MOST_PER_CALL = 200
CHECKPOINT_LIMIT_BYTES = 4096

K = TypeVar("K")
V = TypeVar("V")


class LinkClosed(Exception):
    """The worker is going: nothing more is claimed."""


class CallFailed(Exception):
    """The platform did not answer a call. `sent`: it may have done what it asks."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


@dataclass(slots=True)
class Claim:
    """A claim on its way. `sent_at`: when the platform may first have granted it, so
    from when the run's time may count (`time.monotonic()`)."""

    run: Run
    sent_at: float | None = None
    granted: Future[Grant] = field(default_factory=Future)


@dataclass(slots=True)
class Pulse:
    """The beats of one run. `news`: progress that has not been sent."""

    beat_at: float
    news: Progress | None = None


class Link:
    """The conversation with the platform. `free_slots` is asked at every call; `stop`
    gets the runs to stop, `unload` the engines that are to free their device;
    `replaced` is called when another process took our name.

    The conversation may begin before the worker is `ready` (an event): until then it
    has no slots.
    """

    def __init__(
        self,
        settings: Settings,
        specs: tuple[EngineSpec, ...],
        *,
        free_slots: Callable[[], int],
        stop: Callable[[Sequence[Run]], None],
        replaced: Callable[[], None],
        standing: Standing,
        unload: Callable[[Sequence[str]], None],
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._digest = specs_digest(specs)
        self._free_slots, self._stop, self._replaced = free_slots, stop, replaced
        self._standing, self._unload = standing, unload
        self.ready = threading.Event()
        self._tidings = Tidings()
        standing.wake = self._nudge
        self._wire = Wire(settings)
        self._condition = threading.Condition()
        self._claims: dict[Run, Claim] = {}
        self._pulses: dict[Run, Pulse] = {}
        self._checkpoints: dict[Run, Checkpoint] = {}
        self._storing: dict[Run, list[Future[None]]] = {}
        self._hand_backs: dict[Run, None] = {}
        self._reports: dict[Run, Report] = {}
        self._incarnation = self._number = 0
        self._send_specs = False
        self._news = self._closing = False
        self._registered = threading.Event()
        self._thread = threading.Thread(target=self._talk, name="link", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait_registered(self, timeout_s: float) -> bool:
        """Whether the platform has given us an incarnation, within the time."""
        return self._registered.wait(timeout_s)

    def claim(self, runs: Iterable[Run]) -> list[Claim]:
        """Claim all runs in one call. Raises LinkClosed."""
        claims = [Claim(run) for run in runs]
        with self._condition:
            if self._closing:
                raise LinkClosed
            self._claims |= {claim.run: claim for claim in claims}
            self._wake()
        return claims

    def progress(self, run: Run, progress: Progress) -> None:
        with self._condition:
            if pulse := self._pulses.get(run):
                pulse.news = progress
                self._condition.notify()

    def checkpoint(self, run: Run, text: str) -> Future[None]:
        """Have it stored; the future tells when it is, or a later one of this run."""
        if len(text.encode()) > CHECKPOINT_LIMIT_BYTES:
            raise ValueError("a checkpoint is longer than 4 kB")
        with self._condition:
            self._checkpoints[run] = Checkpoint(run=run, text=text)
            stored: Future[None] = Future()
            self._storing.setdefault(run, []).append(stored)
            self._wake()
        return stored

    def report(self, report: Report) -> None:
        """Say how a run ended; returns at once."""
        with self._condition:
            self._reports[report.run] = report
            self._wake()

    def hand_back(self, runs: Iterable[Run]) -> None:
        """Give runs back, to start anew elsewhere; returns at once."""
        with self._condition:
            handed_back = dict.fromkeys(runs)
            for run in handed_back:
                if claim := self._claims.pop(run, None):
                    claim.granted.set_exception(LinkClosed())
                self._pulses.pop(run, None)
            self._hand_backs |= handed_back
            self._wake()

    def forget(self, run: Run) -> None:
        """Say no more about a run that was stopped."""
        with self._condition:
            self._pulses.pop(run, None)

    def close(self, timeout_s: float) -> bool:
        """Say what is left, then end. False: some of it found no ear within the time.

        Claims that are still unanswered are handed back.
        """
        end = time.monotonic() + timeout_s
        with self._condition:
            self._closing = True
            abandoned, self._claims = self._claims, {}
            self._hand_backs |= dict.fromkeys(abandoned)
            self._wake()
        for claim in abandoned.values():
            claim.granted.set_exception(LinkClosed())
        self._thread.join(max(0, end - time.monotonic()))
        return not self._thread.is_alive()

    def _wake(self) -> None:
        self._news = True
        self._condition.notify()

    def _nudge(self) -> None:
        with self._condition:
            self._wake()

    def _talk(self) -> None:
        failures = 0
        while True:
            with self._condition:
                if not failures:
                    self._wait_for_news()
                if self._closing and not self._has_unsaid():
                    return
                call = self._compose()
            try:
                self._take_in(call, self._wire.send(call))
                failures = 0
            except CallFailed as error:
                self._unsent(call, error)
                failures += 1
                self._pause(failures, error)
            except Exception:  # the edge of this thread: the beats must go on
                logger.exception("a call could not be made")
                failures += 1
                time.sleep(1)

    def _wait_for_news(self) -> None:
        end = time.monotonic() + self._settings.call_every_s
        while not (self._news or self._closing):
            left = min(end, self._progress_due()) - time.monotonic()
            if left <= 0:
                break
            self._condition.wait(left)
        # Each answer settles what its call carried; what it left open waits a moment.
        if self._closing and not self._news and self._has_unsaid():
            self._condition.wait(FIRST_RETRY_S)
        self._news = False

    def _progress_due(self) -> float:
        news = (p.beat_at for p in self._pulses.values() if p.news is not None)
        return min(news, default=float("inf")) + PROGRESS_EVERY_S

    def _has_unsaid(self) -> bool:
        return bool(self._reports or self._hand_backs or self._checkpoints)

    def _compose(self) -> Call:
        """The next call. The first of an incarnation carries nothing to act on."""
        now = time.monotonic()
        self._number += 1
        new = self._incarnation == 0
        self._tidings = Tidings() if new else self._standing.tidings()
        is_ready = self.ready.is_set()
        for claim in () if new else self._claims.values():
            claim.sent_at = claim.sent_at or now
        return Call(
            name=self._settings.name,
            incarnation=self._incarnation,
            number=self._number,
            queue=self._settings.queue,
            slots=self._settings.slots if is_ready else 0,
            free_slots=self._free_slots() if is_ready and not self._closing else 0,
            specs_digest=self._digest,
            specs=self._specs if self._send_specs else (),
            claims=() if new else tuple(self._claims),
            beats=() if new else tuple(self._beats(now)),
            checkpoints=() if new else _some(self._checkpoints),
            hand_backs=() if new else tuple(islice(self._hand_backs, MOST_PER_CALL)),
            reports=() if new else _some(self._reports),
            states=self._tidings.states,
            measures=self._tidings.measures,
        )

    def _beats(self, now: float) -> Iterable[Beat]:
        for run, pulse in self._pulses.items():
            if pulse.news is not None or now - pulse.beat_at >= self._settings.beat_s:
                yield Beat(run=run, progress=pulse.news)
                pulse.beat_at, pulse.news = now, None

    def _take_in(self, call: Call, answer: Answer) -> None:
        if answer.status == "stale":
            self._hear_stale(answer)
            return
        with self._condition:
            if self._incarnation == 0:
                self._incarnation = answer.incarnation
                self._registered.set()
            # With the first real call unasked: jobs may be waiting for these engines.
            self._send_specs = answer.send_specs or call.incarnation == 0
            if self._send_specs:
                self._wake()
            self._standing.told(self._tidings)
            stored = self._stored(call)
            granted = self._settle(call, answer)
        for one in stored:
            one.set_result(None)
        for claim, grant in granted:
            claim.granted.set_result(grant)
        if answer.stop:
            self._stop(answer.stop)
        if answer.unload:
            self._unload(answer.unload)

    def _stored(self, call: Call) -> list[Future[None]]:
        """Who waits for what this call has brought to the platform."""
        return [
            waiting
            for one in call.checkpoints
            if self._checkpoints.get(one.run) is one
            for waiting in self._storing.pop(one.run, [])
        ]

    def _settle(self, call: Call, answer: Answer) -> list[tuple[Claim, Grant]]:
        """Strike out what the answer has dealt with; the claims that it decided."""
        now = time.monotonic()
        for run in answer.acknowledged:
            self._reports.pop(run, None)
            self._pulses.pop(run, None)
        for run in call.hand_backs:
            self._hand_backs.pop(run, None)
        for checkpoint in call.checkpoints:
            if self._checkpoints.get(checkpoint.run) is checkpoint:
                del self._checkpoints[checkpoint.run]
        for run in answer.stop:
            self._pulses.pop(run, None)
        granted = []
        for grant in answer.grants:
            if claim := self._claims.pop(grant.run, None):
                granted.append((claim, grant))
                if grant.granted:
                    self._pulses[grant.run] = Pulse(beat_at=now)
        return granted

    def _hear_stale(self, answer: Answer) -> None:
        if answer.incarnation != self._incarnation:
            logger.error("another process has taken the name %s", self._settings.name)
            self._replaced()
        time.sleep(FIRST_RETRY_S)

    def _unsent(self, call: Call, error: CallFailed) -> None:
        """A claim that surely was not granted has not started the clock of its run."""
        if error.sent:
            return
        with self._condition:
            for run in call.claims:
                if claim := self._claims.get(run):
                    claim.sent_at = None

    def _pause(self, failures: int, error: CallFailed) -> None:
        pause_s = min(FIRST_RETRY_S * 2**failures, self._settings.retry_most_s)
        if failures in (1, 10) or failures % 100 == 0:
            logger.warning("the platform is away: %s", error)
        time.sleep(pause_s)


class Wire:
    """Calls over HTTP, on one connection that is kept.

    The standard library's plain client: one that does more takes a quarter of a
    millisecond more for each call, twice per job.
    """

    def __init__(self, settings: Settings) -> None:
        url = urlsplit(settings.link_url)
        self._path = urlunsplit(("", "", url.path or "/", url.query, ""))
        kind = HTTPSConnection if url.scheme == "https" else HTTPConnection
        self._connection = kind(url.netloc, timeout=settings.link_timeout_s)
        self._headers = {
            "Authorization": f"Bearer {settings.link_token}",
            "Content-Type": "application/json",
        }

    def send(self, call: Call) -> Answer:
        """Raises CallFailed."""
        body = json.dumps(to_json(call), allow_nan=False).encode()
        self._connect()
        try:
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            content = response.read()
        except (HTTPException, OSError) as error:
            self._connection.close()
            raise CallFailed(type(error).__name__, sent=True) from error
        return _answer(response.status, content)

    def _connect(self) -> None:
        """A kept connection, unless its other end has closed it while it was idle."""
        kept = self._connection.sock
        if kept is not None and _is_readable(kept):
            self._connection.close()
        if self._connection.sock is None:
            try:
                self._connection.connect()
            except OSError as error:
                self._connection.close()
                raise CallFailed(type(error).__name__, sent=False) from error


def _is_readable(kept: socket.socket) -> bool:
    """Whether something came that nobody asked for: the end, that is."""
    return bool(select.select([kept], [], [], 0)[0])


def _answer(status: int, content: bytes) -> Answer:
    if status != 200:
        refused = status < 500 or status == 503
        raise CallFailed(f"it answered {status}", sent=not refused)
    try:
        return from_json(Answer, json.loads(content))
    except (ContractError, ValueError) as error:
        raise CallFailed("its answer is not in the contract", sent=True) from error


def _some(values: dict[K, V]) -> tuple[V, ...]:
    return tuple(islice(values.values(), MOST_PER_CALL))
