"""Budget: the computing time of one call, with all that it calls.

The hook in Lua sees only the instructions of one script. What Python does for it, and what the functions that it calls
use, is measured here and told to the runtime now and then; a function that is called has no more than its callers have
left. Only computing counts: the stop watch stands while the event loop has its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context as Variables
from contextvars import ContextVar
from threading import Lock, get_ident
from time import thread_time
from types import coroutine
from typing import Any

from tasuki.errors import HandlerError, LuaLimitError
from tasuki.handlers.lua.host.runtime import Runtime
from tasuki.handlers.lua.script import LuaLimits

MOST_DEPTH = 32
"""Calls of scripts within each other."""

_TELL = 0.005
"""Seconds of work between two reports: rare enough to cost nothing."""
_lock = Lock()


class Budget:
    """``limit`` seconds of one call, of which ``used`` are gone; a stop watch of its thread that runs from now on.

    ``caller``: the budget of the call that it is made by, perhaps in another thread. ``is_remote``: the call computes
    in another process, so that nothing is measured here.
    """

    __slots__ = ("_since", "_told", "beside", "caller", "depth", "is_open", "limit", "own", "thread")

    def __init__(
        self, limit: float, caller: Budget | None = None, *, used: float = 0.0, is_remote: bool = False
    ) -> None:
        self.limit = limit
        self.caller = caller
        self.depth: int = 1 if caller is None else caller.depth
        self.own = used
        """Seconds used in its own thread."""
        self.beside = 0.0
        """Seconds used for it in other threads and processes."""
        self._told = 0.0
        self.thread = 0 if is_remote else get_ident()
        self.is_open = True
        self._since = None if is_remote else thread_time()

    @staticmethod
    def of_caller() -> Budget | None:
        """The budget of the running call, if there is one."""
        caller = _calling.get()
        return caller if caller is not None and caller.is_open else None

    @classmethod
    def of_call(cls, function: str, limits: LuaLimits, *, is_remote: bool = False) -> Budget:
        """The budget of a function that is called, perhaps by a script.

        Raises:
            HandlerError: Invalid: too many calls within each other.
            LuaLimitError: its callers have no time left.
        """
        caller = cls.of_caller()
        if caller is None:
            return cls(limits.time, is_remote=is_remote)
        if caller.depth >= MOST_DEPTH:
            text = f"{function}: calls are nested deeper than {MOST_DEPTH} levels; does a function call itself?"
            raise HandlerError(text, kind="Invalid", retryable=False)
        if caller.left <= 0:
            raise LuaLimitError(limits.describe("time"), limit="time")
        made = cls(limits.time, caller, is_remote=is_remote)
        made.depth += 1
        return made

    @property
    def left(self) -> float:
        """Seconds that it may still use, and so may all its callers."""
        own = self.limit - self.own - self.beside
        if self._since is not None and self.thread == get_ident():
            own -= thread_time() - self._since
        return own if self.caller is None else min(own, self.caller.left)

    @property
    def used(self) -> float:
        """The seconds that are gone for it, be it that a caller has used them."""
        return self.limit - self.left

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Calls within the block, and by tasks that begin in it, count for this budget, which ends with the block."""
        token = _calling.set(self)
        try:
            yield
        finally:
            _calling.reset(token)
            self.pause()
            self.is_open = False  # later work belongs to no call

    def use(self, seconds: float) -> None:
        """Count seconds here and for callers in other threads; the stop watches of callers in this thread saw them."""
        self.own += seconds
        caller = self.caller
        if caller is not None and caller.thread != self.thread:
            with _lock:
                while caller is not None:
                    caller.beside += seconds
                    caller = caller.caller

    def pause(self) -> None:
        """The event loop has its turn."""
        if self._since is not None:
            seconds, self._since = thread_time() - self._since, None
            self.use(seconds)

    def go_on(self) -> None:
        """It has its turn again."""
        self._since = thread_time()

    def tell(self, runtime: Runtime, id: int) -> None:
        """Report to an invocation that is between two steps, if there is something new."""
        if (used := self.used) - self._told > _TELL:
            self._told = used
            runtime.spend(id, used)

    @coroutine
    def measured(self, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await it, and measure its steps."""
        step, given = work.send, None
        while True:
            try:
                waits_for = step(given)
            except StopIteration as end:
                return end.value
            self.pause()
            try:
                given = yield waits_for
                step = work.send
            except BaseException as error:
                given, step = error, work.throw
            finally:
                self.go_on()

    def in_task(self, work: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """The same for its own task, which has its turns while this waits."""
        return _Measured(list(self._payers()), work)

    def _payers(self) -> Iterator[Budget]:
        """It and its callers, as far as they are of this thread."""
        payer: Budget | None = self
        while payer is not None and payer.thread == self.thread:
            yield payer
            payer = payer.caller


class _Measured(Coroutine[Any, Any, Any]):
    """In each step the watches of the call and of its callers run, which stand otherwise: all of them wait for it."""

    def __init__(self, payers: Sequence[Budget], work: Coroutine[Any, Any, Any]) -> None:
        self._payers = payers
        self._work = work

    def _step(self, step: Callable[..., Any], *given: Any) -> Any:
        for payer in self._payers:
            payer.go_on()
        try:
            return step(*given)
        finally:
            for payer in self._payers:
                payer.pause()

    def send(self, value: Any) -> Any:
        return self._step(self._work.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._work.throw, *error)

    def close(self) -> None:
        self._work.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._work.__await__()


_calling: ContextVar[Budget | None] = ContextVar("tasuki_lua_budget", default=None)


def budget_in(variables: Variables) -> Budget | None:
    """The budget of the call that has these context variables."""
    return variables.get(_calling)


async def errand(work: Coroutine[Any, Any, Any]) -> Any:
    """Await what a call asks for in another thread or process than its own, on its budget."""
    caller = Budget.of_caller()
    if caller is None:
        return await work
    made = Budget(caller.limit, caller)
    with made.calling():
        return await made.measured(work)
