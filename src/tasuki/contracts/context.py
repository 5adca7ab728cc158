"""The three parts of a handler's context (facts, settling, reach beyond its delivery), and its permissions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from logging import Logger, LoggerAdapter
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar

import msgspec

from tasuki.contracts.state.following import Follower, Later, StartedGroup
from tasuki.contracts.state.jobs import CancelOutcome, Steps, Transacting, Verb
from tasuki.contracts.state.store_handle import Use
from tasuki.contracts.values import Act
from tasuki.message import HeaderValue, Message
from tasuki.units import Duration, When, parse_duration

Plain = Mapping[str, Any]


class Permissions(Protocol):
    """The rights of one actor. Actors are mappings of ``id`` and ``meta``; scopes are the ids of their policies."""

    def actor(self) -> Plain | None:
        """The actor; None: without one."""

    def scope(self) -> Sequence[str] | None:
        """The policies in force; None: there is no scope."""

    def can(self, action: str, resource: str, meta: Plain | None = None) -> bool:
        """Whether the scope allows it; False where there is no actor or scope, strict or not."""

    def require(self, action: str, resource: str, problem: str) -> None:
        """Return if it is allowed. Raises PolicyDeniedError with ``problem`` as its message; it is logged."""

    def publish(self, queue: str) -> None:
        """Return if publishing to the queue is allowed. Raises PolicyDeniedError; it is logged."""

    def has_policy(self, id: str) -> bool:
        """Whether the project has a policy of this id."""

    def group(self, id: str) -> Sequence[str] | None:
        """The policies of a group; None: there is none of this id."""

    def evaluate(
        self, policies: Sequence[str], actor: Plain, action: str, resource: str, meta: Plain | None = None
    ) -> str:
        """What policies say together about an actor: allow, deny or undefined; unknown ones say nothing."""


Caller_contra = TypeVar("Caller_contra", contravariant=True)
"""Of the context that belongs to a reach."""


NO_VALUES: Mapping[str, Any] = MappingProxyType({})


Around = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes a function that calls the given one in its own thread, and is async where that one is."""


class CallOptions(NamedTuple):
    """How a call differs from its caller; see :meth:`tasuki.contracts.handler.Context.call`."""

    values: Mapping[str, Any] | None = None
    actor: Plain | None = None
    scope: Sequence[str] | None = None


_LONGEST = 90.0
"""Seconds: the longest delay of Retries, unless the first one is longer."""


Errors = tuple[type[BaseException] | str, ...]
"""Exception classes (subclasses count), or names of classes or kinds of errors."""


class Retries(msgspec.Struct, frozen=True, omit_defaults=True):
    """The retry rules of a task, a consumer, a queue or one message.

    Args:
        attempts: before a message goes to the dead-letter queue; None: as many as the queue says.
        on: the only errors that get another attempt; none: all of them.
        never: errors that get no other attempt.
        backoff: the first delay; each later one is twice as long.
        max_delay: the longest delay; default 90 s, or ``backoff`` if that is longer.
    """

    attempts: int | None = None
    on: Errors = ()
    never: Errors = ()
    backoff: Duration = 1.0
    max_delay: Duration | None = None

    def __post_init__(self) -> None:
        for name, errors in (("on", self.on), ("never", self.never)):
            _check(name, errors)
        if self.attempts is not None and (type(self.attempts) is not int or self.attempts < 1):
            raise ValueError(f"Retries({self.attempts!r}): attempts must be a whole number from 1 on, as in Retries(5)")

    def fields(self) -> dict[str, Any]:
        """The same as a field ``retry`` in YAML. Raises ValueError: not a duration."""
        longest = max(_LONGEST, parse_duration(self.backoff)) if self.max_delay is None else self.max_delay
        fields = {
            "max_attempts": self.attempts,
            "on": [_name(error) for error in self.on],
            "never": [_name(error) for error in self.never],
            "initial_delay": self.backoff,
            "max_delay": longest,
        }
        return {name: value for name, value in fields.items() if value is not None}


def _check(field: str, errors: object) -> None:
    """Refuse anything but a tuple of errors: a text would be one error for each of its letters. Raises TypeError."""
    if not isinstance(errors, Collection) or isinstance(errors, str):
        shown = errors.__qualname__ if isinstance(errors, type) else repr(errors)
        raise TypeError(f"Retries({field}={shown}) must be a tuple of errors: write {field}=({shown},)")
    for error in errors:
        if not isinstance(error, str) and not (isinstance(error, type) and issubclass(error, BaseException)):
            raise TypeError(f"Retries({field}=…) takes exception classes or their names, not {error!r}")


def _name(error: type[BaseException] | str) -> str:
    return error if isinstance(error, str) else f"{error.__module__}.{error.__qualname__}"


class MessageOptions(TypedDict, total=False):
    """Options of one message, as mypy and pyright check them; ``Queue.publish`` says what each means."""

    delay: Duration
    ttl: Duration | None
    priority: int | None
    key: str | None
    id: str | None
    at: datetime | None
    handler_timeout: Duration | None
    retries: int | Retries | None


