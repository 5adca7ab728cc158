"""The whole exception tree.

::

    TasukiError
    ├── ConfigError(problem, position, entry, hint)     for the author of the project; one per problem
    │   ├── UnknownKindError · InvalidEntryError · MissingReferenceError · ReferenceCycleError
    │   └── SelectionError
    ├── ProjectError(errors)                            every ConfigError of one load, at once
    ├── LifecycleError(service)                         for the operator
    │   ├── StartTimeoutError · StopTimeoutError · RestartLimitError
    ├── DriverError(driver, queue; retryable, outcome)
    │   ├── BrokerUnavailableError ↻ · BrokerTimeoutError ↻ ? · ThrottledError ↻ · QueueFullError ↻ · DurabilityError ↻
    │   ├── KeyBusyError ↻
    │   ├── QueueNotFoundError · QueueConflictError · MessageTooLargeError · AccessDeniedError · UnsupportedError
    │   ├── ConflictError · StoreLimitError · StoreFullError ↻
    │   ├── QueueFullError → StorageFullError ↻
    │   └── StaleReceiptError · MessageNotFoundError · HeldBackError ↻
    ├── PublishError · CodecError · PolicyDeniedError   for the publisher
    │   └── BodyTypeError
    ├── RequestTimeoutError                             for the requester
    ├── BatchStateError(batch)                          for who acts on many dead letters
    │   └── BatchNotFoundError
    └── HandlerError(kind, retryable, details)          for the author of the handler
        ├── HandlerNotFoundError · HandlerTimeoutError · ResultError · ReturnedTextError
        ├── InvalidBodyError → UnknownArgumentError
        ├── UnknownTaskError · ProviderError · WaitTimeoutError
        └── LuaError → LuaSyntaxError · LuaLimitError(limit)

``↻`` = ``retryable`` is true; ``?`` = the outcome of a publish may be unknown. The original exception is always
``__cause__``. A message names the thing and the remedy.

Signals raised by handlers (:class:`tasuki.Retry`, :class:`tasuki.Reject`, :class:`tasuki.Snooze`) are not errors and
live in ``tasuki.contracts.handler``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple

Outcome = Literal["rejected", "unknown"]
Nature = Literal["healing", "final", "unknown"]
"""Whether the same write may succeed later: perhaps, never, or it is a defect that nothing is known of."""


class TasukiError(Exception):
    """Base of every error that Tasuki raises."""


class Position(NamedTuple):
    """A place in a source file: lines and columns count from 1; 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """``file:line:column``, without the unknown parts."""
        return ":".join(str(part) for part in self if part)


class ConfigError(TasukiError):
    """One problem of a project: the mistake, its place, its entry, and the remedy."""

    def __init__(self, problem: str, *, position: Position | None = None, entry: str = "", hint: str = "") -> None:
        self.problem = problem
        self.position = position
        self.entry = entry
        self.hint = hint
        super().__init__(problem)

    def __str__(self) -> str:
        """``file:line:column: entry: problem; hint``."""
        head = "".join(f"{part}: " for part in (str(self.position) if self.position else "", self.entry) if part)
        return head + self.problem + (f"; {self.hint}" if self.hint else "")


class UnknownKindError(ConfigError):
    """An entry of an unknown ``kind``."""


class InvalidEntryError(ConfigError):
    """An entry with an unknown field, a wrong type or a value out of range."""


class MissingReferenceError(ConfigError):
    """An entry that refers to an id that is not defined, or to one of the wrong kind."""


class ReferenceCycleError(ConfigError):
    """Entries that depend on each other in a circle."""


class SelectionError(ConfigError):
    """A choice of queues to consume that does not fit the project."""


