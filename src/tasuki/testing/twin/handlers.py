"""Run one handler of an app with a body, without a queue."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol

from tasuki.app.assembly import Assembly
from tasuki.app.tasks import Sender
from tasuki.consumers.reach.host_reach import CallSite, HostReach
from tasuki.contracts.context import KnownFacts
from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError, HandlerNotFoundError
from tasuki.kinds.build import is_function
from tasuki.kinds.entries.consumer import ConsumerConfig
from tasuki.message import HeaderValue, Message, new_id
from tasuki.queues.messages.codec import JSON
from tasuki.testing.steps import MemorySteps
from tasuki.testing.transactions import RecordedTransaction, on_connection
from tasuki.units import When


def find_function(assembly: Assembly, handler: object) -> str:
    """The id of the entry that a Python function was declared with. Raises HandlerNotFoundError."""
    for id, entry in assembly.project.registry.entries.items():
        if entry.target == handler and is_function(assembly.project.configs[id]):
            return id
    known = ", ".join(assembly.handlers) or "none"
    name = getattr(handler, "__qualname__", repr(handler))
    raise HandlerNotFoundError(
        f"{name} is no handler of this app; its functions are: {known}", kind="NotFound", retryable=False
    )


class Function(Protocol):
    """A handler as it was defined. A task has no such name, so that type checkers hold it to its own arguments."""

    @property
    def __name__(self) -> str: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it."""


@dataclass(frozen=True)
class Call:
    """One run of a handler: what its message would be. ``body`` is the list of the bodies where it takes a batch."""

    id: str
    body: object
    headers: Mapping[str, HeaderValue] | None = None
    _: KW_ONLY
    attempt: int = 1


def call_of_task(assembly: Assembly, task: Sender[..., Any], args: Sequence[Any], named: Mapping[str, Any]) -> Call:
    """The call of a task with its arguments. Raises BodyTypeError, HandlerNotFoundError."""
    message = task.message(*args, **named)
    for config in assembly.project.of(ConsumerConfig).values():
        if config.queue == task.queue and task.name in config.funcs:
            return Call(config.funcs[task.name].func, message.body, message.headers)
    raise HandlerNotFoundError(f"{task!r} is no task of this app", kind="NotFound", retryable=False)


async def run_handler(assembly: Assembly, call: Call) -> Any:
    """What the handler returns; raises what it raises. It reads the body as its consumer's queue would carry it."""
    id = call.id
    if id not in assembly.handlers:
        await assembly.call_from(None, id, ())  # raises the error that names similar ids
    handler = assembly.handlers[id]
    consumer, config = next(filter(_calls(id), assembly.project.of(ConsumerConfig).items()), ("", None))
    codec = assembly.codecs.get(JSON) if config is None else assembly.queues[config.queue].codec
    assert codec is not None  # JSON is built in
    await handler.start()
    reach = HostReach(CallSite(assembly, id, assembly.rights.consumer(consumer) if consumer else None))
    queue, decode = "" if config is None else config.queue, handler.decoder(codec)

    def one(body: object) -> tuple[Any, _Delivered]:
        message = Message(new_id(), codec.encode(body), dict(call.headers or {}))
        facts = _Delivered(id, logging.getLogger(f"tasuki.function.{id}"), message, attempt=call.attempt)
        facts.failures = call.attempt - 1
        facts.queue, facts.consumer = queue, consumer
        return decode(message.body), facts

    if config is None or config.batch is None:
        body, facts = one(call.body)
        return await handler.handle(body, Context(facts, facts, reach))
    if not isinstance(call.body, list | tuple):
        problem = f"{consumer} calls {id} with a batch: give t.run the list of the bodies"
        raise HandlerError(problem, kind="Invalid", retryable=False)
    bodies, batch = zip(*map(one, call.body), strict=True) if call.body else ((), ())
    whole = _Delivered(id, logging.getLogger(f"tasuki.function.{id}"), batch=batch, attempt=call.attempt)
    whole.queue, whole.consumer = queue, consumer
    return await handler.handle_batch(list(bodies), Context(whole, whole, reach))


def _calls(id: str) -> Callable[[tuple[str, ConsumerConfig]], bool]:
    """Whether a consumer calls a function, for its bodies or as a task."""
    return lambda item: id == item[1].func or any(task.func == id for task in item[1].funcs.values())


class _Delivered(KnownFacts):
    """Facts of a delivery that no broker has made; of its settlements the first one counts, as of a real one's."""

    is_settled = in_transaction = False

    def ack(self) -> None:
        self._settle()

    def nack(self, due: When | None = None) -> None:
        self._settle()

    def reject(self, reason: str = "") -> None:
        self._settle()

    def snooze(self, due: When) -> None:
        self._settle()

    def progress(self, done: float, total: float | None, note: str) -> None:
        """No queue keeps it."""

    def steps(self) -> MemorySteps:
        """For this run alone."""
        return MemorySteps({})

    @asynccontextmanager
    async def transaction(self, connection: Any, *, sync: bool) -> AsyncIterator[RecordedTransaction]:
        """On the handler's connection alone."""
        self.in_transaction = True
        try:
            async with on_connection(connection) as opened:
                yield RecordedTransaction(opened)
        finally:
            self.in_transaction = False
        self._settle()

    def _settle(self) -> None:
        """Settle it, or of a batch the messages that are not settled yet."""
        all_of_it = [each for each in self.batch if isinstance(each, _Delivered)] or [self]
        still_open = [each for each in all_of_it if not each.is_settled]
        if not still_open:
            raise HandlerError("already settled", kind="Invalid", retryable=False)
        for each in still_open:
            each.is_settled = True
