"""The Python side of an invocation with several coroutines: what they wait for runs side by side; see scheduler.lua."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from types import CoroutineType
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.handlers.lua.host.budget import Budget
from tasuki.handlers.lua.host.errors import describe
from tasuki.handlers.lua.host.outbound import build
from tasuki.handlers.lua.host.runtime import Runtime
from tasuki.handlers.lua.modules import Operation
from tasuki.units import format_size

BEGINS, IDLE = 6, 7
"""What ``host.run`` and its kin answer beside the codes in preamble.lua."""

MOST_UNDER_WAY = 10_000
"""Operations that one invocation may wait for at a time: they take memory that is not the script's."""

_VALUE_BYTES = 64
"""About what a value takes in Python, beside the bytes of a text."""
_PROCEED = 0
_TOO_MANY = {"message": f"more than {MOST_UNDER_WAY} operations under way", "kind": "Internal", "retryable": False}
_CANCELED = {"message": "context canceled", "kind": "", "retryable": False}
MOST_ENDING = 100
"""Cancelled operations that may wait for their end before the event loop has its turn."""
_ending: set[asyncio.Task[Any]] = set()  # cancelled, not yet at their end: the loop alone would not keep them


class Concurrency:
    """Does what the coroutines of one invocation ask for, and wakes each of them when its answer is there."""

    def __init__(self, runtime: Runtime, operations: Mapping[str, Operation], context: Context, budget: Budget) -> None:
        self._runtime = runtime
        self._budget = budget
        self._operations = operations
        self._context = context
        self._tasks: dict[int, asyncio.Task[Any]] = {}
        self._sizes: dict[int, int] = {}
        self._size = 0
        self._done: deque[int] = deque()
        self._leaving: set[asyncio.Task[Any]] = set()
        self._wake: asyncio.Future[None] | None = None

    async def drive(self, reply: Any) -> Any:
        """From a BEGINS or IDLE to the reply that ends the invocation; remaining operations are cancelled then."""
        id = reply[1]
        try:
            while type(reply) is tuple and reply[0] >= BEGINS:
                if len(self._leaving) > MOST_ENDING:
                    await self._wait(asyncio.sleep(0))
                reply = self._begin(*reply[1:]) if reply[0] == BEGINS else await self._next(id, breathe=reply[2])
            return reply
        except BaseException:
            self._runtime.drop(id)
            raise
        finally:
            for ticket in list(self._tasks):
                self._cancel(ticket)

    def _resume(self, id: int, value: Any, ticket: int) -> Any:
        self._budget.tell(self._runtime, id)
        return self._runtime.resume(id, value, ticket)

    def _fail(self, id: int, problem: Mapping[str, Any], ticket: int) -> Any:
        self._budget.tell(self._runtime, id)
        return self._runtime.fail(id, problem, ticket)

    def _begin(self, id: int, ticket: int, name: str, shape: Any, *values: Any) -> Any:
        try:
            if name == "cancel":
                self._cancel(values[0])
                return self._resume(id, None, ticket)
            value = self._operations[name](self._context, *(build(shape, values) if shape else values))
        except Exception as error:
            return self._fail(id, describe(error), ticket)
        if type(value) is not CoroutineType:
            return self._resume(id, value, ticket)
        if (problem := self._hold(ticket, values)) is not None:
            value.close()
            return self._fail(id, problem, ticket)
        task = self._tasks[ticket] = asyncio.get_running_loop().create_task(self._budget.in_task(value))
        task.add_done_callback(partial(self._finished, ticket))
        return self._resume(id, None, _PROCEED)

    def _hold(self, ticket: int, values: Sequence[Any]) -> dict[str, Any] | None:
        """Count what an operation is given; or why it cannot be: a text that is one in Lua is one here for each."""
        size = len(values) * _VALUE_BYTES + sum([len(value) for value in values if type(value) is str])
        most = self._runtime.limits.memory
        if len(self._tasks) + len(self._leaving) >= MOST_UNDER_WAY:
            return _TOO_MANY
        if self._tasks and self._size + size > most:
            text = (
                f"more than {format_size(most)} given to operations under way; limits.memory of the entry allows more"
            )
            return {"message": text, "kind": "Internal", "retryable": False}
        self._sizes[ticket] = size
        self._size += size
        return None

    def _pop(self, ticket: int) -> asyncio.Task[Any] | None:
        self._size -= self._sizes.pop(ticket, 0)
        return self._tasks.pop(ticket, None)

    def _finished(self, ticket: int, task: asyncio.Task[Any]) -> None:
        if self._tasks.get(ticket) is task:
            self._done.append(ticket)
            if self._wake is not None and not self._wake.done():
                self._wake.set_result(None)

    async def _next(self, id: int, *, breathe: bool) -> Any:
        if breathe:
            await self._wait(asyncio.sleep(0))
        while not (ticket := self._take()):
            if breathe:
                return self._resume(id, None, _PROCEED)
            self._wake = asyncio.get_running_loop().create_future()
            await self._wait(self._wake)
        task = self._pop(ticket)
        assert task is not None  # _take has seen it
        return self._answer(id, ticket, task)

    async def _wait(self, for_: Awaitable[None]) -> None:
        self._budget.pause()
        try:
            await for_
        finally:
            self._budget.go_on()

    def _take(self) -> int | None:
        while self._done:
            if (ticket := self._done.popleft()) in self._tasks:
                return ticket
        return None

    def _answer(self, id: int, ticket: int, task: asyncio.Task[Any]) -> Any:
        if task.cancelled():
            return self._fail(id, _CANCELED, ticket)
        error = task.exception()
        if isinstance(error, Exception):
            return self._fail(id, describe(error), ticket)
        if error is not None:
            raise error
        return self._resume(id, task.result(), ticket)

    def _cancel(self, ticket: int) -> None:
        task = self._pop(ticket)
        if task is not None:
            _ending.add(task)
            self._leaving.add(task)
            task.add_done_callback(_ended)
            task.add_done_callback(self._leaving.discard)
            task.cancel()


def _ended(task: asyncio.Task[Any]) -> None:
    _ending.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not log it