class ProjectError(TasukiError):
    """A project that cannot be used; ``errors`` holds every problem found, ordered by place."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class LifecycleError(TasukiError):
    """A service that could not start, stop or keep running."""

    def __init__(self, message: str, *, service: str = "") -> None:
        self.service = service
        super().__init__(message)


class StartTimeoutError(LifecycleError):
    """A service was not running within its ``start_timeout``."""


class StopTimeoutError(LifecycleError):
    """A service had unfinished work at its ``stop_timeout``; its messages were released."""


class RestartLimitError(LifecycleError):
    """A service failed more often than its ``restart.max_attempts`` allows."""


class DriverError(TasukiError):
    """A broker refused an operation, or did not answer.

    ``outcome`` is ``"rejected"`` when it is certain that the broker stored nothing, and ``"unknown"`` when it may have;
    then publishing again with the same id is the recovery.
    """

    retryable: ClassVar[bool] = False
    outcome: Outcome = "rejected"
    message_id: str = ""
    """Id of the message whose publish failed, where there is just one."""

    def __init__(self, message: str, *, driver: str = "", queue: str = "", outcome: Outcome | None = None) -> None:
        self.driver = driver
        self.queue = queue
        if outcome is not None:
            self.outcome = outcome
        super().__init__(message)


class BrokerUnavailableError(DriverError):
    """The broker cannot be reached, or its storage refuses to work."""

    retryable = True


class BrokerTimeoutError(DriverError):
    """The broker did not answer within the deadline; whether it executed the request is unknown."""

    retryable = True
    outcome: Outcome = "unknown"


class ThrottledError(DriverError):
    """The broker requests a lower rate."""

    retryable = True


class QueueFullError(DriverError):
    """The queue holds ``max_length`` messages, or the storage of its broker is full."""

    retryable = True


class KeyBusyError(DriverError):
    """An open transaction of another client keeps the unique key of the message; nothing was stored."""

    retryable = True


class StorageFullError(QueueFullError):
    """The broker has no room for any queue: its disk or its memory is full."""


class QueueNotFoundError(DriverError):
    """The queue was never declared."""


class StaleReceiptError(DriverError):
    """The delivery has ended already, and its message is another's or gone: nothing was moved."""


class MessageNotFoundError(DriverError):
    """No message of the id waits in the queue: it is gone, or a receiver holds it; nothing was stored for it."""


class HeldBackError(DriverError):
    """The limit of a queue hands out no more of its messages now, and some are left."""

    retryable = True


class QueueConflictError(DriverError):
    """The queue exists with other options than those declared."""


class MessageTooLargeError(DriverError):
    """The message is larger than the queue or the broker accepts."""


class AccessDeniedError(DriverError):
    """The broker refuses the credentials or the operation."""


class UnsupportedError(DriverError):
    """The driver lacks the capability; ``tasuki drivers`` shows the drivers that have it."""


class DurabilityError(DriverError):
    """The broker gives less durability than the queue demands; nothing was stored."""

    retryable = True


class ConflictError(DriverError):
    """The key has another version than the one expected: another caller has changed it; nothing was written."""


class StoreLimitError(DriverError):
    """A key or a value that the store does not take; nothing was written."""


class StoreFullError(DriverError):
    """The store has no room; nothing was written."""

    retryable = True


class PublishError(TasukiError):
    """A message that must not be published: bad header, bad option, empty body; nothing was stored."""


class BodyTypeError(PublishError):
    """A body that does not fit the type that the code declares for its queue; nothing was stored."""


class CodecError(TasukiError):
    """A body that cannot be encoded or decoded."""


class RequestTimeoutError(TasukiError, TimeoutError):
    """No reply came in time; the message was published, and may still be handled."""


class BatchStateError(TasukiError):
    """An order for a batch of dead letters that does not fit its state; nothing was changed."""

    def __init__(self, message: str, *, batch: str = "") -> None:
        self.batch = batch
        super().__init__(message)


class BatchNotFoundError(BatchStateError):
    """There is no such batch: it was never begun, or ended more than a day ago."""


