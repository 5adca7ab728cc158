"""Worker: one child process and the calls that are under way in it, as the worker's own process sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from tasuki.contracts.handler import Context
from tasuki.handlers.process.failure import Failure
from tasuki.handlers.process.process import ChildProcess, Watch
from tasuki.handlers.process.protocol import (
    ASK,
    BOOT,
    CANCEL,
    COST,
    FAILED,
    FORGET,
    NOTE,
    PROOF,
    READY,
    RESULT,
    Channel,
    ProtocolError,
    Shape,
    encode,
)
from tasuki.handlers.process.questions import Call, Death, Host, Late, Questions

CANCEL_GRACE = 0.5
"""Seconds that a child has to end a call that was cancelled, before it is killed."""
_MOST_NUMBER = 2**32 - 1

_VALUE, _FAILURE = Shape(Any), Shape(Failure)
_ASKED, _NOTED, _SECONDS = Shape(tuple[int, str, list[Any], float]), Shape(list[Any]), Shape(float)


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


class Worker:
    """A child process; ``on_gone`` is called once, when it takes no more calls. Use from one event loop."""

    def __init__(self, recipe: Recipe, on_gone: Callable[[Worker], None]) -> None:
        self._host = recipe.host
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Call] = {}
        self._last = 0
        self.runs = 0
        """Messages and calls that it was given."""
        self.started = self._loop.time()
        self._late: Late = ""
        self._is_gone = False
        self.is_ready = False
        self._booted: asyncio.Future[None] = self._loop.create_future()
        self._process = ChildProcess(recipe.site, is_closed=recipe.is_closed)
        self._channel = Channel(self._process.end, self._on_frame, self._on_end)
        self._questions = Questions(self._host, self._channel)
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
        """Wait until it can be used. If its ``boot`` fails, end it and raise the error."""
        with self._watch.boot():
            await asyncio.shield(self._booted)

    async def run(self, kind: int, payload: bytes, context: Context) -> Any:
        """One HANDLE or CALL.

        A cancel ends the call in the child too, if need be with the child.
        """
        self.runs += 1
        self._last = number = self._last % _MOST_NUMBER + 1
        call = self._calls[number] = Call(context, self._loop.create_future())
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
        except BaseException:
            if number in self._calls:  # a function that it has called ends it, as that one sleeps
                call.future = self._loop.create_future()
                await self._cancel(number, call)
            raise

    async def _cancel(self, number: int, call: Call) -> None:
        self._channel.send(CANCEL, number)
        self._questions.end(call)
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
            parts = self._questions.weigh(payload)
            asked, operation, args, seconds = _ASKED.read(payload)
            call = self._calls.get(asked)
            if call is not None:
                self._charge(call, seconds)
            self._questions.ask(call, number, operation, args, size=len(payload), parts=parts)
        elif kind in (RESULT, FAILED) and number in self._calls:
            self._finish(number, kind, payload)
        elif kind == FORGET:
            self._questions.forget(number)
        elif kind == NOTE:
            self._note(number, payload)
        elif kind == COST and number in self._calls:
            self._charge(self._calls[number], _SECONDS.read(payload))
        elif kind in (READY, FAILED) and number == 0 and not self._booted.done():
            self._boot_ended(kind, payload)
        elif kind != PROOF:
            raise ProtocolError(f"an unexpected frame of kind {kind}")

    def _note(self, number: int, payload: bytes) -> None:
        call = self._calls.get(number)
        try:
            self._host.note(call.context if call else None, _NOTED.read(payload))
        except (TypeError, ValueError, KeyError) as error:
            raise ProtocolError("a log record that cannot be read") from error

    def _charge(self, call: Call, seconds: float) -> None:
        if not 0 <= seconds < inf:
            raise ProtocolError(f"a cost of {seconds} seconds")
        self._host.charge(call.variables, seconds)

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
        self._questions.end(call)
        if call.future.done():
            return
        if kind == RESULT:
            call.future.set_result(value)
        elif value.type == "Cancelled":
            call.future.cancel()
        else:
            call.future.set_exception(value.error())

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
            self._questions.end(call)
            if not call.future.done():
                death = Death(problem, how, self._late, was_waiting, len(calls) - 1)
                call.future.set_exception(self._host.died(death))
        if not self._booted.done():
            self._booted.set_exception(self._host.died(Death(problem, how, self._late, False, 0)))
            _seen(self._booted)

    def close(self) -> None:
        """Kill it; its messages and calls fail."""
        self._process.kill()
        self._channel.close()
        self._on_end("")

    def abandon(self) -> None:
        """Kill it from outside its event loop, which is gone."""
        self._process.bury()
        self._channel.close()

    async def ended(self) -> None:
        """Wait until its process is gone, after ``close`` or ``abandon``."""
        await self._process.ended()


def _seen(future: asyncio.Future[Any]) -> None:
    """Retrieve the error, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()
