"""Making pictures, in the web process but never with its own hands.

    view       one flight per key; full, or too many of one account: refused at once
    errands    threads that wait for others: fetching sources, storing what was made
    lanes      threads with a child process each (gpu_worker.children), in which
               foreign bytes are decoded, under limits on memory and time
    clerk      one thread that tells the database: claims, leases, what is ready

All who ask for a key while it is made have the same future, and the picture as soon as
it is there; storing it comes afterwards. A flight ends once the picture is kept, so
whoever comes next finds either. Where another process makes the picture, the clerk
looks for it, and takes over if its maker has died.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from gpu_worker.errors import LimitExceeded, WorkerError
from jobs.errors import FileMissing, StorageUnavailable
from jobs.onthefly import renditions, scratch, use
from jobs.onthefly.clerk import Clerk
from jobs.onthefly.errors import LimitReached, MakingFailed, Saturated, SwitchedOff
from jobs.onthefly.flights import Flight, Made, Order
from jobs.onthefly.lanes import Answer, Lanes, file_of
from jobs.onthefly.renditions import Kept, Written
from jobs.onthefly.sources import SourceMissing
from jobs.storage import store
from nijika.errors import NijikaError

ENGINE = ["proxy", "imaging"]

logger = logging.getLogger(__name__)


class Studio:
    """One per process; `close` ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._scratch = scratch.folder()
        self._errands = ThreadPoolExecutor(
            settings.ONTHEFLY_FETCHES, thread_name_prefix="errand"
        )
        self._lanes = Lanes(settings.ONTHEFLY_SLOTS, self._bring)
        self._clerk = Clerk(self)
        self._clerk.start()

    def offer(self, key: str, user_id: int, prepare: Callable[[], Order]) -> Flight:
        """The flight of this key, begun with `prepare()` if there is none yet.

        Raises Saturated, SwitchedOff, what `prepare` raises, and the database's errors.
        """
        with self._lock:
            if flight := self._flights.get(key):
                use.served(user_id)
                return flight
            self._admit(user_id)
            flight = self._flights[key] = Flight(key=key, user_id=user_id)
        try:
            flight.order = prepare()
            self.begin(flight)
        except BaseException as error:
            self.fail(flight, error)
            raise
        return flight

    def flying(self, key: str) -> Flight | None:
        with self._lock:
            return self._flights.get(key)

    def close(self) -> None:
        self._clerk.stop()
        self._lanes.close()
        self._errands.shutdown(cancel_futures=True)

    def _admit(self, user_id: int) -> None:
        if settings.ONTHEFLY_SLOTS < 1:
            raise SwitchedOff
        mine = sum(flight.user_id == user_id for flight in self._flights.values())
        if (
            len(self._flights) >= settings.ONTHEFLY_WAITING
            or mine >= settings.ONTHEFLY_WAITING_PER_ACCOUNT
        ):
            raise Saturated

    # From a claim to a picture. Every step runs on another kind of thread.

    def begin(self, flight: Flight) -> None:
        """Claim the picture and make it, or have the clerk look for another's."""
        assert flight.order is not None
        flight.claim = renditions.claim(flight.order.draft)
        if flight.claim is None:
            self._clerk.watch(flight)
        else:
            self.launch(flight)

    def launch(self, flight: Flight) -> None:
        """Make what has been claimed."""
        assert flight.order is not None
        paths = [source.path for source in flight.order.sources]
        if all(paths):
            self._to_lane(flight, paths)
        else:
            self._errands.submit(self._guarded, flight, self._gather)

    def _gather(self, flight: Flight) -> None:
        assert flight.order is not None
        paths = []
        for number, source in enumerate(flight.order.sources):
            path = source.path or self._file(flight, f"source-{number}")
            if source.load is not None:
                source.load(path)
            paths.append(path)
        self._to_lane(flight, paths)

    def _to_lane(self, flight: Flight, paths: Sequence[Path | None]) -> None:
        target = self._file(flight, "picture")
        assert flight.order is not None
        item = {
            "job_id": flight.key,
            "operation": ENGINE[0],
            "parameters": flight.order.parameters,
            "inputs": [{"role": "image", "path": str(path)} for path in paths],
            "steps": [],
            "checkpoint": None,
            "targets": [str(target)],
        }
        self._lanes.add(flight, {"do": "run", "engine": ENGINE, "items": [item]})

    def _bring(self, flight: Flight, answer: Answer) -> None:
        """On a lane's thread: what the child answered, to those who wait for it."""
        self._guarded(flight, partial(self._deliver, answer=answer))

    def _deliver(self, flight: Flight, answer: Answer) -> None:
        if isinstance(answer, Exception):
            raise answer
        assert flight.order is not None
        file = file_of(answer)
        until = time.time() + settings.ONTHEFLY_TTL_S
        made = Made(
            content=flight.files[-1].read_bytes(),
            content_type=str(file["content_type"]),
            sha256=str(file["sha256"]),
            until=min(until, flight.order.draft.until or until),
        )
        if made.content_type not in renditions.EXTENSIONS:
            raise MakingFailed
        flight.made.set_result(made)
        use.made(flight.user_id)
        self._errands.submit(self._guarded, flight, partial(self._store, made=made))

    def _store(self, flight: Flight, made: Made) -> None:
        assert flight.claim is not None and flight.order is not None
        file = renditions.file_of(flight.key, flight.claim)
        store().write(file, made.content, durable=False)
        written = Written(
            key=flight.key,
            claim=flight.claim,
            file=file,
            content_type=made.content_type,
            size_bytes=len(made.content),
            sha256=made.sha256,
            until=flight.order.draft.until,
        )
        self._clerk.keep(flight, written)

    def land(self, flight: Flight, kept: Kept | None) -> None:
        """The flight is over: who comes next finds the row, or begins anew."""
        with self._lock:
            self._flights.pop(flight.key, None)
        if not flight.kept.done():
            flight.kept.set_result(kept)
        for file in flight.files:
            file.unlink(missing_ok=True)

    def fail(self, flight: Flight, error: BaseException) -> None:
        """The flight is over, and this is why."""
        if not isinstance(error, NijikaError | OSError | DatabaseError):
            logger.error("a picture was not made", exc_info=error)
        if not flight.made.done():
            flight.made.set_exception(_for_the_caller(error))
        if flight.claim is not None:
            self._clerk.give_up(flight.claim)
        self.land(flight, None)

    def read_back(self, flight: Flight, kept: Kept) -> None:
        """Another process has made it."""
        self._errands.submit(self._guarded, flight, partial(self._read, kept=kept))

    def _read(self, flight: Flight, kept: Kept) -> None:
        try:
            with store().open(kept.file) as file:
                content = file.read()
        except FileMissing:
            raise Saturated from None  # a sweep was quicker: anew, in a moment
        made = Made(
            content=content,
            content_type=kept.content_type,
            sha256=kept.sha256,
            until=kept.until,
        )
        flight.made.set_result(made)
        use.served(flight.user_id)
        self.land(flight, kept)

    def in_flight(self) -> list[UUID]:
        with self._lock:
            flights = list(self._flights.values())
        return [flight.claim for flight in flights if flight.claim is not None]

    def _guarded(self, flight: Flight, act: Callable[[Flight], None]) -> None:
        try:
            act(flight)
        except Exception as error:
            self.fail(flight, error)

    def _file(self, flight: Flight, what: str) -> Path:
        """A file of the flight's own, which ends with it."""
        flight.files.append(scratch.fresh(self._scratch, what))
        return flight.files[-1]


def _for_the_caller(error: BaseException) -> BaseException:
    if isinstance(error, LimitExceeded):
        return LimitReached(str(error))
    if isinstance(error, WorkerError | json.JSONDecodeError):
        return MakingFailed()
    if isinstance(error, FileNotFoundError):
        return SourceMissing()
    if isinstance(error, OSError):
        return StorageUnavailable()
    return error


_making = threading.Lock()
_studio: Studio | None = None


def studio() -> Studio:
    """This process's studio, opened when first needed."""
    global _studio
    with _making:
        if _studio is None:
            _studio = Studio()
        return _studio


def close() -> None:
    """End this process's studio: for tests."""
    global _studio
    with _making:
        if _studio is not None:
            _studio.close()
        _studio = None
