"""Questions: the requests of a child's calls to the worker, and the host that answers them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context as Variables
from contextvars import copy_context
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Literal, Protocol

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.process.failure import PlainFailure, bare
from tasuki.handlers.process.protocol import ANSWER, Channel, ProtocolError, encode
from tasuki.parts import count_parts

Late = Literal["", "time", "cancel"]


@dataclass(frozen=True, slots=True)
class Death:
    """Why a child is no more: what it did wrong (empty: nothing we know of), and how its process ended.

    ``late`` is empty, or why the worker killed it: a call of it had used up its ``time``, or one that was cancelled
    (``cancel``) did not end. ``was_waiting``: the call in question was waiting for an answer then; ``beside``: how many
    others there were.
    """

    problem: str
    how: str
    late: Late
    was_waiting: bool
    beside: int

    def cause(self) -> str:
        """The end of a sentence that begins with the process."""
        if self.late:
            return "was killed, because another message in it did not end when it was cancelled"
        if self.problem:
            return f"was killed: it sent {self.problem}"
        return self.how + (" (from outside, or for lack of memory)" if self.how.endswith("SIGKILL") else "")


class ChildHost(Protocol):
    """What a kind of handler does for its children."""

    def answer(self, context: Context, operation: str, args: list[Any]) -> Any:
        """The value of an operation, or a coroutine of it.

        Raises:
            ProtocolError: the child may not ask for that, or not with these arguments.
            Exception: it failed; the child gets the error.
        """

    def paid(self, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """Await the coroutine of an operation, at the expense of its call."""

    def failure(self, error: Exception) -> PlainFailure:
        """The fields of an error of an operation, for the child."""

    def cost(self, variables: Variables) -> float:
        """Seconds of processor time that a call, known by its context variables, has cost outside its child so far."""

    def charge(self, variables: Variables, seconds: float) -> None:
        """A call has used so many in its child so far."""

    def note(self, context: Context | None, args: list[Any]) -> None:
        """Write a log record of a call, or of none. Raises ProtocolError."""

    def ready(self, told: Any) -> None:
        """A child is ready; what its ``boot`` returned. Raises ProtocolError."""

    def died(self, death: Death) -> HandlerError:
        """The error of a call whose child is no more."""


_MOST_ASKED = 100_000
"""Most operations under way for one child."""

MOST_BYTES = 256 * 2**20
"""Bytes of all questions of a child that are not at their end: of what they ask for, the worker keeps the values."""

_MOST_PARTS = 3_000_000
"""Values in them, each some dozens of bytes in memory, where they are one byte in the question."""

_FEW = 2**20
"""Bytes below which the values are not counted."""

MOST_UNSENT = 128 * 2**20
"""Most bytes of answers that wait for a child that does not read."""


_ending: set[asyncio.Task[Any]] = set()  # cancelled, not yet at their end: the loop alone would not keep them


class ChildCall:
    """A call under way in a child."""

    __slots__ = ("context", "future", "tasks", "variables")

    def __init__(self, context: Context, future: asyncio.Future[Any]) -> None:
        self.context = context
        self.future = future
        self.variables = copy_context()
        """Its requests run with the context variables of its caller."""
        self.tasks: dict[int, asyncio.Task[Any]] = {}
        """Its requests without an answer, by ticket."""


class ChildQuestions:
    """Of one child; the tickets are its own."""

    def __init__(self, host: ChildHost, channel: Channel) -> None:
        self._host = host
        self._channel = channel
        self._calls: dict[int, ChildCall] = {}  # by ticket
        self._open = 0
        self._bytes = 0
        self._parts = 0

    def weigh(self, payload: bytes) -> int:
        """The number of values in a question, if it need be known. Raises ProtocolError for one too many."""
        size = self._bytes + len(payload)
        parts = count_parts(payload, _MOST_PARTS) if size > _FEW else 0
        if self._open and (size > MOST_BYTES or self._parts + parts > _MOST_PARTS):
            raise ProtocolError(f"questions of {size} bytes before the first ones are answered")
        return parts

    def ask(
        self, call: ChildCall | None, ticket: int, operation: str, args: list[Any], *, size: int = 0, parts: int = 0
    ) -> None:
        """Do an operation for a call, and answer when it is done; ``size`` and ``parts``: what the question weighs.

        Raises ProtocolError.
        """
        if call is None or ticket in self._calls or self._open >= _MOST_ASKED:
            raise ProtocolError(f"a question for {operation[:50]!r} out of turn")
        if self._channel.unsent > MOST_UNSENT:
            raise ProtocolError("questions, and does not read the answers")
        try:
            value = self._host.answer(call.context, operation, args)
        except ProtocolError:
            raise
        except Exception as error:
            self._answer(call, ticket, error)
            return
        if type(value) is not CoroutineType:
            self._answer(call, ticket, None, value)
            return
        task = asyncio.get_running_loop().create_task(self._host.paid(value), context=call.variables.copy())
        self._calls[ticket] = call
        call.tasks[ticket] = task
        self._open += 1
        self._bytes += size
        self._parts += parts
        task.add_done_callback(lambda task: self._done(ticket, task, size, parts))
        task.add_done_callback(lambda task: value.close())  # else Python warns if it was cancelled before its start

    def _done(self, ticket: int, task: asyncio.Task[Any], size: int, parts: int) -> None:
        self._open -= 1
        self._bytes -= size
        self._parts -= parts
        call = self._calls.get(ticket)
        if call is None or call.tasks.get(ticket) is not task:
            if not task.cancelled():
                task.exception()  # retrieved, so that asyncio does not log it
            return
        del self._calls[ticket], call.tasks[ticket]
        if task.cancelled():
            self._answer(call, ticket, HandlerError("context canceled", retryable=False))
        elif (error := task.exception()) is None:
            self._answer(call, ticket, None, task.result())
        elif isinstance(error, Exception):
            self._answer(call, ticket, error)
        elif not call.future.done():
            call.future.set_exception(error)

    def _answer(self, call: ChildCall, ticket: int, error: Exception | None, value: Any = None) -> None:
        cost = self._host.cost(call.variables)
        if error is None:
            try:
                self._channel.send(ANSWER, ticket, encode((True, value, cost)))
                return
            except HandlerError as unfit:
                error = unfit
        try:
            payload = encode((False, self._host.failure(error), cost))
        except HandlerError:
            # Its text or its details are no plain data; without an answer the child would wait forever.
            payload = encode((False, self._host.failure(bare(error)), cost))
        self._channel.send(ANSWER, ticket, payload)

    def forget(self, ticket: int) -> None:
        """Drop the answer: its caller has gone."""
        call = self._calls.pop(ticket, None)
        if call is not None:
            _end(call.tasks.pop(ticket))

    def end(self, call: ChildCall) -> None:
        """End the call with all its requests."""
        for ticket in list(call.tasks):
            self.forget(ticket)


def _end(task: asyncio.Task[Any]) -> None:
    if not task.done():
        _ending.add(task)
        task.add_done_callback(_ending.discard)
        task.cancel()
