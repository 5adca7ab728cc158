"""The handler contract: the function that handles a message, and its context."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from logging import Logger, LoggerAdapter
from types import MappingProxyType
from typing import Any

from tasuki.contracts.codec import Codec
from tasuki.contracts.permissions import Permissions, Plain
from tasuki.errors import HandlerError
from tasuki.message import HeaderValue, Message

NO_VALUES: Mapping[str, Any] = MappingProxyType({})


class Retry(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a handler to request another attempt ``after`` seconds (None: the delay of the retry policy)."""

    def __init__(self, reason: str = "", *, after: float | str | None = None) -> None:
        self.reason = reason
        self.after = after
        super().__init__(reason or "retry")


class Reject(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a handler to dead-letter the message without another attempt."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason or "rejected")


class Snooze(Exception):  # noqa: N818 - a signal, not an error
    """Raised by a handler to postpone the message by ``after`` seconds; this does not count as an attempt."""

    def __init__(self, after: float | str, reason: str = "") -> None:
        self.after = after
        self.reason = reason
        super().__init__(reason or "snooze")


class Interrupted(BaseException):
    """Raised inside a plain function that runs in a thread, when its time is over or its worker stops.

    Python raises it between two steps of Python code; a call into C code ends first. Clean up and let it propagate.
    A function that catches it and returns has succeeded.
    """


class Context(ABC):
    """What a running handler knows and can do, besides its body.

    During a delivery ``message`` is set and ``ack``, ``nack``, ``reject`` and ``snooze`` settle it: the first one wins,
    a later one raises ``HandlerError(kind="Invalid")``. Outside a delivery (``tasuki call``) they raise too.
    All methods that do not await are safe from the thread of a sync handler. Methods beyond the delivery (``publish``,
    ``call``, ``info``, ``resource``, ``env``) raises PolicyDeniedError where the actor may not.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def function(self) -> str:
        """Id of the function entry that runs; bare names in ``publish`` and ``call`` are of its namespace."""

    @property
    @abstractmethod
    def message(self) -> Message | None:
        """The message as it was published; None outside a delivery."""

    @property
    @abstractmethod
    def attempt(self) -> int:
        """1 plus the failures of this message so far; also a fencing number. 0 outside a delivery."""

    @property
    @abstractmethod
    def queue(self) -> str:
        """Id of the queue it came from; empty outside a delivery."""

    @property
    @abstractmethod
    def consumer(self) -> str:
        """Id of the consumer; empty outside a delivery."""

    @property
    @abstractmethod
    def stopping(self) -> bool:
        """Whether the consumer is draining: finish soon."""

    @property
    @abstractmethod
    def lease_lost(self) -> bool:
        """Whether the message may already be with another consumer: abort if the work is not idempotent."""

    @property
    def permissions(self) -> Permissions | None:
        """The rights of the actor; None where rights are not checked."""
        return None

    @property
    def values(self) -> Mapping[str, Any]:
        """The values that callers have passed with ``call_with``, the nearest caller's last; read-only."""
        return NO_VALUES

    @property
    @abstractmethod
    def logger(self) -> Logger | LoggerAdapter[Any]:
        """A logger whose records carry queue, message id, attempt and consumer."""

    @abstractmethod
    def ack(self) -> None:
        """Settle now: done."""

    @abstractmethod
    def nack(self, delay: float | str | None = None) -> None:
        """Settle now: request another attempt after ``delay`` seconds (None: the delay of the retry policy)."""

    @abstractmethod
    def reject(self, reason: str = "") -> None:
        """Settle now: dead-letter the message."""

    @abstractmethod
    def snooze(self, after: float | str) -> None:
        """Settle now: postpone the message by ``after`` seconds; this does not count as an attempt."""

    @abstractmethod
    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Any
    ) -> str:
        """Publish to a queue by id (``app.queue:tasks``; a bare name is of the function's namespace); returns the id.

        ``options``: delay, ttl, priority, key, id, timeout. Raises what ``Queue.publish`` raises.
        """

    @abstractmethod
    async def call(self, function: str, *args: Any) -> Any:
        """Call another function entry by id, in this context, and return its (first) result.

        Raises:
            HandlerNotFoundError: no such function.
            HandlerError: it failed; kind, retryable and details are kept.
        """

    def check_call(self, function: str) -> None:
        """Return if there is such a function and it may be called; raises what ``call`` would raise then."""
        return

    async def call_with(
        self,
        function: str,
        *args: Any,
        values: Mapping[str, Any] | None = None,
        actor: Plain | None = None,
        scope: Sequence[str] | None = None,
    ) -> Any:
        """As ``call``, with other values, actor or scope, for the called function and all that it calls.

        Args:
            function: its id.
            args: its arguments.
            values: items that are added to its ``values``; needs permission ``funcs.context``.
            actor: ``id`` and ``meta`` of the actor that it acts as; needs permission ``funcs.security``.
            scope: ids of the policies in force for it; needs permission ``funcs.security``.
        """
        raise HandlerError("a call cannot be changed here", kind="Invalid", retryable=False)

    @abstractmethod
    async def info(self, queue: str) -> Mapping[str, Any]:
        """``message_count``, ``ready``, ``in_flight``, ``delayed``, ``consumer_count`` of a queue by id."""

    @abstractmethod
    def resource(self, id: str) -> Any:
        """The object behind a resource entry, such as a store.

        Raises:
            HandlerError: kind NotFound.
        """

    @abstractmethod
    def env(self, name: str) -> str | None:
        """Value of a declared environment variable (public name first, then entry id), or None.

        Raises:
            HandlerError: its file is not UTF-8 (kind Invalid), or cannot be read (Unavailable).
        """

    def set_env(self, name: str, value: str) -> None:
        """Give a declared environment variable a value.

        Raises:
            HandlerError: kind NotFound: it is not declared; PermissionDenied: it is read-only, or its storage is.
        """
        raise HandlerError("environment variable not found", kind="NotFound", retryable=False)

    def env_all(self) -> Mapping[str, str]:
        """The environment variables that may be read: declared ones, and others in their storages."""
        return {}


class Handler(ABC):
    """A function entry that can run: compiled or imported once, then called for every message."""

    def __init__(self, id: str) -> None:
        self.id = id

    @abstractmethod
    async def start(self) -> None:
        """Compile or import. Raises HandlerError (with file and line) when that fails. Idempotent."""

    async def stop(self) -> None:
        """Free threads and runtimes. Idempotent."""
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

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """Call with any number of arguments (``funcs.call``, ``tasuki call``)."""
        return await self.handle(args[0] if args else None, context)
