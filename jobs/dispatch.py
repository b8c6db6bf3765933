"""From waiting rows to messages: which job goes to the workers next, and when.

The database is the queue; the broker only carries the few messages that the workers
can soon take. One dispatcher per queue is active, whoever holds the lock
(`unpooled.Sole`); all it says goes over the session of that lock. Nothing is
remembered that a decision needs: another copy goes on from the rows.

- The window counts messages, not jobs: two per slot (one runs, one is claimed ahead)
  and one more per live worker; one per slot where runs are measured to be so long that
  nothing is claimed ahead: the rest waits where its order can still change. So work
  gathers into batches while all are busy, and a slot never waits for control. Without
  a live worker nothing is dispatched; one that still loads its engines has no slots.
- Whose turn it is, `jobs.dispatching.picking` decides: fewest in flight first.
- When more wait than there are messages to send, jobs travel together: as many as their
  engine takes at once, or, where it takes one at a time, as many as are done within a
  moment by what the workers measured (`jobs.dispatching.packing`). Each has a claim, a
  run and an end of its own; a message only spares its jobs hops.
- `dispatched_at` is committed before publishing. What the broker lost in between is
  published again (`_again`). Copies are harmless: a claim is granted once.
- A broker that does not answer is asked for its queue's depth before rows are taken, so
  they wait in the database while it is gone and go out as soon as it is back. A job
  that waits alone is taken by the statement that finds it, and given back if the
  broker is away or full. A row whose publish failed goes back to waiting.
- Copies are bounded: a queue deeper than twice the window takes nothing more.
- A job that met a dead worker (`alone`) shares its message with nobody.
- Test jobs are free, so they get what live jobs leave: they go out while a slot is
  free and no live job is picked, and the workers run them beside their slots.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from uuid import UUID

from django.conf import settings

from gpu_worker.contract import RUN_TASK, Message, to_json
from jobs.database.unpooled import Connection, Sole, held
from jobs.dispatching import packing, picking
from jobs.dispatching.picking import Candidate, Taken
from nijika.celery import BrokerDown, Publisher

# How soon a broker that did not answer is asked again.
ASK_AGAIN_S = 0.5
# A job whose assignment cannot be made is looked at again after this.
SET_ASIDE_S = 60

logger = logging.getLogger(__name__)


class Dispatcher:
    """Dispatches one queue. Not thread-safe: one per thread."""

    def __init__(self, queue: str, publisher: Publisher | None = None) -> None:
        self.queue = queue
        # A dispatch that a crash undoes is a second copy of a message: harmless.
        self._sole = Sole(lock_name(queue), durable=False)
        self._publisher = publisher or Publisher()
        self._suspects: set[UUID] = set()
        self._looked_at = 0.0
        self._broker_down_until = 0.0

    def turn(self) -> int:
        """Publish what the window has room for, and what the broker seems to have lost.

        Returns the number of messages published; 0 also when another copy is active or
        the broker is down. Raises psycopg.Error when the database is gone; the next
        call starts afresh.
        """
        with self._sole as session:
            if session is None or self._broker_is_down():
                return 0
            try:
                return self._new(session) + self._again(session)
            except BrokerDown as error:
                logger.warning("queue %s: %s", self.queue, error)
                self._broker_down_until = time.monotonic() + ASK_AGAIN_S
                return 0

    def pause_s(self, longest: float) -> float:
        """How long to wait for news before the next turn."""
        return min(longest, ASK_AGAIN_S) if self._broker_is_down() else longest

    def close(self) -> None:
        """Let another copy take over, at once."""
        self._sole.close()
        self._publisher.close()

    def _broker_is_down(self) -> bool:
        return time.monotonic() < self._broker_down_until

    def _new(self, session: Connection) -> int:
        lone = picking.take_lone(session, self.queue)
        published = 0
        if lone.taken is not None:
            below = 2 * lone.window
            published = self._publish(session, [lone.taken], below=below)
        elif lone.waiting and lone.room > 0:
            published = self._published(session, picking.pick(session, self.queue))
        if lone.tests_wait:
            tests = picking.pick_tests(session, self.queue)
            published += self._published(session, tests)
        return published

    def _published(self, session: Connection, candidates: Sequence[Candidate]) -> int:
        if not candidates:
            return 0
        first = candidates[0]
        if self._is_full(first.window, beside=first.beside):
            return 0
        return self._publish(session, picking.take(session, packing.pack(candidates)))

    def _again(self, session: Connection) -> int:
        """Publish again what nobody claimed, though a worker says that it is idle.

        A row counts as lost when two looks, a second apart, found it unclaimed: the
        first may have come between a worker's last word and its claim.
        """
        if time.monotonic() < self._looked_at + settings.POLL_S:
            return 0
        self._looked_at = time.monotonic()
        unclaimed = picking.unclaimed(session, self.queue)
        lost = [one for one in unclaimed if one.is_due and one.id in self._suspects]
        self._suspects = {one.id for one in unclaimed}
        if not lost or self._is_full(lost[0].window):
            return 0
        logger.warning("queue %s: %s messages lost", self.queue, len(lost))
        return self._publish(session, picking.take_again(session, lost))

    def _is_full(self, window: int, *, beside: int = 0) -> bool:
        """Whether the broker holds more than the workers can soon take: leftovers and
        copies, which they throw away faster than anything. Raises BrokerDown.

        `beside`: messages of test jobs, which take nobody's room.
        """
        return self._publisher.depth(self.queue) - beside >= 2 * window

    def _publish(
        self, session: Connection, taken: Sequence[Taken], *, below: int | None = None
    ) -> int:
        """The number of messages published. With `below`, those that find so many in
        the broker's queue are not, and their rows wait again. Raises BrokerDown."""
        waiting = packing.by_message(taken)
        published = 0
        try:
            while waiting:
                message = self._message(session, waiting[0])
                if message.assignments:
                    if self._publisher.publish(
                        RUN_TASK, to_json(message), queue=self.queue, below=below
                    ):
                        published += 1
                    else:
                        picking.give_back(session, waiting[0])
                waiting.pop(0)
        except BrokerDown:
            picking.give_back(session, [one for message in waiting for one in message])
            raise
        return published

    def _message(self, session: Connection, taken: Sequence[Taken]) -> Message:
        assignments = []
        for one in taken:
            try:
                assignments.append(packing.assignment(one))
            except Exception:
                # One bad row must not stop its queue.
                logger.exception("job %s cannot be dispatched", one.id)
                picking.give_back(session, [one], pause_s=SET_ASIDE_S)
        return Message(id=str(taken[0].message), assignments=tuple(assignments))


def lock_name(queue: str) -> str:
    return f"dispatch {queue}"


def active(queues: Iterable[str]) -> set[str]:
    """The queues that have an active dispatcher now, in any copy of control."""
    names = {lock_name(queue): queue for queue in queues}
    return {names[name] for name in held(list(names))}
