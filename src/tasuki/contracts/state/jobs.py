"""Jobs: status, progress and result of one message, the records of its steps, its transaction, its metrics."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

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


class OpenTransaction(Protocol):
    """A transaction that settles its message at its end."""

    connection: Any

    def remember(self, result: object) -> None:
        """Keep a result for the key of the message. Raises HandlerError (Invalid): it cannot be."""


class Transacting(Protocol):
    """Opens the transactions of one message."""

    @property
    def in_transaction(self) -> bool:
        """Whether one is open."""

    def transaction(self, connection: Any, *, sync: bool) -> AbstractAsyncContextManager[OpenTransaction]:
        """See ``TransactionContext.transaction``; with ``sync`` it never suspends."""


Verb = Literal["count", "set", "add", "observe"]


Labels = Mapping[str, str] | None


class Measure(Protocol):
    """Takes one number of a function; see :class:`tasuki.observe.custom.CustomMetrics`."""

    def __call__(self, verb: Verb, function: str, name: str, n: float, labels: Labels) -> Any: ...  # noqa: D102


class HandlerMetrics:
    """The metrics of one function. Series beyond its limits are dropped and counted: no handler fails.

    A name keeps the type and the label names of its first use. It begins with no ``tasuki_``; a counter is exported
    with ``_total`` at its end, and characters that Prometheus does not allow as ``_``. Every label set is kept in
    memory, so its values must be few: no ids.
    """

    __slots__ = ("_function", "_measure")

    def __init__(self, function: str, measure: Measure) -> None:
        self._function = function
        self._measure = measure

    def count(self, name: str, n: float = 1, labels: Labels = None) -> None:
        """Raise a counter."""
        self._measure("count", self._function, name, n, labels)

    def set(self, name: str, n: float, labels: Labels = None) -> None:
        """Give a gauge a value. Over several processes it is the sum of theirs."""
        self._measure("set", self._function, name, n, labels)

    def add(self, name: str, n: float, labels: Labels = None) -> None:
        """Move a gauge by a number."""
        self._measure("add", self._function, name, n, labels)

    def observe(self, name: str, n: float, labels: Labels = None) -> None:
        """Count a value, such as seconds, in a histogram with buckets from 0.005 to 10."""
        self._measure("observe", self._function, name, n, labels)
