"""Steps: what a context needs to record the steps of a message."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Steps(Protocol):
    """The steps of one message."""

    async def begin(self, name: str) -> tuple[Any] | None:
        """The recorded result of a step; None: it is not recorded, so do it and call ``end``.

        Raises:
            HandlerError: kind Invalid: the name is used twice, or there are too many steps; Conflict: the lease is
                lost.
            DriverError: the store cannot be reached.
        """

    async def end(self, name: str, result: object) -> None:
        """Record a result. Raises as ``begin``; HandlerError (Invalid): it cannot be recorded."""

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of one of these two, in a thread without an event loop."""
