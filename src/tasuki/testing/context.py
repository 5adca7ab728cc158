"""RecordingContext: a handler's context without a broker, for tests of handlers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tasuki.contracts.context import CallOptions, KnownFacts
from tasuki.contracts.handler import Context
from tasuki.contracts.state.following import Later, StartedGroup, carried, ids_of
from tasuki.contracts.state.jobs import CancelOutcome, Verb
from tasuki.contracts.state.store_handle import Use, checked_store, user_of
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.message import HeaderValue, Message, new_id
from tasuki.testing.steps import MemorySteps, at_once
from tasuki.testing.transactions import RecordedTransaction, on_connection
from tasuki.units import When


@dataclass(frozen=True, slots=True)
class Published:
    """One call of ``publish``."""

    queue: str
    body: Any
    headers: Mapping[str, HeaderValue] | None
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grouped:
    """One call of ``group``; messages as dicts with their queue and body, and what else they have."""

    id: str
    members: list[dict[str, Any]]
    then: Any
    on_error: Any


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

    ``published``, ``groups``, ``logged`` and ``settled`` (tuples such as ``("nack", 5)``) hold what happened, in
    order. What ``call``, ``info``, ``store``, ``resource`` and ``env`` answer is set with ``functions`` (id to a
    callable, plain or async), ``known_queues``, ``resources`` (for a store ``tasuki.testing.memory_store(id)``) and
    ``variables``; ``set_env`` changes the last. ``called_with`` holds what ``call`` was given beside function and
    arguments; ``paused`` what ``pause`` was given, by queue, until a ``resume``; ``cancelled_ids`` (queue and id) what
    ``cancel`` was given; ``measured`` what ``metrics`` counted.
    ``publish_error`` is raised by the next publishes when set.
    """

    def __init__(
        self,
        message: Message | None = None,
        *,
        attempt: int = 1,
        failures: int | None = None,
        is_last_attempt: bool = False,
        function: str = "app:handler",
    ) -> None:
        self.published: list[Published] = []
        self.groups: list[Grouped] = []
        self.logged: list[Logged] = []
        self.settled: list[tuple[Any, ...]] = []
        self.functions: dict[str, Callable[..., Any]] = {}
        self.known_queues: dict[str, Mapping[str, Any]] = {}
        self.resources: dict[str, Any] = {}
        self.variables: dict[str, str] = {}
        self.known_values: dict[str, Any] = {}
        self.called_with: list[Mapping[str, Any]] = []
        self.cancelled_ids: list[tuple[str, str]] = []
        self.paused: dict[str, Mapping[str, Any]] = {}
        self.publish_error: Exception | None = None
        facts = KnownFacts(function, _Recorder(self.logged), values=self.known_values)
        if message is not None:
            facts.message, facts.attempt, facts.is_last_attempt = message, attempt, is_last_attempt
            facts.failures = attempt - 1 if failures is None else failures
            facts.queue, facts.consumer = "app:queue", "app:consumer"
        self._known = facts
        settling = _RecordedSettling(self.settled, has_message=message is not None)
        self.progressed = settling.progressed
        """What ``progress`` was given."""
        self.steps = settling.recorded
        """The results of its steps by name; put some in for a run that goes on."""
        self.signals = settling.signals
        """The values that ``wait_for`` finds, by event and key: ``context.signals["approved", 7] = True``."""
        self.signalled: list[tuple[str, str | int, Any]] = []
        self.measured: list[tuple[Verb, str, float, Mapping[str, str] | None]] = []
        """What it has given with ``signal``."""
        super().__init__(facts, settling, _RecordedReach(self))

    @property
    def is_stopping(self) -> bool:
        """What ``stopping`` says; may be set."""
        return self._known.stopping

    @is_stopping.setter
    def is_stopping(self, value: bool) -> None:
        self._known.stopping = value

    @property
    def is_lease_lost(self) -> bool:
        """What ``lease_lost`` says; may be set."""
        return self._known.lease_lost

    @is_lease_lost.setter
    def is_lease_lost(self, value: bool) -> None:
        self._known.lease_lost = value

    @property
    def is_cancelled(self) -> bool:
        """What ``cancelled`` says; may be set."""
        return self._known.cancelled

    @is_cancelled.setter
    def is_cancelled(self, value: bool) -> None:
        self._known.cancelled = value


