"""QueueContext: reads, pauses and resumes queues from a handler."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tasuki.units import Duration, one_of

if TYPE_CHECKING:
    from tasuki.contracts.context import Reach


class QueueContext:
    """The part of a handler's context that is about whole queues."""

    __slots__ = ()
    reach: Reach[Any]

    async def info(self, queue: str) -> Mapping[str, Any]:
        """``message_count``, ``ready``, ``in_flight``, ``delayed``, ``consumer_count`` of a queue by id.

        ``paused`` is there only while the queue is paused: ``until`` (Unix seconds, or None), ``actor``, ``at``,
        ``reason``.
        """
        return await self.reach.info(queue)

    async def pause(
        self, queue: str, duration: Duration | None = None, *, until: datetime | None = None, reason: str = ""
    ) -> Mapping[str, Any]:
        """Let all workers stop receiving from a queue: for a ``duration``, ``until`` a time, or until it is resumed.

        Running handlers end; the message of this one is settled as it says. A pause that ends later stays in force, so
        that a handler never shortens an operator's pause. Returns the pause in force, as ``info`` has it.

        Raises:
            ValueError: the time is over or has no time zone, or both are given.
            PolicyDeniedError, QueueNotFoundError, DriverError. UnsupportedError: the queue has no state.
        """
        return await self.reach.pause(queue, one_of("duration", duration, until, "until"), reason)

    async def resume(self, queue: str) -> bool:
        """End the pause of a queue; whether there was one. Raises as ``pause``."""
        return await self.reach.resume(queue)
