"""Jobs: the status, progress and result of one message, for its publisher, its handler and operators."""

from __future__ import annotations

from typing import Literal

import msgspec

CancelOutcome = Literal["waiting", "running", "not found", "requested"]
"""Where a cancelled message was.

waiting: in its queue, and will never start · running: in a handler, which is interrupted · not found: it is settled
already, or unknown · requested: its broker removes no message by its id, and no worker has it now.
"""


JobStatus = Literal["waiting", "delayed", "running", "done", "failed", "dead", "cancelled", "expired", "unknown"]
"""What has become of a message.

waiting: in its queue, or with a worker that has not started it · delayed: until a time, as for its next attempt ·
running: its handler runs · done · failed: given up, and not kept · dead: given up, and in the dead-letter queue ·
cancelled · expired: its time to live passed first · unknown: there never was such a message, or its time is over.
"""

MAX_NOTE = 1000
"""Characters of a note about the progress."""


class Progress(msgspec.Struct, frozen=True):
    """How far a handler is: so much done of a total, which may be unknown."""

    done: float
    total: float | None = None
    note: str = ""


class Cancellation(msgspec.Struct, frozen=True):
    """How many messages of a bulk had which outcome; see :data:`CancelOutcome`."""

    waiting: int = 0
    running: int = 0
    not_found: int = 0
    requested: int = 0

    def __add__(self, other: Cancellation) -> Cancellation:
        return Cancellation(
            self.waiting + other.waiting,
            self.running + other.running,
            self.not_found + other.not_found,
            self.requested + other.requested,
        )

    @property
    def outcome(self) -> CancelOutcome:
        """The outcome of one message."""
        if self.running:
            return "running"
        if self.waiting:
            return "waiting"
        return "requested" if self.requested else "not found"