class _RecordedSettling:
    in_transaction = False

    def __init__(self, settled: list[tuple[Any, ...]], *, has_message: bool) -> None:
        self._settled = settled
        self._has_message = has_message
        self.progressed: list[tuple[float, float | None, str]] = []
        self.recorded: dict[str, Any] = {}
        self.signals: dict[tuple[str, str | int], Any] = {}
        self._steps = MemorySteps(self.recorded, self.signals)

    def ack(self) -> None:
        self._settle("ack")

    def nack(self, due: When | None = None) -> None:
        self._settle("nack", due)

    def reject(self, reason: str = "") -> None:
        self._settle("reject", reason)

    def snooze(self, due: When) -> None:
        self._settle("snooze", due)

    def progress(self, done: float, total: float | None, note: str) -> None:
        self.progressed.append((done, total, note))

    def steps(self) -> MemorySteps:
        if not self._has_message:
            raise HandlerError("no delivery found in context", kind="Invalid", retryable=False)
        return self._steps

    @asynccontextmanager
    async def transaction(self, connection: Any, *, sync: bool) -> AsyncIterator[RecordedTransaction]:
        if not self._has_message:
            raise HandlerError("no delivery found in context", kind="Invalid", retryable=False)
        self.in_transaction = True
        try:
            async with on_connection(connection) as opened:
                yield RecordedTransaction(opened)
        finally:
            self.in_transaction = False
        self._settle("ack")

    def _settle(self, *what: Any) -> None:
        if not self._has_message:
            raise HandlerError("no delivery found in context", kind="Invalid", retryable=False)
        if self._settled:
            raise HandlerError("already settled", kind="Invalid", retryable=False)
        self._settled.append(what)


class _RecordedReach:
    """Answers with what the recording context holds now."""

    permissions = None

    def __init__(self, record: RecordingContext) -> None:
        self._record = record

    async def publish(
        self, queue: str, body: Any, headers: Mapping[str, HeaderValue] | None, options: Mapping[str, Any]
    ) -> str:
        if self._record.publish_error is not None:
            raise self._record.publish_error
        self._record.published.append(Published(queue, body, headers, options))
        return str(options.get("id") or new_id())

    async def group(
        self, members: Sequence[Later], then: Later | str | None, on_error: Later | str | None, id: str | None
    ) -> StartedGroup:
        if self._record.publish_error is not None:
            raise self._record.publish_error
        group = id or new_id()
        told = [dict(each.plain()) for each in members], carried(then), carried(on_error)
        self._record.groups.append(Grouped(group, *told))
        return StartedGroup(group, ids_of(group, members))

    def wait_for(self, work: Coroutine[Any, Any, Any]) -> Any:
        return at_once(work)

    async def call(
        self, caller: Context, function: str, args: Sequence[Any], options: CallOptions | None = None
    ) -> Any:
        if options is not None:
            self._record.called_with.append(options._asdict())
        self.check_call(function)
        result = self._record.functions[function](*args)
        return await result if isinstance(result, Awaitable) else result

    def check_call(self, function: str) -> None:
        if function not in self._record.functions:
            raise HandlerNotFoundError(f"function {function!r} is not defined", kind="NotFound")

    async def info(self, queue: str) -> Mapping[str, Any]:
        if queue not in self._record.known_queues:
            raise HandlerError("queue not found", kind="Internal", retryable=False)
        return self._record.known_queues[queue]

    async def cancel(self, queue: str, id: str) -> CancelOutcome:
        self._record.cancelled_ids.append((queue, id))
        return "waiting"

    async def signal(self, event: str, key: str | int, value: Any) -> bool:
        self._record.signalled.append((event, key, value))
        return True

    async def pause(self, queue: str, due: When | None, reason: str) -> Mapping[str, Any]:
        self._record.paused[queue] = {"due": due, "reason": reason}
        return {"until": None, "actor": self._record.delivery.function, "at": 0.0, "reason": reason}

    async def resume(self, queue: str) -> bool:
        return self._record.paused.pop(queue, None) is not None

    def resource(self, id: str) -> Any:
        if id not in self._record.resources:
            raise HandlerError(f"resource {id!r} is not defined", kind="NotFound", retryable=False)
        return self._record.resources[id]

    def store(self, id: str) -> Use:
        return user_of(checked_store(self.resource(id), id))

    def measure(self, verb: Verb, function: str, name: str, n: float, labels: Mapping[str, str] | None) -> None:
        self._record.measured.append((verb, name, n, labels))

    def env(self, name: str) -> str | None:
        return self._record.variables.get(name)

    def set_env(self, name: str, value: str) -> None:
        if name not in self._record.variables:
            raise HandlerError("environment variable not found", kind="NotFound", retryable=False)
        self._record.variables[name] = value

    def env_all(self) -> Mapping[str, str]:
        return dict(self._record.variables)
