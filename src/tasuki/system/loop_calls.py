"""Calls to an event loop in another thread, from a caller on its own loop or on none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

from tasuki.errors import DriverError

MakeError = Callable[[str, bool], Exception]
"""Makes a caller's error from a sentence, and whether the work may have begun."""


class Job(Protocol):
    """Work for a loop."""

    def begin(self) -> None:
        """On the loop."""

    def fail(self, error: Exception) -> None:
        """On any thread: the loop has failed, and will not answer; does nothing if it is answered."""


class SyncCall:
    """One coroutine under way, whose caller waits in a thread."""

    def __init__(self, work: Coroutine[Any, Any, Any], stopped: Callable[[], Exception]) -> None:
        self.answer: Future[Any] = Future()
        self._work = work
        self._stopped = stopped
        self._task: asyncio.Task[Any] | None = None

    def begin(self) -> None:
        """See Job."""
        self._task = asyncio.get_running_loop().create_task(self._work)
        self._task.add_done_callback(self._finished)

    def fail(self, error: Exception) -> None:
        """See Job."""
        if self._task is None:
            self._work.close()
        if not self.answer.done():
            self.answer.set_exception(error)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        if self.answer.done():
            return  # the loop has failed, and ends its remaining tasks
        if task.cancelled():
            self.answer.set_exception(self._stopped())
        elif (error := task.exception()) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())


class AsyncCall:
    """One verb under way: started and answered on the private loop, awaited on the caller's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        verb: Callable[[], Coroutine[Any, Any, Any]],
        undo: Callable[[Any], Coroutine[Any, Any, None]] | None,
        stopped: Callable[[], Exception],
        *,
        is_whole: bool,
    ) -> None:
        self.answer: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._verb = verb
        self._undo = undo
        self._stopped = stopped
        self._is_whole = is_whole
        self._task: asyncio.Task[Any] | None = None
        self._is_abandoned = False

    def begin(self) -> None:
        """See Job."""
        if self._is_abandoned and not self._is_whole:
            return
        self._task = asyncio.get_running_loop().create_task(self._verb())
        self._task.add_done_callback(self._finished)

    def abandon(self, tell: Callable[[Callable[[], object]], bool]) -> None:
        """On the caller's loop: no caller waits for the answer any more. ``tell`` calls on the private loop."""
        self._is_abandoned = True
        tell(self._cancel)  # False: the loop has ended, and everything on it

    def fail(self, error: Exception) -> None:
        """See Job."""
        with suppress(RuntimeError):  # the caller's loop is closed
            self._loop.call_soon_threadsafe(lambda: None if self.answer.done() else self.answer.set_exception(error))

    def _cancel(self) -> None:
        if self._task is None:
            return
        if self._task.done():
            self._take_back(self._task)
        elif not self._is_whole:
            self._task.cancel()

    def _finished(self, task: asyncio.Task[Any]) -> None:
        if self._is_abandoned:
            self._take_back(task)
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver, task)
        except RuntimeError:  # the caller's loop is closed
            self._take_back(task)

    def _deliver(self, task: asyncio.Task[Any]) -> None:
        """On the caller's loop."""
        if self.answer.done():
            return  # cancelled meanwhile: ``abandon`` has been called, or will be
        if task.cancelled():
            self.answer.set_exception(self._stopped())
        elif (error := task.exception()) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())

    def _take_back(self, task: asyncio.Task[Any]) -> None:
        """Undo a result without a caller; once, on the private loop."""
        undo, self._undo = self._undo, None
        if task.cancelled() or task.exception() is not None or undo is None:
            return
        undoing = asyncio.get_running_loop().create_task(_undone(undo, task.result()))
        _undoing.add(undoing)
        undoing.add_done_callback(_undoing.discard)


async def _undone(undo: Callable[[Any], Coroutine[Any, Any, None]], result: Any) -> None:
    with suppress(DriverError):  # the connection is lost, and its deliveries with it
        await undo(result)


_undoing: set[asyncio.Task[None]] = set()
"""Tasks under way, of all threads: a loop holds only weak references to them."""
