"""News of jobs: after a commit that changed jobs, one NOTIFY.

Channels, so that nobody is woken for nothing: CHANGES is for whoever waits for a job,
STEPS for who follows it event by event, where it has not ended; WORK for control, where
a job may go out now or made room for another, FETCHES for the fetcher, where a new job
names a URL, ENDS for who tells receivers of webhooks, where a job that ended has one.
WORK carries the names of the queues, since each has a dispatcher; the others the jobs'
ids.

News only makes things quicker. A NOTIFY may be lost (a listener that reconnects, a
process that dies between its commit and the NOTIFY), so whoever listens also polls.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from uuid import UUID

import psycopg
from django.db import DatabaseError, close_old_connections, connection, transaction

from jobs.database import unpooled

CHANGES = "nijika_jobs"
STEPS = "nijika_steps"
WORK = "nijika_work"
FETCHES = "nijika_fetches"
ENDS = "nijika_ends"
EVERYBODY = (CHANGES, WORK)
ALL_QUEUES = "*"
IDS_PER_PAYLOAD = 200  # 37 bytes each; PostgreSQL takes payloads below 8000
# How long a stop may take to be noticed, and the first pause before reconnecting.
PATIENCE_S = 0.5
LONGEST_PAUSE_S = 5.0

# A NOTIFY is a commit, but nobody has to wait until the disk has it. Statements in one
# simple query are one transaction and one round trip.
_UNHURRIED = "SET LOCAL synchronous_commit = off"

logger = logging.getLogger(__name__)

News = tuple[str, str]
"""A channel and a payload for it."""


def announce(
    ids: Iterable[UUID | str],
    to: Sequence[str] = EVERYBODY,
    *,
    queues: Iterable[str] = (),
) -> None:
    """Tell the listeners of these channels that these jobs changed. Never raises.

    `queues`: all that these jobs are on, where the caller knows them.

    Inside a transaction the NOTIFY waits for the commit: within it, it would make all
    commits queue for one lock (measured: 12 300 against 5 250 commits/s).
    """
    news = _news(ids, to, queues)
    if not news:
        return
    try:
        transaction.on_commit(lambda: _notify(news), robust=True)
    except DatabaseError:
        # The jobs are committed; the poll will find them.
        logger.warning("could not announce %s payloads", len(news), exc_info=True)


def announce_soon(
    ids: Iterable[UUID | str],
    to: Sequence[str] = EVERYBODY,
    *,
    queues: Iterable[str] = (),
) -> None:
    """As `announce`, but the caller does not wait for the NOTIFY.

    For whoever has somebody waiting for an answer. A process that ends at once may
    never say it.
    """
    if connection.in_atomic_block:
        announce(ids, to, queues=queues)
    elif news := _news(ids, to, queues):
        _speaker.say(news)


def fall_silent() -> None:
    """Say what is left, then end the thread of `announce_soon` and its connection."""
    _speaker.close()


class _Speaker:
    """A thread that announces, started by the first news; what gathers meanwhile is
    said together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unsaid: SimpleQueue[list[News] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def say(self, news: list[News]) -> None:
        with self._lock:
            self._unsaid.put(news)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run,
                    args=[self._unsaid],
                    name="announcing",
                    daemon=True,
                )
                self._thread.start()

    def close(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            # A queue of its own for the next thread, which else might take the None.
            unsaid, self._unsaid = self._unsaid, SimpleQueue()
        if thread is not None:
            unsaid.put(None)
            thread.join()

    def _run(self, unsaid: SimpleQueue[list[News] | None]) -> None:
        while (news := unsaid.get()) is not None:
            self._say(news + _gathered(unsaid))
        connection.close()

    def _say(self, news: list[News]) -> None:
        try:
            close_old_connections()
            _notify(news)
        except (DatabaseError, psycopg.Error) as error:
            # The jobs are committed; the poll will find them.
            logger.warning("could not announce %s payloads: %s", len(news), error)
            connection.close()
        except Exception:  # or this process would never announce anything again
            logger.exception("could not announce %s payloads", len(news))
            connection.close()


def _gathered(unsaid: SimpleQueue[list[News] | None]) -> list[News]:
    more: list[News] = []
    while not unsaid.empty():
        news = unsaid.get()
        if news is None:
            unsaid.put(None)
            break
        more += news
    return more


def _news(
    ids: Iterable[UUID | str], to: Sequence[str], queues: Iterable[str]
) -> list[News]:
    texts = [str(one) for one in ids]
    starts = range(0, len(texts), IDS_PER_PAYLOAD)
    payloads = [",".join(texts[start : start + IDS_PER_PAYLOAD]) for start in starts]
    found = [(name, payload) for payload in payloads for name in to if name != WORK]
    if texts and WORK in to:
        found.append((WORK, ",".join(set(queues)) or ALL_QUEUES))
    return found


def _notify(news: list[News]) -> None:
    notifies = [f"NOTIFY {channel}, %s" for channel, _ in news]
    with connection.cursor() as cursor:
        cursor.execute(
            "; ".join([_UNHURRIED, *notifies]), [payload for _, payload in news]
        )


_speaker = _Speaker()


class Listener(threading.Thread):
    """Calls what hears a channel with the words of its news, each once and in the order
    they came, from a thread of its own. `ids` reads those that are jobs' ids.

    `changed(True)` is called whenever it begins to listen: news from before are lost,
    so look at everything then; `changed(False)` when the database is gone, until it is
    back: look more often meanwhile. No callback may raise or take long.
    """

    def __init__(
        self,
        heard: Mapping[str, Callable[[list[str]], None]],
        changed: Callable[[bool], None] | None = None,
    ) -> None:
        super().__init__(name="news", daemon=True)
        self.is_up = False
        self._heard = heard
        self._changed = changed or (lambda up: None)
        self._stopping = threading.Event()

    def stop(self, *, timeout_s: float | None = None) -> None:
        """End the thread; returns when it has ended, or the time is up."""
        self._stopping.set()
        if self.is_alive():
            self.join(timeout_s)

    def run(self) -> None:
        pause = PATIENCE_S
        while not self._stopping.is_set():
            try:
                self._listen()
            except (psycopg.Error, OSError) as error:
                logger.warning("not listening: %s", error)
            except Exception:
                logger.exception("the listener stumbled")
            pause = PATIENCE_S if self.is_up else min(pause * 2, LONGEST_PAUSE_S)
            self._tell(up=False)
            self._stopping.wait(pause)

    def _listen(self) -> None:
        with unpooled.connect("nijika news") as listening:
            for channel in self._heard:
                listening.execute(f"LISTEN {channel}")
            self._tell(up=True)
            while not self._stopping.is_set():
                # All that has come by now in one call, not one call each.
                batch = list(listening.notifies(timeout=PATIENCE_S, stop_after=1))
                for channel, heard in self._heard.items():
                    if words := _words(batch, channel):
                        heard(words)

    def _tell(self, *, up: bool) -> None:
        if self.is_up is not up:
            self.is_up = up
            self._changed(up)


def ids(words: Iterable[str]) -> list[UUID]:
    """Those of the words that are ids: anybody with a database login may NOTIFY."""
    found = []
    for word in words:
        with suppress(ValueError):
            found.append(UUID(word))
    return found


def _words(batch: Sequence[psycopg.Notify], channel: str) -> list[str]:
    payloads = [one.payload for one in batch if one.channel == channel]
    return list(dict.fromkeys(",".join(payloads).split(","))) if payloads else []
