"""The handler contract: the function that handles a message, and its context."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from logging import Logger, LoggerAdapter
from typing import TYPE_CHECKING, Any, overload

from tasuki.contracts.codec import Codec
from tasuki.contracts.context import CallOptions, Facts, Plain, Reach, Settling
from tasuki.contracts.state.job_context import ContextProject, ContextQueues, JobContext, StepContext
from tasuki.contracts.state.publish_context import PublishContext, TransactionContext
from tasuki.contracts.state.store_handle import Storing
from tasuki.errors import safe_text, text_of
from tasuki.message import Message
from tasuki.units import Duration, is_duration, needed, one_of

if TYPE_CHECKING:
    pass

_MOST_CAUSES = 8
"""Of a rejection, in its text."""


class Retry(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a handler to request another attempt: ``after`` a delay or ``at`` a time, or as the policy says.

    ``reason`` is for the log, and the last error of a dead letter. Raises ValueError: ``at`` has no time zone, both are
    given, or the reason is a duration.
    """

    @overload
    def __init__(self, reason: str = "", *, after: Duration | None = None) -> None: ...
    @overload
    def __init__(self, reason: str = "", *, at: datetime) -> None: ...
    def __init__(self, reason: str = "", *, after: Duration | None = None, at: datetime | None = None) -> None:
        if is_duration(reason):
            raise ValueError(f"Retry({reason!r}) gives a delay as the reason; write Retry(after={reason!r})")
        self.reason = reason
        self.after = after
        self.at = at
        self.due = one_of("after", after, at)
        """The one of the two that is given; None: as the retry policy says."""
        super().__init__(reason or "retry")


