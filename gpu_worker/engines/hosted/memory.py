"""What a job's next run must know of what its earlier ones did at the provider.

It travels as the job's checkpoint. `sent` counts the requests that may have been paid
and came to nothing that we know of; `ticket` is a request that the provider has queued
and that can be asked for by anybody who has the key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

MOST_SENT = 2
"""A request whose end is unknown is repeated once at most: it may be paid each time."""


@dataclass(slots=True, kw_only=True)
class Memory:
    sent: int = 0
    ticket: str | None = None

    @classmethod
    def read(cls, checkpoint: str | None) -> Memory:
        """What the checkpoint says; one that is not ours counts as a request sent."""
        if checkpoint is None:
            return cls()
        try:
            said = json.loads(checkpoint)
            ticket = said.get("ticket")
            return cls(sent=int(said["sent"]), ticket=ticket and str(ticket))
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(sent=1)

    def text(self) -> str:
        return json.dumps({"sent": self.sent, "ticket": self.ticket})

    @property
    def may_send(self) -> bool:
        return self.sent < MOST_SENT
