"""Steps: records the steps and pauses of a message, for its context."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Suspended(BaseException):
    """Raised in a handler that sleeps or waits: the handler ends, and its message is delivered again after ``seconds``.

    Nothing failed, so nothing is counted. It is no ``Exception``, so that ``except Exception`` lets it pass; so must a
    handler that catches all.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = self.due = seconds
        super().__init__(f"the message pauses for {seconds:g} s")


def suspended_in(error: BaseException) -> Suspended | None:
    """The Suspended of a group of errors that holds nothing else, as a task group raises it; None: there is no such."""
    if not isinstance(error, BaseExceptionGroup):
        return None
    found = error.split(Suspended)
    first: BaseException | None = found[0] if found[1] is None else None
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first if isinstance(first, Suspended) else None


class Waited(NamedTuple):
    """The result of a wait."""

    left: float
    """Seconds after which the message looks again; 0: the wait is over."""
    signal: tuple[Any] | None
    """The value of the signal; None: the time is over, or the signal is not there yet."""


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

    async def sleep(self, name: str | None, seconds: float) -> float:
        """Seconds for which the message is to be postponed; 0: its sleep of this name is over. Raises as ``begin``.

        ``name``: of the step; None: its number among those without a name.
        """

    async def wait(self, name: str | None, event: str, key: str | int, seconds: float) -> Waited:
        """What the wait for a signal has come to. Raises as ``begin``.

        ``name``: of the step; None: one made of ``event`` and ``key``.
        """

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of one of these, in a thread without an event loop."""