class PolicyDeniedError(TasukiError):
    """A policy denies the action to the actor, or none allows it. ``policy`` is empty where none decided."""

    kind: ClassVar[str] = "Invalid"
    details: ClassVar[Mapping[str, Any]] = MappingProxyType({"reason": "permission_denied"})

    def __init__(
        self, message: str, *, actor: str = "", action: str = "", resource: str = "", policy: str = ""
    ) -> None:
        self.actor = actor
        self.action = action
        self.resource = resource
        self.policy = policy
        super().__init__(message)


def nature_of(error: BaseException) -> Nature:
    """Whether a write to a broker or store that has failed may succeed when it is repeated."""
    if isinstance(error, DriverError):
        is_known = error.outcome == "rejected"  # else a driver has failed in a way that its authors did not expect
        return "healing" if error.retryable else "final" if is_known else "unknown"
    return "final" if isinstance(error, TasukiError) else "unknown"


MAX_ERROR_CHARS = 4096
"""Most characters of an error where it is logged, stored or sent."""


def safe_text(value: object) -> str:
    """Its text, also of an object whose ``__str__`` raises."""
    try:
        return str(value)
    except Exception:
        return "(its text cannot be shown)"


def text_of(error: BaseException) -> str:
    """``Type: text`` of an error, cut; of a HandlerError the text alone."""
    text, name = safe_text(error), type(error).__name__
    text = text if isinstance(error, HandlerError) else f"{name}: {text}" if text else name
    return text[:MAX_ERROR_CHARS]


def class_names(error: BaseException) -> Iterator[str]:
    """The names of an error's classes, each without and with its module, the nearest first."""
    for base in type(error).__mro__[:-1]:
        yield base.__name__
        yield f"{base.__module__}.{base.__qualname__}"


class HandlerError(TasukiError):
    """A handler failed.

    ``kind`` is one of Wippy's error kinds (``NotFound``, ``Invalid``, …) or empty, ``retryable`` may be unknown (None),
    ``details`` is a plain mapping or None.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: str = "",
        retryable: bool | None = None,
        details: Mapping[str, Any] | None = None,
        traceback: str = "",
        names: Sequence[str] = (),
    ) -> None:
        self.message = message
        self.kind = kind
        self.retryable = retryable
        self.details = details
        self.traceback = traceback
        self.names = names
        """Names of the classes of the original exception, if it was raised in another process."""
        super().__init__(message)


class HandlerNotFoundError(HandlerError):
    """The function, or the method of its module, does not exist."""


class UnknownTaskError(HandlerError):
    """A message names a task that its consumer does not have."""


class ProviderError(HandlerError):
    """A provider could not make, or close, what a handler is given; ``names`` has the classes of its own error."""


class HandlerTimeoutError(HandlerError):
    """The handler ran longer than its ``handler_timeout``."""


class WaitTimeoutError(HandlerError):
    """No signal came before the timeout of ``context.wait_for``; another attempt finds the same."""


class InvalidBodyError(HandlerError):
    """The body does not fit the type that the handler declares."""


class UnknownArgumentError(InvalidBodyError):
    """A message gives an argument that the task does not have in this worker's version."""


class ResultError(HandlerError):
    """The handler has run in another process, and its result cannot be transferred; another attempt would not help."""


class ReturnedTextError(HandlerError):
    """A Lua function returned a text as its error; ``retryable`` is false, as in Wippy, not by the script's choice."""


class LuaError(HandlerError):
    """A Lua script raised; ``traceback`` holds the script's file and lines."""


class LuaSyntaxError(LuaError):
    """A Lua script that does not compile."""


class LuaLimitError(LuaError):
    """A Lua script spent its budget; ``limit`` is ``time``, ``memory`` or ``instructions``."""

    def __init__(self, message: str, *, limit: str, traceback: str = "") -> None:
        self.limit = limit
        super().__init__(message, kind="Internal", retryable=False, traceback=traceback)
