"""Worker: one child process and the calls that are under way in it, as the worker's own process sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Literal, Protocol

from tasuki.contracts.handler import Context
from tasuki.errors import HandlerError
from tasuki.handlers.process.channel import Channel
from tasuki.handlers.process.failure import Failure
from tasuki.handlers.process.process import ChildProcess
from tasuki.handlers.process.protocol import (
    ANSWER,
    ASK,
    BOOT,
    CANCEL,
    FAILED,
    FORGET,
    NOTE,
    PROOF,
    READY,
    RESULT,
    ProtocolError,
    Shape,
    encode,
)
from tasuki.handlers.process.watch import Watch

CANCEL_GRACE = 0.5
"""Seconds that a child has to end a call that was cancelled, before it is killed."""
_MOST_ASKED = 100_000
"""Most operations under way for one child."""
_MOST_NUMBER = 2**32 - 1

Late = Literal["", "time", "cancel"]

_VALUE, _FAILURE = Shape(Any), Shape(Failure)
_ASKED, _NOTED = Shape(tuple[int, str, list[Any]]), Shape(list[Any])
_ending: set[asyncio.Task[Any]] = set()  # cancelled, not yet at their end: the loop alone would not keep them


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


class Host(Protocol):
    """What a kind of handler does for its children."""

    def answer(self, context: Context, operation: str, args: list[Any]) -> Any:
        """The value of an operation, or a coroutine of it.

        Raises:
            ProtocolError: the child may not ask for that, or not with these arguments.
            Exception: it failed; the child is told.
        """

    def fields(self, error: Exception) -> Any:
        """The plain data for an error of an operation."""

    def note(self, context: Context | None, args: list[Any]) -> None:
        """Write a log record of a call, or of none. Raises ProtocolError."""

    def ready(self, told: Any) -> None:
        """A child is ready; what its ``boot`` returned. Raises ProtocolError."""

    def died(self, death: Death) -> HandlerError:
        """The error of a call whose child is no more."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to make a child.

    ``site`` is ``module:class``; ``boot`` what its ``boot`` is given; ``is_closed``: see ChildProcess; ``seconds``:
    processor time of one call (None: no limit), which its code should keep by itself; the watch allows a little more.
    """

    site: str
    boot: Any
    host: Host
    is_closed: bool
    seconds: float | None


class _Call:
    __slots__ = ("context", "future", "tasks")

    def __init__(self, context: Context, future: asyncio.Future[Any]) -> None:
        self.context = context
        self.future = future
        self.tasks: dict[int, asyncio.Task[Any] | None] = {}
        """What it has asked for and not been answered, by ticket."""


class Worker:
    """A child process; ``on_gone`` is called once, when it takes no more calls. Use from one event loop."""

    def __init__(self, recipe: Recipe, on_gone: Callable[[Worker], None]) -> None:
        self._host = recipe.host
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, _Call] = {}
        self._tickets: dict[int, _Call] = {}
        self._last = 0
        self._late: Late = ""
        self._is_gone = False
        self.is_ready = False
        self._booted: asyncio.Future[None] = self._loop.create_future()
        self._process = ChildProcess(recipe.site, is_closed=recipe.is_closed)
        self._channel = Channel(self._process.end, self._on_frame, self._on_end)
        self._watch = Watch(self._process, recipe.seconds, lambda: self._kill("time"))
        self._channel.send(BOOT, 0, encode(recipe.boot))

    @property
    def load(self) -> int:
        """Calls under way."""
        return len(self._calls)

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self._process.pid

    async def booted(self) -> None:
        """Wait until it can be used. Raises what its ``boot`` failed with; then it is ended."""
        with self._watch.boot():
            await asyncio.shield(self._booted)

    async def run(self, kind: int, payload: bytes, context: Context) -> Any:
        """One HANDLE or CALL.

        A cancel ends the call in the child too, if need be with the child.
        """
        self._last = number = self._last % _MOST_NUMBER + 1
        call = self._calls[number] = _Call(context, self._loop.create_future())
        self._watch.begin(number)
        self._channel.send(kind, number, payload)
        try:
            return await asyncio.shield(call.future)
        except asyncio.CancelledError:
            if not call.future.done():
                await self._cancel(number, call)
            else:
                _seen(call.future)
            raise

    async def _cancel(self, number: int, call: _Call) -> None:
        self._channel.send(CANCEL, number)
        self._end_tasks(call)
        try:
            await asyncio.wait({call.future}, timeout=CANCEL_GRACE)
        finally:
            if not call.future.done():
                self._kill("cancel")
                call.future.add_done_callback(_seen)
            else:
                _seen(call.future)

    def _on_frame(self, kind: int, number: int, payload: bytes) -> None:
        self._watch.proven = True
        if kind == ASK and self.is_ready:
            self._ask(number, *_ASKED.read(payload))
        elif kind in (RESULT, FAILED) and number in self._calls:
            self._finish(number, kind, payload)
        elif kind == FORGET:
            self._forget(number)
        elif kind == NOTE:
            self._note(number, payload)
        elif kind in (READY, FAILED) and number == 0 and not self._booted.done():
            self._boot_ended(kind, payload)
        elif kind != PROOF:
            raise ProtocolError(f"a frame of kind {kind} that nobody waits for")

    def _note(self, number: int, payload: bytes) -> None:
        call = self._calls.get(number)
        try:
            self._host.note(call.context if call else None, _NOTED.read(payload))
        except (TypeError, ValueError, KeyError) as error:
            raise ProtocolError("a log record that cannot be read") from error

    def _boot_ended(self, kind: int, payload: bytes) -> None:
        if kind == READY:
            self._host.ready(_VALUE.read(payload))
            self.is_ready = True
            self._booted.set_result(None)
        else:
            self._booted.set_exception(_FAILURE.read(payload).error())
            self.close()

    def _finish(self, number: int, kind: int, payload: bytes) -> None:
        value = (_VALUE if kind == RESULT else _FAILURE).read(payload)
        call = self._calls.pop(number)
        self._watch.end(number)
        self._end_tasks(call)
        if call.future.done():
            return
        if kind == RESULT:
            call.future.set_result(value)
        elif value.type == "Cancelled":
            call.future.cancel()
        else:
            call.future.set_exception(value.error())

    def _ask(self, ticket: int, number: int, operation: str, args: list[Any]) -> None:
        call = self._calls.get(number)
        if call is None or ticket in self._tickets or len(self._tickets) >= _MOST_ASKED:
            raise ProtocolError(f"a question for {operation[:50]!r} out of turn")
        try:
            value = self._host.answer(call.context, operation, args)
        except ProtocolError:
            raise
        except Exception as error:
            self._answer(ticket, error)
            return
        if type(value) is not CoroutineType:
            self._answer(ticket, None, value)
            return
        task = self._loop.create_task(value)
        self._tickets[ticket] = call
        call.tasks[ticket] = task
        task.add_done_callback(lambda task: self._asked_ended(ticket, task))

    def _asked_ended(self, ticket: int, task: asyncio.Task[Any]) -> None:
        call = self._tickets.get(ticket)
        if call is None or call.tasks.get(ticket) is not task:
            if not task.cancelled():
                task.exception()  # nobody is left to be told
            return
        del self._tickets[ticket], call.tasks[ticket]
        if task.cancelled():
            self._answer(ticket, HandlerError("context canceled", retryable=False))
        elif (error := task.exception()) is None:
            self._answer(ticket, None, task.result())
        elif isinstance(error, Exception):
            self._answer(ticket, error)
        elif not call.future.done():
            call.future.set_exception(error)

    def _answer(self, ticket: int, error: Exception | None, value: Any = None) -> None:
        if error is None:
            try:
                self._channel.send(ANSWER, ticket, encode((True, value)))
                return
            except HandlerError as unfit:
                error = unfit
        self._channel.send(ANSWER, ticket, encode((False, self._host.fields(error))))

    def _forget(self, ticket: int) -> None:
        call = self._tickets.pop(ticket, None)
        if call is not None:
            _end(call.tasks.pop(ticket))

    def _end_tasks(self, call: _Call) -> None:
        for ticket in list(call.tasks):
            self._forget(ticket)

    def _kill(self, late: Late) -> None:
        self._late = self._late or late
        self._process.kill()
        self._doom()

    def _doom(self) -> None:
        self.is_ready = False
        if not self._is_gone:
            self._is_gone = True
            self._on_gone(self)

    def _on_end(self, problem: str) -> None:
        if problem:
            self._process.kill()
        self._doom()
        self._process.when_ended(lambda how: self._buried(problem, how))

    def _buried(self, problem: str, how: str) -> None:
        self._watch.stop()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            was_waiting = bool(call.tasks)
            self._end_tasks(call)
            if not call.future.done():
                death = Death(problem, how, self._late, was_waiting, len(calls) - 1)
                call.future.set_exception(self._host.died(death))
        if not self._booted.done():
            self._booted.set_exception(self._host.died(Death(problem, how, self._late, False, 0)))
            _seen(self._booted)

    def close(self) -> None:
        """Kill it; what is under way in it fails."""
        self._process.kill()
        self._channel.close()
        self._on_end("")

    def abandon(self) -> None:
        """Kill it from outside its event loop, which is gone."""
        self._process.kill()
        self._channel.close()

    async def ended(self) -> None:
        """Wait until its process is gone, after ``close`` or ``abandon``."""
        await self._process.ended()


def _end(task: asyncio.Task[Any] | None) -> None:
    if task is not None and not task.done():
        _ending.add(task)
        task.add_done_callback(_ending.discard)
        task.cancel()


def _seen(future: asyncio.Future[Any]) -> None:
    """Its error is nobody's."""
    if not future.cancelled():
        future.exception()
