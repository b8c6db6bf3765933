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
import os
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from gpu_worker.children import Child
from gpu_worker.errors import LimitExceeded, WorkerError
from jobs.errors import FileMissing, StorageUnavailable
from jobs.onthefly import renditions, use
from jobs.onthefly.errors import (
    BadRequest,
    LimitReached,
    MakingFailed,
    NotAnImage,
    Saturated,
    SwitchedOff,
)
from jobs.onthefly.renditions import Draft, Kept, Written
from jobs.onthefly.sources import Located, SourceMissing
from jobs.storage import store
from nijika.errors import NijikaError

ENGINE = ["proxy", "imaging"]
QUEUE = "web"
"""Not a queue of the broker's: the name under which a child loads its one engine."""

IDLE_S = 300.0
"""A child that nobody has needed for so long gives its memory back."""
QUEUED_S = 30.0
"""Who waited so long for a lane has gone away."""
LOOK_EVERY_S = 0.1
RENEW_EVERY_S = 2.0
WATCH_S = 60.0
FILES = "nijika-onthefly-"
IN_MEMORY_BYTES = 10**9
"""A container's shared memory is often far smaller: then files lie on its disk."""

OUTAGES = (DatabaseError, psycopg.Error)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All that making needs. The first source is the picture, a second its mark."""

    draft: Draft
    sources: Sequence[Located]
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A picture fresh from its child, or read back. `until`: as of `Kept`."""

    content: bytes
    content_type: str
    sha256: str
    until: float


@dataclass(slots=True, eq=False)
class Flight:
    """A picture on its way. `made` is for whoever wants the bytes, `kept` for whoever
    wants to be sent to the file."""

    key: str
    user_id: int
    made: Future[Made] = field(default_factory=Future)
    kept: Future[Kept | None] = field(default_factory=Future)
    order: Order | None = None
    claim: UUID | None = None
    files: list[Path] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)


class Studio:
    """One per process; `close` ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._scratch = _scratch()
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

    def _bring(self, flight: Flight, answer: dict[str, Any] | Exception) -> None:
        """On a lane's thread: what the child answered, to those who wait for it."""
        self._guarded(flight, partial(self._deliver, answer=answer))

    def _deliver(self, flight: Flight, answer: dict[str, Any] | Exception) -> None:
        if isinstance(answer, Exception):
            raise answer
        assert flight.order is not None
        file = _file_of(answer)
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
        name = f"{FILES}{os.getpid()}-{secrets.token_hex(8)}-{what}"
        flight.files.append(self._scratch / name)
        return flight.files[-1]


class Lanes:
    """Threads with a child process each, started when first needed."""

    def __init__(
        self, count: int, bring: Callable[[Flight, dict[str, Any] | Exception], None]
    ) -> None:
        self._bring = bring
        self._work: queue.SimpleQueue[tuple[Flight, dict[str, Any]] | None]
        self._work = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"picture-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, flight: Flight, request: dict[str, Any]) -> None:
        self._work.put((flight, request))

    def close(self) -> None:
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(30)  # one that is starting its child is long about it

    def _run(self) -> None:
        memory_bytes = settings.ONTHEFLY_MEMORY_BYTES
        child = Child(QUEUE, memory_bytes=memory_bytes, threads=1)
        while True:
            try:
                work = self._work.get(timeout=IDLE_S)
            except queue.Empty:
                child.close()
                continue
            if work is None:
                child.close()
                return
            flight, request = work
            self._bring(flight, _answer(child, flight, request))
            del work, flight, request


class _Call:
    """One call to a child, for which somebody always waits."""

    def __init__(self) -> None:
        self.deadline = time.monotonic() + settings.ONTHEFLY_RUN_LIMIT_S

    def heard(self, said: dict[str, Any]) -> None:
        pass

    def is_stopped(self) -> bool:
        return False


def _answer(
    child: Child, flight: Flight, request: dict[str, Any]
) -> dict[str, Any] | Exception:
    if time.monotonic() - flight.began_at > QUEUED_S + settings.FETCH_TIMEOUT_S:
        return Saturated()
    try:
        if child.pid is None:
            child.start()  # what that takes is not the picture's time
        return child.call(request, _Call())
    except Exception as error:
        return error


class Clerk(threading.Thread):
    """Speaks with the database for all flights, so that they need no connections."""

    def __init__(self, studio: Studio) -> None:
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


def _file_of(answer: dict[str, Any]) -> dict[str, Any]:
    """The one file of a child's answer. Raises what it says went wrong."""
    if "raised" in answer:
        raise _error_of(answer["raised"])
    outcome = answer["outcomes"][0]
    if "failure" in outcome:
        raise _error_of(outcome["failure"])
    file: dict[str, Any] = outcome["files"][0]
    return file


_MEANINGS: dict[str, type[NijikaError]] = {
    "invalid_image": NotAnImage,
    "limit_exceeded": LimitReached,
    "invalid_parameters": BadRequest,
}


def _error_of(failure: dict[str, Any]) -> NijikaError:
    kind = _MEANINGS.get(str(failure.get("code")), MakingFailed)
    return kind(str(failure.get("message", ""))[:500])


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


def _scratch() -> Path:
    """Where flights have their files, in memory if there is enough of it. What killed
    processes have left goes."""
    shared, base = Path("/dev/shm"), Path(tempfile.gettempdir())
    if os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > IN_MEMORY_BYTES:
        base = shared
    for old in base.glob(f"{FILES}*"):
        if not Path("/proc", old.name.removeprefix(FILES).split("-")[0]).exists():
            with suppress(OSError):  # another process has just done it, or may not
                old.unlink()
    return base


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
