"""Jobs: what becomes of one message, as its publisher, its handler and an operator see it."""

from __future__ import annotations

from typing import Literal

import msgspec

CancelOutcome = Literal["waiting", "running", "not found", "requested"]
"""Where a cancelled message was.

waiting: in its queue, and will never start · running: in a handler, which is interrupted · not found: it is settled
already, or unknown · requested: its broker removes no message by its id, and no worker has it now.
"""


JobStatus = Literal["waiting", "running", "done", "failed", "cancelled", "unknown"]
"""What has become of a message; a message that failed and is tried again waits."""

MAX_NOTE = 1000
"""Characters of a note about the progress."""


class Progress(msgspec.Struct, frozen=True):
    """How far a handler is: so much done of a total, which may be unknown."""

    done: float
    total: float | None = None
    note: str = ""


class Cancellation(msgspec.Struct, frozen=True):
    """How many messages of a bulk were where; see :data:`CancelOutcome`."""

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