class UniqueOptions(TypedDict, total=False):
    """Options that make a message unique; ``Queue.publish`` says what each means."""

    unique: str | None
    unique_for: Literal["pending", "running"] | Duration | None
    on_conflict: Act | None
    unique_max: Duration | None


class BatchOptions(TypedDict, total=False):
    """Options of one call of publish_many."""

    publish_timeout: Duration
    connection: object


class PublishOptions(MessageOptions, UniqueOptions, BatchOptions, total=False):
    """Options of publish."""


class ChainOptions(PublishOptions, total=False):
    """Options of publish, with what follows the message."""

    then: Follower | None
    on_error: Follower | None


class Facts(Protocol):
    """The facts of a context, described at :class:`tasuki.contracts.handler.Context`."""

    @property
    def function(self) -> str: ...  # noqa: D102
    @property
    def message(self) -> Message | None: ...  # noqa: D102
    @property
    def batch(self) -> Sequence[Delivered]: ...  # noqa: D102
    @property
    def attempt(self) -> int: ...  # noqa: D102
    @property
    def failures(self) -> int: ...  # noqa: D102
    @property
    def is_last_attempt(self) -> bool: ...  # noqa: D102
    @property
    def queue(self) -> str: ...  # noqa: D102
    @property
    def consumer(self) -> str: ...  # noqa: D102
    @property
    def stopping(self) -> bool: ...  # noqa: D102
    @property
    def lease_lost(self) -> bool: ...  # noqa: D102
    @property
    def cancelled(self) -> bool: ...  # noqa: D102
    @property
    def keeps_result(self) -> bool: ...  # noqa: D102
    @property
    def values(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def logger(self) -> Logger | LoggerAdapter[Any]: ...  # noqa: D102


@dataclass(slots=True)
class KnownFacts:
    """Facts that are known beforehand; without a message by default."""

    function: str
    logger: Logger | LoggerAdapter[Any]
    message: Message | None = None
    batch: Sequence[Delivered] = ()
    attempt: int = 0
    failures: int = 0
    is_last_attempt: bool = False
    queue: str = ""
    consumer: str = ""
    stopping: bool = False
    lease_lost: bool = False
    cancelled: bool = False
    keeps_result: bool = False
    values: Mapping[str, Any] = field(default_factory=lambda: NO_VALUES)


class Settling(Transacting, Protocol):
    """Settles the delivery from inside of its handler."""

    def ack(self) -> None:
        """Done."""

    def nack(self, due: When | None = None) -> None:
        """Failed; show it again then; None: as the retry policy says."""

    def reject(self, reason: str = "") -> None:
        """Never again."""

    def snooze(self, due: When) -> None:
        """Not now; nothing failed."""

    def progress(self, done: float, total: float | None, note: str) -> None:
        """So far."""

    def steps(self) -> Steps:
        """Its steps. Raises HandlerError (Invalid): it has none; UnsupportedError: nothing can keep them."""


class Delivered(Facts, Settling, Protocol):
    """One message of a batch."""


class Reach(Protocol[Caller_contra]):
    """The rest of the project; ids as the handler writes them. Calls get the context of their caller."""

    @property
    def permissions(self) -> Permissions | None:
        """The rights of the actor; None where no rights are kept."""

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        """Publish; returns the message's id. ``then`` and ``on_error`` of the options are as for ``group``."""

    async def group(
        self, members: Sequence[Later], then: Later | str | None, on_error: Later | str | None, id: str | None
    ) -> StartedGroup:
        """Publish a group; a text is the id of a queue, which is given the results."""

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        """The result of one of these, in a thread without an event loop."""

    async def call(
        self, caller: Caller_contra, function: str, args: Sequence[Any], options: CallOptions | None = None
    ) -> Any:
        """Call a function entry; with ``options`` it does not get all from its caller."""

    async def cancel(self, queue: str, id: str) -> CancelOutcome:
        """Cancel a message."""

    async def signal(self, event: str, key: str | int, value: Any) -> bool:
        """Give a signal; whether it is the first one."""

    def check_call(self, function: str) -> None:
        """Raise what ``call`` would raise before it runs the function."""

    async def info(self, queue: str) -> Mapping[str, Any]:
        """Counts of a queue."""

    async def pause(self, queue: str, due: When | None, reason: str) -> Mapping[str, Any]:
        """Pause a queue, until a time or for a duration; the pause in force."""

    async def resume(self, queue: str) -> bool:
        """End the pause of a queue; whether there was one."""

    def resource(self, id: str) -> Any:
        """The object behind a resource entry."""

    def store(self, id: str) -> Use:
        """Calls the verbs of a store; their results are awaited."""

    def measure(self, verb: Verb, function: str, name: str, n: float, labels: Mapping[str, str] | None) -> None:
        """Count a number in a metric of a function."""

    def env(self, name: str) -> str | None:
        """Value of a declared environment variable."""

    def set_env(self, name: str, value: str) -> None:
        """Give a declared environment variable a value."""

    def env_all(self) -> Mapping[str, str]:
        """The environment variables that may be read."""