class Reject(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a handler to dead-letter the message without another attempt."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "rejected")

    @property
    def text(self) -> str:
        """The reason, and each error that it was raised from: ``no such address: SMTPError: 550``."""
        parts, cause = [safe_text(self.reason)], self.__cause__
        while cause is not None and len(parts) <= _MOST_CAUSES:
            parts.append(text_of(cause))
            cause = cause.__cause__
        return ": ".join(filter(None, parts))


class Snooze(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a handler to postpone the message, by ``after`` or until ``at``; this does not count as an attempt.

    ``reason`` is for the log. Raises ValueError: ``at`` has no time zone, or both or neither are given.
    """

    @overload
    def __init__(self, after: Duration, reason: str = "") -> None: ...
    @overload
    def __init__(self, *, at: datetime, reason: str = "") -> None: ...
    def __init__(self, after: Duration | None = None, reason: str = "", *, at: datetime | None = None) -> None:
        self.after = after
        self.at = at
        self.due = needed("Snooze", one_of("after", after, at))
        """The one of the two that is given."""
        self.reason = reason
        super().__init__(reason or "snooze")


class Interrupted(BaseException):
    """Raised inside a plain function that runs in a thread, when its time is over or its worker stops.

    Python raises it between two steps of Python code; a call into C code ends first. Clean up and let it propagate.
    A function that catches it and returns has succeeded.
    """


class Context(PublishContext, StepContext, TransactionContext, Storing, JobContext):
    """What a running handler may know and do, beside its body; built from facts, settling and reach.

    During a delivery ``message`` is set and ``ack``, ``nack``, ``reject`` and ``snooze`` settle it: the first one wins,
    a later one raises ``HandlerError(kind="Invalid")``. Outside a delivery (``tasuki call``) they raise too.
    All methods that do not await are safe from the thread of a sync handler. Methods beyond the delivery (``publish``,
    ``call``, ``store``, ``queues``, ``project``) raise PolicyDeniedError where the actor may not.
    """

    __slots__ = ("_reach", "_settling", "delivery")
    _reach: Reach[Context]

    def __init__(self, facts: Facts, settling: Settling, reach: Reach[Context]) -> None:
        self.delivery = facts
        """More about this run: ``function``, ``consumer``, ``failures``, ``is_last_attempt``, ``lease_lost``,
        ``values``."""
        self._settling = settling
        self._reach = reach

    @property
    def message(self) -> Message | None:
        """The message as it was published; None outside a delivery, and for a batch: see ``messages``."""
        return self.delivery.message

    @property
    def batch(self) -> Sequence[Context]:
        """For each message of a batch a context that settles it alone, in the order of the bodies; else empty."""
        return [Context(each, each, self._reach) for each in self.delivery.batch]

    @property
    def messages(self) -> list[Message]:
        """The messages of a batch in the order of the bodies, or the only message; empty outside a delivery."""
        found = [each.message for each in self.delivery.batch] or [self.delivery.message]
        return [message for message in found if message is not None]

    @property
    def attempt(self) -> int:
        """Which delivery of the message this is, from 1; also a fencing number. 0 outside a delivery.

        Of a batch, the highest of its messages.
        """
        return self.delivery.attempt

    @property
    def queue(self) -> str:
        """Id of the queue it came from; empty outside a delivery."""
        return self.delivery.queue

    @property
    def stopping(self) -> bool:
        """Whether the consumer is draining: finish soon."""
        return self.delivery.stopping

    @property
    def logger(self) -> Logger | LoggerAdapter[Any]:
        """A logger whose records carry queue, message id, attempt and consumer."""
        return self.delivery.logger

    def ack(self) -> None:
        """Settle now: done."""
        self._settling.ack()

    @overload
    def nack(self, delay: Duration | None = None) -> None: ...
    @overload
    def nack(self, *, at: datetime) -> None: ...
    def nack(self, delay: Duration | None = None, *, at: datetime | None = None) -> None:
        """Settle now: show it again after ``delay``, or ``at`` a time; without both as the retry policy says.

        Raises:
            ValueError: ``at`` has no time zone, or both are given.
        """
        self._settling.nack(one_of("delay", delay, at))

    def reject(self, reason: str = "") -> None:
        """Settle now: never again; dead-letter it."""
        self._settling.reject(reason)

    @overload
    def snooze(self, after: Duration) -> None: ...
    @overload
    def snooze(self, *, at: datetime) -> None: ...
    def snooze(self, after: Duration | None = None, *, at: datetime | None = None) -> None:
        """Settle now: show it again ``after`` a delay, or ``at`` a time; nothing failed, so nothing is counted.

        Raises:
            ValueError: ``at`` has no time zone, or both or neither are given.
        """
        self._settling.snooze(needed("snooze", one_of("after", after, at)))

    async def call(
        self,
        function: str,
        *args: Any,
        values: Mapping[str, Any] | None = None,
        actor: Plain | None = None,
        scope: Sequence[str] | None = None,
    ) -> Any:
        """Call another function entry by id, in this context, and return its (first) result.

        Args:
            function: its id.
            args: its arguments.
            values: items that are added to its ``delivery.values``, and to the values of all that it calls; needs
                permission ``funcs.context``.
            actor: ``id`` and ``meta`` of the actor that it acts as; needs permission ``funcs.security``.
            scope: ids of the policies in force for it; needs permission ``funcs.security``.

        Raises:
            HandlerNotFoundError: no such function.
            HandlerError: it failed; kind, retryable and details are kept.
        """
        options = CallOptions(values, actor, scope)
        return await self._reach.call(self, function, args, None if options == CallOptions() else options)

    @property
    def queues(self) -> ContextQueues:
        """Whole queues, by id: ``info``, ``pause``, ``resume``, ``cancel``, ``message_to``."""
        return ContextQueues(self._reach)

    @property
    def project(self) -> ContextProject:
        """The rest of the project: ``env``, ``set_env``, ``env_all``, ``resource``, ``permissions``, ``check_call``."""
        return ContextProject(self._reach)


class Handler(ABC):
    """A function entry that can run: compiled or imported once, then called for every message."""

    needs_context = True
    """Whether ``handle`` looks at its context, known from ``start`` on; a message costs less without one."""

    def __init__(self, id: str) -> None:
        self.id = id

    @abstractmethod
    async def start(self) -> None:
        """Compile or import. Raises HandlerError (with file and line) when that fails. Idempotent."""

    async def stop(self) -> None:
        """Free threads and runtimes. Idempotent."""
        return

    def add_places(self, count: int) -> None:
        """Its consumer handles so many more messages at the same time than before, or, below zero, fewer."""
        return

    def decoder(self, codec: Codec) -> Callable[[bytes], Any]:
        """How bodies become this handler's first argument; a typed handler asks the codec for its type."""
        return codec.decoder()

    @abstractmethod
    async def handle(self, body: Any, context: Context) -> Any:
        """Handle one message.

        Returns the result; exactly ``False`` means failed. Raises Retry, Reject, Snooze, HandlerError, or any other
        exception of the user's code. Cancellable where the code is (a thread is not: then it returns when the thread
        ends).
        """

    async def handle_batch(self, bodies: list[Any], context: Context) -> Any:
        """Handle a batch of messages; ``context.batch`` has a context for each.

        Returns a list with one result or exception for each message, or anything else for all; raises for all.
        """
        return await self.handle(bodies, context)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """Call with any number of arguments (``funcs.call``, ``tasuki call``)."""
        return await self.handle(args[0] if args else None, context)

    def all_arguments(self, body: Any) -> Any:
        """The arguments of a task, defaults included, from its decoded body."""
        return body

    async def give_up(self, arguments: Any, error: BaseException, context: Context) -> None:
        """Be called about a task that is given up, with its arguments and its error (in Lua: the text of it)."""
        await self.call([arguments, safe_text(error)], context)
