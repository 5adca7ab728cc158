"""A pool of threads for plain functions: few while these are short, and one wake-up for all that end together."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from queue import SimpleQueue
from typing import Any, Protocol
from weakref import WeakSet

from tasuki.system import signals

_PERIOD = 0.01
"""Seconds after which the pool has more threads, if it has not caught up with its calls; a thread may have waited for
the interpreter's lock for half of them."""

_QUICK = 50
"""Calls that a thread ends in a period if they take 0.2 ms each: of longer ones, another thread costs a tenth at most,
and does as much again if they wait for something."""


def more_threads(waiting: int, ended: int, threads: int, size: int) -> int:
    """How many to start after a period: for each thread three, at most, if they are late or calls are long."""
    is_late = waiting > ended or ended < _QUICK * threads
    return min(waiting, 3 * threads, size - threads) if is_late else 0


def tell(loop: asyncio.AbstractEventLoop, what: Callable[[], Any]) -> bool:
    """Call a function in the loop of another thread; False: that loop is closed."""
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:
        return False
    return True


class PooledCall(Protocol):
    """What a thread runs, for a coroutine that waits."""

    def work(self) -> None:
        """Run, and tell the end; never raises. In the thread."""

    def end(self) -> None:
        """Let the coroutine go on. In its loop."""


class Ends:
    """Tells the calls of one loop that they have ended: all that end while the loop is busy, in one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._ended: deque[PooledCall] = deque()
        self._is_waking = False

    def add(self, call: PooledCall) -> None:
        """In any thread."""
        self._ended.append(call)
        if not self._is_waking:
            self._is_waking = True
            if not tell(self.loop, self._tell):
                self._ended.clear()

    def _tell(self) -> None:
        self._is_waking = False  # first: a call that ends now wakes the loop again
        while self._ended:
            self._ended.popleft().end()


class TakesCalls(Protocol):
    """Something that runs calls; see :class:`tasuki.handlers.thread_pool.ThreadPool`."""

    def put(self, call: PooledCall, loop: asyncio.AbstractEventLoop) -> None:
        """Run a call of this loop soon."""


POOL: ContextVar[TakesCalls | None] = ContextVar("pool", default=None)
"""Runs all plain functions of this context in place of pools of threads; None: each handler has a pool."""


class ThreadPool:
    """Up to ``size`` threads. One is enough for functions that compute for microseconds.

    A thread that waits for the interpreter's lock costs more than such a function. So others start only where calls
    still wait after 10 ms, and as ``more_threads`` says.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name, self._size = name, size
        self._calls: SimpleQueue[PooledCall | None] = SimpleQueue()
        self._numbers = count()
        self._threads = 0
        self._watched_by: asyncio.AbstractEventLoop | None = None
        """The loop that has a timer for ``_grow``; one that was closed never runs it."""
        self._ended = self._ended_then = 0
        self.forks = signals.fork_count
        """A forked child has none of its threads."""
        self.is_closed = False
        _pools.add(self)

    def put(self, call: PooledCall, loop: asyncio.AbstractEventLoop) -> None:
        """Run a call of this loop soon. Raises RuntimeError: no thread can be started."""
        if not self._threads:
            self._start()
        self._calls.put(call)
        if self.is_closed:  # meanwhile, at the end of the interpreter: here, unless a thread has taken it
            call.work()
        elif self._watched_by is not loop and self._threads < self._size:
            self._watch(loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watched_by, self._ended_then = loop, self._ended
        loop.call_later(_PERIOD, self._grow, loop)

    def _grow(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watched_by = None
        waiting = self._calls.qsize()
        if not waiting or self.is_closed:
            return
        for _ in range(more_threads(waiting, self._ended - self._ended_then, self._threads, self._size)):
            self._start()
        if self._threads < self._size:  # also where it has caught up: the next call may block the only thread
            self._watch(loop)

    def _start(self) -> None:
        # Not a daemon: the interpreter waits for a function that runs.
        threading.Thread(target=self._work, name=f"{self._name}_{next(self._numbers)}").start()
        self._threads += 1

    def _work(self) -> None:
        calls = self._calls
        while (call := calls.get()) is not None:
            call.work()
            self._ended += 1  # not exact, with several threads
            del call  # an idle thread keeps nothing alive

    def close(self) -> None:
        """Let the threads end when all calls have; does not wait for them."""
        if self.is_closed or self.forks != signals.fork_count:
            return
        self.is_closed = True
        for _ in range(min(self._calls.qsize(), self._size - self._threads)):
            self._start()
        for _ in range(self._threads):
            self._calls.put(None)


_pools: WeakSet[ThreadPool] = WeakSet()
_is_exiting = False


def is_exiting() -> bool:
    """Whether the interpreter ends: no thread can be started any more."""
    return _is_exiting


def _close_all() -> None:
    """Before the interpreter waits for all threads."""
    global _is_exiting
    _is_exiting = True
    for pool in list(_pools):
        pool.close()


_at_exit: Any = threading._register_atexit  # type: ignore[attr-defined]  # noqa: SLF001 - as concurrent.futures does
_at_exit(_close_all)
