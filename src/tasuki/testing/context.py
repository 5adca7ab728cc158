"""RecordingContext: a handler's context without a broker, for tests of handlers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.contracts.permissions import Plain
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.message import HeaderValue, Message, new_id


@dataclass(frozen=True, slots=True)
class Published:
    """One call of ``publish``."""

    queue: str
    body: Any
    headers: Mapping[str, HeaderValue] | None
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Logged:
    """One log record: level in lower case, message, and the fields that came with it."""

    level: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)


_OWN = frozenset(vars(logging.makeLogRecord({})))


class _Recorder(logging.Logger):
    def __init__(self, records: list[Logged]) -> None:
        super().__init__("tasuki.testing", logging.DEBUG)
        self._records = records

    def handle(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if name not in _OWN}
        self._records.append(Logged(record.levelname.lower(), record.getMessage(), fields))


class RecordingContext(Context):
    """Keeps what a handler publishes, logs and settles.

    ``published``, ``logged`` and ``settled`` (tuples such as ``("nack", 5)``) hold what happened, in order. What
    ``call``, ``info``, ``resource`` and ``env`` answer is set with ``functions`` (id to a callable, plain or async),
    ``queues``, ``resources`` and ``variables``; ``set_env`` changes the last. ``called_with`` holds what ``call_with``
    was given beside function and arguments. ``publish_error`` is raised by the next publishes when set.
    """

    def __init__(self, message: Message | None = None, *, attempt: int = 1, function: str = "app:handler") -> None:
        self._function = function
        self.published: list[Published] = []
        self.logged: list[Logged] = []
        self.settled: list[tuple[Any, ...]] = []
        self.functions: dict[str, Callable[..., Any]] = {}
        self.queues: dict[str, Mapping[str, Any]] = {}
        self.resources: dict[str, Any] = {}
        self.variables: dict[str, str] = {}
        self.known_values: dict[str, Any] = {}
        self.called_with: list[Mapping[str, Any]] = []
        self.publish_error: Exception | None = None
        self.is_stopping = False
        self.is_lease_lost = False
        self._message = message
        self._attempt = attempt if message else 0
        self._logger = _Recorder(self.logged)

    @property
    def function(self) -> str:
        """The id given at construction."""
        return self._function

    @property
    def message(self) -> Message | None:
        """The message given at construction."""
        return self._message

    @property
    def attempt(self) -> int:
        """The attempt given at construction; 0 without a message."""
        return self._attempt

    @property
    def queue(self) -> str:
        """``app:queue`` during a delivery."""
        return "app:queue" if self._message else ""

    @property
    def consumer(self) -> str:
        """``app:consumer`` during a delivery."""
        return "app:consumer" if self._message else ""

    @property
    def stopping(self) -> bool:
        """``is_stopping``."""
        return self.is_stopping

    @property
    def lease_lost(self) -> bool:
        """``is_lease_lost``."""
        return self.is_lease_lost

    @property
    def values(self) -> Mapping[str, Any]:
        """``known_values``."""
        return self.known_values

    @property
    def logger(self) -> logging.Logger:
        """A logger that fills ``logged``."""
        return self._logger

    def ack(self) -> None:
        """Record an ack."""
        self._settle("ack")

    def nack(self, delay: float | str | None = None) -> None:
        """Record a nack and its delay."""
        self._settle("nack", delay)

    def reject(self, reason: str = "") -> None:
        """Record a reject and its reason."""
        self._settle("reject", reason)

    def snooze(self, after: float | str) -> None:
        """Record a snooze and its delay."""
        self._settle("snooze", after)

    def _settle(self, *what: Any) -> None:
        if self._message is None:
            raise HandlerError("no delivery found in context", kind="Invalid", retryable=False)
        if self.settled:
            raise HandlerError("already settled", kind="Invalid", retryable=False)
        self.settled.append(what)

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None = None, **options: Any
    ) -> str:
        """Record a publish."""
        if self.publish_error is not None:
            raise self.publish_error
        self.published.append(Published(queue, body, headers, options))
        return str(options.get("id") or new_id())

    async def call(self, function: str, *args: Any) -> Any:
        """Call what ``functions`` holds under the id."""
        self.check_call(function)
        result = self.functions[function](*args)
        return await result if isinstance(result, Awaitable) else result

    def check_call(self, function: str) -> None:
        """Whether ``functions`` holds it."""
        if function not in self.functions:
            raise HandlerNotFoundError(f"function {function!r} is not defined", kind="NotFound")

    async def call_with(
        self,
        function: str,
        *args: Any,
        values: Mapping[str, Any] | None = None,
        actor: Plain | None = None,
        scope: Sequence[str] | None = None,
    ) -> Any:
        """Record the circumstances and call."""
        self.called_with.append({"values": values, "actor": actor, "scope": scope})
        return await self.call(function, *args)

    async def info(self, queue: str) -> Mapping[str, Any]:
        """What ``queues`` holds under the id."""
        if queue not in self.queues:
            raise HandlerError("queue not found", kind="Internal", retryable=False)
        return self.queues[queue]

    def resource(self, id: str) -> Any:
        """What ``resources`` holds under the id."""
        if id not in self.resources:
            raise HandlerError(f"resource {id!r} is not defined", kind="NotFound", retryable=False)
        return self.resources[id]

    def env(self, name: str) -> str | None:
        """What ``variables`` holds under the name."""
        return self.variables.get(name)

    def set_env(self, name: str, value: str) -> None:
        """Change ``variables``, if it holds the name."""
        if name not in self.variables:
            raise HandlerError("environment variable not found", kind="NotFound", retryable=False)
        self.variables[name] = value

    def env_all(self) -> Mapping[str, str]:
        """``variables``."""
        return dict(self.variables)
