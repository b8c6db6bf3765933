"""One thread that tells the database for all flights: claims, leases, what is ready."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Protocol
from uuid import UUID

import psycopg
from django.db import DatabaseError, close_old_connections, connection

from jobs.onthefly import renditions, use
from jobs.onthefly.errors import Saturated
from jobs.onthefly.flights import Flight
from jobs.onthefly.renditions import Kept, Written
from jobs.storage import store

LOOK_EVERY_S = 0.1
RENEW_EVERY_S = 2.0
WATCH_S = 60.0
OUTAGES = (DatabaseError, psycopg.Error)

logger = logging.getLogger(__name__)


class Maker(Protocol):
    """What the clerk asks of the studio whose books it keeps."""

    def in_flight(self) -> list[UUID]:
        """The claims of all that is being made here."""

    def launch(self, flight: Flight) -> None:
        """Make what has been claimed."""

    def read_back(self, flight: Flight, kept: Kept) -> None:
        """Another process has made it."""

    def land(self, flight: Flight, kept: Kept | None) -> None:
        """The flight is over."""

    def fail(self, flight: Flight, error: BaseException) -> None:
        """The flight is over, and this is why."""


class Clerk(threading.Thread):
    """Speaks with the database for all flights, so that they need no connections."""

    def __init__(self, studio: Maker) -> None:
        super().__init__(name="clerk", daemon=True)
        self._studio = studio
        self._kept: deque[tuple[Flight, Written]] = deque()
        self._given_up: deque[UUID] = deque()
        self._watched: dict[str, Flight] = {}
        self._woken = threading.Event()
        self._stopping = False
        self._renewed_at = self._wrote_at = 0.0

    def keep(self, flight: Flight, written: Written) -> None:
        self._kept.append((flight, written))
        self._woken.set()

    def give_up(self, claim: UUID) -> None:
        self._given_up.append(claim)
        self._woken.set()

    def watch(self, flight: Flight) -> None:
        self._watched[flight.key] = flight
        self._woken.set()

    def stop(self) -> None:
        self._stopping = True
        self._woken.set()
        self.join(5)

    def run(self) -> None:
        while not self._stopping:
            self._woken.wait(LOOK_EVERY_S if self._watched else RENEW_EVERY_S / 2)
            self._woken.clear()
            try:
                self._turn()
            except OUTAGES as error:
                logger.warning("the database: %s", str(error).strip())
                self._do_without()
            except Exception:
                logger.exception("the clerk stumbled")
                self._do_without()
        connection.close()

    def _turn(self) -> None:
        while self._kept:
            self._keep(*self._kept[0])
            self._kept.popleft()
        if given_up := list(self._given_up):
            renditions.give_up(given_up)
            for _ in given_up:
                self._given_up.popleft()
        self._look()
        now = time.monotonic()
        if now - self._renewed_at > RENEW_EVERY_S:
            close_old_connections()
            if claims := self._studio.in_flight():
                renditions.renew(claims)
            self._renewed_at = now
        if use.waits() and now - self._wrote_at > use.WRITE_EVERY_S:
            self._wrote_at = now
            use.write()

    def _keep(self, flight: Flight, written: Written) -> None:
        if not renditions.keep(written):
            # Its source was erased, or the lease was lost: nobody may find the file.
            store().delete(written.file)
            self._studio.land(flight, None)
            return
        made = flight.made.result(0)
        kept = Kept(
            key=written.key,
            user_id=flight.user_id,
            file=written.file,
            content_type=written.content_type,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            until=made.until,
        )
        self._studio.land(flight, kept)

    def _look(self) -> None:
        """Whether what others make is ready, or may be claimed by now."""
        if not self._watched:
            return
        ready = renditions.look(list(self._watched))
        free = set(self._watched) - ready.keys()
        free -= renditions.claimed(list(free))
        for key, flight in list(self._watched.items()):
            if key in ready:
                self._studio.read_back(flight, ready[key])
            elif key in free and self._take_over(flight):
                pass
            elif time.monotonic() - flight.began_at > WATCH_S:
                self._studio.fail(flight, Saturated())
            else:
                continue
            self._watched.pop(key, None)

    def _take_over(self, flight: Flight) -> bool:
        """Its maker has failed or died. Whether it is ours now: it may just have become
        ready, or another's, and is looked for again."""
        assert flight.order is not None
        flight.claim = renditions.claim(flight.order.draft)
        if flight.claim is not None:
            self._studio.launch(flight)
        return flight.claim is not None

    def _do_without(self) -> None:
        """The database is away: what was made has been answered, and is not kept."""
        connection.close()
        while self._kept:
            flight, _ = self._kept.popleft()
            self._studio.land(flight, None)
        self._given_up.clear()
        for flight in list(self._watched.values()):
            self._studio.fail(flight, Saturated())
        self._watched.clear()
