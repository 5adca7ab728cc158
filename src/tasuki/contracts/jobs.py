"""Jobs: what becomes of one message, as its publisher, its handler and an operator see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from tasuki.message import is_request

if TYPE_CHECKING:
    from tasuki.contracts.context import Facts, Reach, Settling

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


class JobContext:
    """The half of a handler's context that is about the job itself."""

    __slots__ = ()
    facts: Facts
    settling: Settling
    reach: Reach[Any]

    @property
    def cancelled(self) -> bool:
        """Whether the message is cancelled: end soon; it does not come again. Of a batch, whether all of them are."""
        return self.facts.cancelled

    @property
    def wants_result(self) -> bool:
        """Whether what the handler returns is used: for a reply, or as its queue keeps results."""
        return self.facts.keeps_result or is_request(self.facts.message)

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Say how far the work is, for ``job.progress()``; only where the queue keeps results, else it does nothing.

        The store hears of it once a second at most, and of the last one always. Safe in a plain handler's thread.
        """
        self.settling.progress(done, total, str(note)[:MAX_NOTE])

    async def cancel(self, id: str, *, queue: str) -> CancelOutcome:
        """Cancel a message of a queue by id; see :meth:`tasuki.App.cancel`.

        Raises:
            PolicyDeniedError: the actor may not.
            UnsupportedError: the queue has no state.
            DriverError: its store cannot be reached.
        """
        return await self.reach.cancel(queue, id)
