"""LoopThread: a thread with an event loop of its own, which callers on any loop give work to."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.system.event_loop import new_event_loop
from tasuki.system.helper_threads import HelperThread

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, None]]


class LoopThread:
    """A thread with an event loop; ``call`` runs coroutines there for callers on any loop.

    If the loop fails, all calls fail with it; ``let_go`` is the last thing on it, and a new one begins with
    ``begin_again``.
    """

    def __init__(self, name: str, let_go: Work | None = None, begin_again: Work | None = None) -> None:
        self.failure: BaseException | None = None
        """Why it does not work now."""
        self._pid = os.getpid()
        self._let_go, self._begin_again = let_go, begin_again
        self._loop = new_event_loop()
        self._calls: set[_Call] = set()
        self._is_over = False
        self._lock = threading.Lock()
        self._helper = HelperThread(name, self._run)
        try:
            self._helper.start()
        except BaseException:
            self._loop.close()
            raise

    @property
    def is_here(self) -> bool:
        """Whether it runs in this process: a thread does not survive a fork."""
        return self._pid == os.getpid()

    async def call(
        self,
        verb: Callable[[], Coroutine[Any, Any, T]],
        undo: Callable[[T], Coroutine[Any, Any, None]] | None = None,
        *,
        is_whole: bool = False,
    ) -> T:
        """What the verb gives, on the thread.

        If the caller is cancelled, so is the verb, unless it must be carried out whole; what it gives all the same is
        undone.
        """
        call = _Call(asyncio.get_running_loop(), verb, undo, is_whole=is_whole)
        with self._lock:  # what comes after the stop, from another thread, would never be answered
            if self._is_over:
                raise BrokerUnavailableError("the driver was closed meanwhile")
            if self.failure is not None:
                raise _unavailable(self.failure)
            loop = self._loop
            loop.call_soon_threadsafe(call.start)
            self._calls.add(call)
        is_answered = False
        try:
            result: T = await call.answer
            is_answered = True
        finally:
            self._calls.discard(call)
            if not is_answered:
                call.abandon(loop)
        return result

    def stop(self) -> None:
        """End what still runs, and the thread."""
        with self._lock:
            self._is_over = True
            self._helper.stop()
            with suppress(RuntimeError):  # its loop has failed
                self._loop.call_soon_threadsafe(self._loop.stop)
        self._helper.join()

    def _run(self, helper: HelperThread) -> None:
        if self.failure is not None:
            with self._lock:
                self._loop = new_event_loop()
        asyncio.set_event_loop(self._loop)
        try:
            if self.failure is not None and self._begin_again is not None:
                self._loop.run_until_complete(self._begin_again())
            self.failure = None
            helper.works()
            self._loop.run_forever()
            if not self._is_over:
                raise RuntimeError("its event loop was stopped")
            self._end()
        except BaseException as error:
            self._fail(error)
            self._leave()
            raise
        finally:
            asyncio.set_event_loop(None)
            with suppress(OSError):  # its files may be what failed
                self._loop.close()

    def _leave(self) -> None:
        """End what is left on a loop that has failed, as far as that still runs."""
        with suppress(BaseException):
            if self._let_go is not None:
                self._loop.run_until_complete(self._let_go())
        with suppress(BaseException):
            self._end()

    def _end(self) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    def _fail(self, error: BaseException) -> None:
        """Let nobody wait for an answer that does not come."""
        with self._lock:
            self.failure = error
            calls, self._calls = self._calls, set()
        for call in calls:
            call.fail(_unavailable(error))


def _unavailable(failure: BaseException) -> BrokerUnavailableError:
    problem = f"the thread of the driver failed and begins again: {type(failure).__name__}: {failure}"
    error = BrokerUnavailableError(problem, outcome="unknown")
    error.__cause__ = failure
    return error


class _Call:
    """One verb under way: started and answered on the private loop, awaited on the caller's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        verb: Callable[[], Coroutine[Any, Any, Any]],
        undo: Callable[[Any], Coroutine[Any, Any, None]] | None,
        *,
        is_whole: bool,
    ) -> None:
        self.answer: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._verb = verb
        self._undo = undo
        self._is_whole = is_whole
        self._task: asyncio.Task[Any] | None = None
        self._is_abandoned = False

    def start(self) -> None:
        """On the private loop."""
        if self._is_abandoned and not self._is_whole:
            return
        self._task = asyncio.get_running_loop().create_task(self._verb())
        self._task.add_done_callback(self._finished)

    def abandon(self, private: asyncio.AbstractEventLoop) -> None:
        """On the caller's loop: nobody waits for the answer any more."""
        self._is_abandoned = True
        try:
            private.call_soon_threadsafe(self._cancel)
        except RuntimeError:
            pass  # it has ended, and everything on it

    def fail(self, error: DriverError) -> None:
        """On any thread: the private loop has failed."""
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
            self.answer.set_exception(BrokerUnavailableError("the driver was closed meanwhile"))
        elif (error := task.exception()) is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(task.result())

    def _take_back(self, task: asyncio.Task[Any]) -> None:
        """Undo what was done for nobody; once, on the private loop."""
        undo, self._undo = self._undo, None
        if task.cancelled() or task.exception() is not None or undo is None:
            return
        undoing = asyncio.get_running_loop().create_task(self._undone(undo, task.result()))
        _undoing.add(undoing)
        undoing.add_done_callback(_undoing.discard)

    @staticmethod
    async def _undone(undo: Callable[[Any], Coroutine[Any, Any, None]], result: Any) -> None:
        try:
            await undo(result)
        except DriverError:
            pass  # the connection is lost, and with it what was to be given back


_undoing: set[asyncio.Task[None]] = set()
"""Tasks under way, of all drivers: a loop holds only weak references to them."""
