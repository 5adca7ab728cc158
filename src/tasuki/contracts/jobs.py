"""Jobs: what becomes of one message, as its publisher, its handler and an operator see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from tasuki.contracts.context import Facts, Reach

CancelOutcome = Literal["waiting", "running", "not found", "requested"]
"""Where a cancelled message was.

waiting: in its queue, and will never start · running: in a handler, which is interrupted · not found: it is settled
already, or unknown · requested: its broker removes no message by its id, and no worker has it now.
"""


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
    reach: Reach[Any]

    @property
    def cancelled(self) -> bool:
        """Whether the message is cancelled: end soon; it does not come again. Of a batch, whether all of them are."""
        return self.facts.cancelled

    async def cancel(self, id: str, *, queue: str) -> CancelOutcome:
        """Cancel a message of a queue by id; see :meth:`tasuki.App.cancel`.

        Raises:
            PolicyDeniedError: the actor may not.
            UnsupportedError: the queue has no state.
            DriverError: its store cannot be reached.
        """
        return await self.reach.cancel(queue, id)
