"""LoopThread: a thread with its own event loop, which callers on any loop, or on none, give work to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from tasuki.errors import DriverError
from tasuki.system import signals
from tasuki.system.threads import HelperThread


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop, or of asyncio where uvloop is not installed.

    Safe to run in any thread: uvloop takes over the signals of the process in its main thread alone.

    Raises:
        OSError: no descriptors are left for it.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


MakeError = Callable[[str, bool], Exception]
"""Makes a caller's error from a sentence, and whether the work may have begun."""


class LoopWork(Protocol):
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


T = TypeVar("T")

Work = Callable[[], Coroutine[Any, Any, Any]]


def _refusal(problem: str, is_begun: bool) -> Exception:
    return RuntimeError(problem)


async def _wait() -> None:
    await asyncio.get_running_loop().create_future()


class LoopThread:
    """A thread with an event loop, started by the first work, or by ``start``; it ends with ``stop``.

    If the loop fails, or cannot be made, all work on it fails as well; after a pause the thread begins again with a new
    loop, and refuses work until then. What a forked child inherits is the parent's: it does nothing there.

    Args:
        name: the name of the thread, for logs, health and errors.
        error: makes the errors of callers, from a sentence and whether their work may have begun.
        begin_again: runs first on each loop after one that has failed; the thread is of use when it returns.
        let_go: runs last on each loop, also on one that has failed, as far as that still runs.
        work: runs beside the work of callers, until ``stop``; the loop fails with it.
    """

    def __init__(
        self,
        name: str,
        error: MakeError = _refusal,
        *,
        begin_again: Work | None = None,
        let_go: Work | None = None,
        work: Work | None = None,
    ) -> None:
        self.name = name
        self.failure: BaseException | None = None
        """Why it does not work now."""
        self._error = error
        self._begin_again, self._let_go, self._work = begin_again, let_go, work or _wait
        self._forks = signals.fork_count
        self._lock = threading.Lock()
        self._helper: HelperThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        """Set on the loop by ``stop``: ``loop.stop`` would, a second time, also stop what runs last."""
        self._jobs: set[LoopWork] = set()
        self._early: list[Callable[[], None]] = []
        """What begins as soon as there is a loop."""
        self._is_over = False

    @property
    def is_here(self) -> bool:
        """Whether it belongs to this process: a thread does not survive a fork."""
        return self._forks == signals.fork_count

    def start(self) -> None:
        """Begin before the first work. Raises RuntimeError when the system has no thread for it."""
        with self._lock:
            self._start()

    def _start(self) -> None:
        if self._helper is None:
            helper = HelperThread(self.name, self._run)
            helper.start()
            self._helper = helper

    def submit(self, job: LoopWork) -> None:
        """Begin a job on the loop; its owner calls ``discard`` at its end. Raises ``error``: it will not begin."""
        if not self.is_here:  # before the lock, which another thread may have held at the fork
            raise self._error(f"thread {self.name!r} belongs to the parent process", False)
        with self._lock:  # a job that came after the stop, from another thread, would never be answered
            if self._is_over:
                raise self._error(f"thread {self.name!r} was stopped", False)
            if self.failure is not None:
                raise self._failed(self.failure, is_begun=False)
            try:
                self._start()
            except RuntimeError as problem:
                raise self._error(f"cannot start thread {self.name!r}: {problem}", False) from problem
            if self._loop is None:
                self._early.append(job.begin)
            else:
                self._loop.call_soon_threadsafe(job.begin)
            self._jobs.add(job)

    def discard(self, job: LoopWork) -> None:
        """A job has ended, or has no caller any more."""
        self._jobs.discard(job)

    def tell(self, what: Callable[[], object]) -> bool:
        """Call a function on the loop; False: there is no loop now."""
        loop = self._loop
        if loop is None or not self.is_here:
            return False
        try:
            loop.call_soon_threadsafe(what)
        except RuntimeError:  # it is closed
            return False
        return True

    async def call(
        self,
        verb: Callable[[], Coroutine[Any, Any, T]],
        undo: Callable[[T], Coroutine[Any, Any, None]] | None = None,
        *,
        is_whole: bool = False,
    ) -> T:
        """The result of the verb, on the thread.

        If the caller is cancelled, so is the verb, unless it must be carried out whole; a result that it has all the
        same is undone.
        """
        call = AsyncCall(asyncio.get_running_loop(), verb, undo, self._stopped, is_whole=is_whole)
        self.submit(call)
        is_answered = False
        try:
            result: T = await call.answer
            is_answered = True
        finally:
            self.discard(call)
            if not is_answered:
                call.abandon(self.tell)
        return result

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine on the thread, for a caller without a loop, who is blocked meanwhile."""
        call = SyncCall(work, self._stopped)
        try:
            self.submit(call)
        except BaseException:
            work.close()
            raise
        try:
            result: T = call.answer.result()
            return result
        finally:
            self.discard(call)

    def stop(self) -> None:
        """Cancel the work on it and let the thread end, without waiting for that."""
        if not self.is_here:
            return
        with self._lock:
            self._is_over = True
            if self._helper is not None:
                self._helper.stop()
            over = self._over
        if over is None:
            self._fail(self._stopped(is_begun=False))  # ``_serve`` will begin none
        else:
            self.tell(over.set)

    def join(self) -> None:
        """Wait for the end of a thread that was stopped."""
        if self.is_here and self._helper is not None:
            self._helper.join()

    async def close(self, last: Work) -> None:
        """Run ``last`` on the loop, to its end, and end the thread. Raises what ``last`` raises."""
        try:
            if self.is_here and self._helper is not None and not self._is_over and self.failure is None:
                await self.call(last, is_whole=True)
        finally:
            self.stop()
            self.join()

    def _run(self, helper: HelperThread) -> None:
        try:
            loop = new_event_loop()
        except BaseException as error:
            self._break(error)
            raise
        asyncio.set_event_loop(loop)
        try:
            self._serve(loop, helper)
        except BaseException as error:
            self._break(error)
            with suppress(BaseException):  # the error above is already reported
                self._end(loop)
            raise
        else:
            self._end(loop)
        finally:
            asyncio.set_event_loop(None)
            with suppress(OSError):  # its files may be what failed
                loop.close()

    def _serve(self, loop: asyncio.AbstractEventLoop, helper: HelperThread) -> None:
        with self._lock:
            if self._is_over:
                return
            self._loop, self._over = loop, (over := asyncio.Event())
            for begin in self._early:
                loop.call_soon(begin)
            self._early = []
        if self.failure is not None and self._begin_again is not None:
            loop.run_until_complete(self._begin_again())
        self.failure = None
        helper.works()
        work = loop.create_task(self._work(), name=self.name)
        ends = work, loop.create_task(over.wait())
        loop.run_until_complete(asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED))
        if not self._is_over:
            work.result()
            raise RuntimeError("its work has ended")

    def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(BaseException):  # a loop that has failed may fail again
            if self._let_go is not None:
                loop.run_until_complete(self._let_go())
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())

    def _break(self, error: BaseException) -> None:
        with self._lock:
            self.failure, self._loop, self._over = error, None, None
        self._fail(self._failed(error, is_begun=True))

    def _fail(self, error: Exception) -> None:
        """Let no caller wait for an answer that does not come."""
        with self._lock:
            jobs, self._jobs, self._early = self._jobs, set(), []
        for job in jobs:
            job.fail(error)

    def _failed(self, failure: BaseException, *, is_begun: bool) -> Exception:
        text = f"{type(failure).__name__}: {failure}"
        error = self._error(f"thread {self.name!r} failed and begins again: {text}", is_begun)
        error.__cause__ = failure
        return error

    def _stopped(self, *, is_begun: bool = True) -> Exception:
        return self._error(f"thread {self.name!r} was stopped", is_begun)
