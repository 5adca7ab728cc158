"""Run plain functions in worker threads, and work on event loops in other threads; wait for them in every case."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType
from typing import Any, TypeVar

from tasuki.contracts.context import Around
from tasuki.contracts.handler import Interrupted
from tasuki.errors import HandlerError, safe_text
from tasuki.handlers.thread_pool import POOL, Ends, ThreadPool, is_exiting, tell
from tasuki.system import signals

T = TypeVar("T")


async def run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the loop of another thread.

    A cancel is passed on, and then its end is waited for: a step that computes cannot be stopped.

    Raises:
        HandlerError: that loop is closed.
    """
    job = ThreadWork(work, partial(tell, loop))
    if not tell(loop, job.begin):
        job.fail(HandlerError("the handler is stopped", kind="Internal", retryable=True))
    return await job.result()


async def outcome_of(job: Future[T], cancel: Callable[[], object]) -> T:
    """The result of what another thread does.

    A cancel of the caller is passed on with ``cancel``, and then the end of the job is waited for all the same: it may
    be one that cannot be stopped.
    """
    cancelled = await end_of(job, cancel)
    if cancelled is not None:
        raise cancelled
    return job.result()


async def end_of(job: Future[Any], cancel: Callable[[], object]) -> asyncio.CancelledError | None:
    """Return when a job of another thread has ended; with the caller's cancellation, if one came and was passed on."""
    loop = asyncio.get_running_loop()
    cancelled: asyncio.CancelledError | None = None
    while not job.done():
        ended: asyncio.Future[None] = loop.create_future()
        # Called at once where the job has ended meanwhile; a closed loop needs no wake-up.
        job.add_done_callback(partial(_wake, loop, ended))
        try:
            await ended
        except asyncio.CancelledError as error:
            cancelled = error
            cancel()
    return cancelled


def _wake(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[None], job: Future[Any]) -> None:
    tell(loop, lambda: None if ended.done() else ended.set_result(None))


async def end_all() -> None:
    """Cancel all other tasks of this loop and wait for their ends."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class ThreadWork:
    """A coroutine in another loop; ``outcome``: its result and its error, both as values. See system.loop_calls.Job.

    ``tell`` calls a function in that loop, and returns False if it has ended, or has not begun.
    """

    def __init__(self, work: Coroutine[Any, Any, Any], tell: Callable[[Callable[[], Any]], bool]) -> None:
        self.outcome: Future[tuple[Any, BaseException | None]] = Future()
        self._work = work
        self._tell = tell
        self._context = contextvars.Context()
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False

    async def result(self) -> Any:
        """See ``run_in``."""
        value, problem = await outcome_of(self.outcome, self.cancel)
        if problem is not None:
            raise problem
        return value

    def fail(self, error: Exception) -> None:
        """Its loop has failed, and will not end it; in the thread of that loop."""
        with suppress(RuntimeError):  # it would not end
            self._context.run(self._work.close)  # here: a garbage collector would do it in any thread
        if not self.outcome.done():
            self.outcome.set_result((None, error))

    def begin(self) -> None:
        """In its loop."""
        self._context = contextvars.copy_context()  # the loop's own
        self._task = asyncio.get_running_loop().create_task(self._work, context=self._context)
        self._task.add_done_callback(self._end)
        if self._is_cancelled:
            self._task.cancel()

    def _end(self, task: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not self.outcome.done():  # else the loop has failed, and ends its remaining tasks
            self.outcome.set_result((None if error else task.result(), error))

    def cancel(self) -> None:
        """Cancel it where it waits."""
        self._is_cancelled = True
        self._tell(lambda: self._task and self._task.cancel())


Outcome = tuple[Any, BaseException | None]

RunOn = Callable[[Any], Coroutine[Any, Any, Any]]


_MOST_LOOKS = 5
"""Attempts to read the frames of a thread that runs meanwhile; one that hangs is read at the first."""


_running: dict[asyncio.Task[Any] | None, _Call] = {}
"""The calls under way, by the task that waits for each."""


_here = threading.local()
"""``call``: the call that this thread runs."""


def interrupt(task: asyncio.Task[Any] | None) -> bool:
    """Interrupt the function that a task waits for, from any thread; False: it waits for none."""
    call = _running.get(task)
    return call is not None and call.interrupt()


def is_running(task: asyncio.Task[Any] | None) -> bool:
    """Whether a task waits for a function in a thread."""
    return task in _running


def was_interrupted() -> bool:
    """Whether the function that this thread runs has been interrupted: what it was doing may be half done."""
    call: _Call | None = getattr(_here, "call", None)
    return call is not None and call.is_interrupted


def frames_of(task: asyncio.Task[Any] | None) -> list[FrameType]:
    """The frames of the function that a task waits for, in its thread, outermost first; empty if it waits for none."""
    call = _running.get(task)
    for _ in range(_MOST_LOOKS):
        frames = [] if call is None else call.frames()
        if frames:
            return frames
    return []


@contextmanager
def interrupted_as(error: type[Exception]) -> Iterator[None]:
    """Raise this error in place of ``Interrupted`` within the block of a plain function, if its run is interrupted.

    For code that cleans up in ``except Exception``. Outside a worker's thread, as in a test that calls the function,
    the block runs as it is.

    Raises:
        TypeError: ``error`` is no exception class that can be made without arguments.
        HandlerError: the function is ``async``: there a cancel is ``asyncio.CancelledError``.
    """
    _check_error(error)
    call: _Call | None = getattr(_here, "call", None)
    if call is None:
        _refuse_loop(error)
        yield
        return
    before = call.raises(error)
    try:
        yield
    finally:
        call.raises(before)


def _check_error(error: object) -> None:
    try:
        is_fit = isinstance(error, type) and issubclass(error, Exception) and isinstance(error(), Exception)
    except Exception:
        is_fit = False
    if not is_fit:
        shown = error.__qualname__ if isinstance(error, type) else repr(error)
        raise TypeError(
            f"interrupted_as({shown}) needs a class of exceptions whose instances take no argument, as in "
            "'class TimeIsOver(Exception): pass'"
        )


def _refuse_loop(error: type[Exception]) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise HandlerError(
        f"interrupted_as({error.__qualname__}) is for plain functions; in an async def write "
        "'async with asyncio.timeout(…)', which raises TimeoutError",
        kind="Invalid",
    )


class Threads:
    """A pool of threads; started by its first call, and again by the first call after a ``close``.

    A coroutine that a function returns is awaited within what ``around`` makes of the awaiting function.
    """

    def __init__(self, name: str, size: int, around: Around | None = None) -> None:
        self._name = name
        self._size = max(size, 1)
        self._pool: ThreadPool | None = None
        self._ends: Ends | None = None
        """Of the loop of the last call."""
        self._run_on = run_on if around is None else _enclosed(around)

    async def run(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call the function in a thread, with the context variables of the caller.

        When the caller is cancelled, ``Interrupted`` is raised in the thread. A thread may ignore that; so this returns
        only when the function has ended (at once if it had not begun), and then raises CancelledError.
        A coroutine that the function returns is awaited here, on the loop.
        """
        (result, error), cancelled = await self._call(function, args, named)
        if cancelled is not None:
            raise cancelled
        if error is not None:
            raise error
        return await self._run_on(result)

    async def handle(self, function: Callable[..., Any], *args: Any) -> Any:
        """The same, but a function that ends by itself after the cancellation decides: its work may be done."""
        (result, error), cancelled = await self._call(function, args, {})
        if cancelled is not None and (isinstance(error, Interrupted) or inspect.isawaitable(result)):
            if inspect.iscoroutine(result):
                result.close()
            raise cancelled
        if error is not None:
            raise error
        return result if result is None or cancelled is not None else await self._run_on(result)

    async def _call(
        self, function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[Outcome, asyncio.CancelledError | None]:
        """How the function ended, and the cancellation of the caller that came meanwhile."""
        loop, own = asyncio.get_running_loop(), self._pool
        if own is None or own.is_closed or own.forks != signals.fork_count:
            own = self._new_pool()
        pool = POOL.get() or own
        if self._ends is None or self._ends.loop is not loop:
            self._ends = Ends(loop)
        call = _Call(function, args, named, self._ends)
        if pool is None:  # the interpreter ends: this loop has no other work to do
            return call.run(), None
        call.ended = loop.create_future()
        pool.put(call, loop)
        task = asyncio.current_task()
        _running[task] = call
        cancelled: asyncio.CancelledError | None = None
        try:
            while call.outcome is None:
                try:
                    await call.ended
                except asyncio.CancelledError as cancellation:
                    cancelled = cancellation
                    call.ended = loop.create_future()
                    call.cancel()
        finally:
            del _running[task]
        result, error = call.outcome
        if isinstance(error, GeneratorExit):
            refused = refuse_exit(error)  # on the loop it would mean that this coroutine is closed
            refused.__cause__ = error
            return (None, refused), cancelled
        return (result, error), cancelled

    def _new_pool(self) -> ThreadPool | None:
        """None: the interpreter ends, and has closed all pools."""
        self._pool = None if is_exiting() else ThreadPool(self._name, self._size)
        return self._pool

    def add(self, threads: int) -> None:
        """Let this many more functions run at a time, or fewer; those that run go on."""
        if threads:
            self._size = max(self._size + threads, 1)
            self.close()

    def close(self) -> None:
        """Let the threads end when they are done; does not wait for them."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()


class _Call:
    """One call in a thread; ``interrupt`` reaches nothing but the function itself."""

    ended: asyncio.Future[None]
    """Resolved when it has ended; a new one after a cancellation."""

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any], ends: Ends | None = None
    ) -> None:
        self._function = function
        self._args = args
        self._named = named
        self._ends = ends
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()
        self._thread: int | None = None
        """The thread that runs the function; None before and after."""
        self._has_begun = False
        self.is_interrupted = False
        self._error: type[BaseException] = Interrupted
        self._kept: Outcome | None = None
        self.outcome: Outcome | None = None
        """How it ended, as the loop knows it."""

    def work(self) -> None:
        """See PooledCall. A call that was cancelled before is not run."""
        with self._lock:
            self._has_begun, is_skipped = True, self._has_begun
        if not is_skipped:
            self._kept = self._context.run(self.run)
            if self._ends is not None:
                self._ends.add(self)

    def end(self) -> None:
        """See PooledCall."""
        self.outcome = self._kept
        if not self.ended.done():
            self.ended.set_result(None)

    def cancel(self) -> None:
        """Interrupt the function; one that has not begun has ended at once. In the loop."""
        with self._lock:
            is_early = not self._has_begun
            self._has_begun = True
        if is_early:
            self.outcome = (None, Interrupted())
        else:
            self.interrupt()

    def run(self) -> Outcome:
        """Call the function; in the thread."""
        outcome: list[Outcome] = []
        before, _here.call = getattr(_here, "call", None), self
        self._thread = threading.get_ident()
        # Any exception here is an interruption: the function's own are values.
        try:
            outcome.append(_call(self._function, self._args, self._named))
        except BaseException as late:  # as the function was just returning: its result is lost
            outcome.append((None, late))
        while self._thread is not None:
            try:
                self._end()
            except BaseException:  # noqa: S112 - raised only now; what the function has returned counts
                continue
        _here.call = before
        return outcome[0]

    def frames(self) -> list[FrameType]:
        """The frames of the function, outermost first; empty before and after it, or where it went on meanwhile."""
        # Without the lock: a signal handler, which may have interrupted its owner, asks too.
        thread = self._thread
        frame = None if thread is None else sys._current_frames().get(thread)  # noqa: SLF001 - documented, for debuggers
        found: list[FrameType] = []
        while frame is not None and frame.f_code is not _call.__code__:
            found.append(frame)
            frame = frame.f_back
        return found[::-1] if frame is not None and self._thread == thread else []

    def _end(self) -> None:
        with self._lock:
            if self.is_interrupted:  # and perhaps not raised yet: that must not hit the next call
                _drain()
            self._thread = None

    def interrupt(self) -> bool:
        """Raise its error in the function if it runs, at its next step of Python code; False: it does not run."""
        with self._lock:
            if self._thread is None:
                return False
            self.is_interrupted = True
            _raise_in(self._thread, self._error)
            return True

    def raises(self, error: type[BaseException]) -> type[BaseException]:
        """Let an interruption raise this error from now on; the one before."""
        with self._lock:
            before, self._error = self._error, error
            return before


class _Drained(BaseException):
    """Takes the place of an Interrupted that has not been raised yet."""


def _drain() -> None:
    """Leave nothing to be raised in this thread, by raising something else in its place.

    The C call can also take an exception back, but CPython 3.11 and 3.12 then keep the flag that says that one waits:
    the whole interpreter looks for it at each step, and under a tracer (coverage, a debugger) never goes on.
    """
    try:
        _raise_in(threading.get_ident(), _Drained)
        while True:  # it is raised at the next jump, if not before
            pass
    except _Drained:
        return


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise an exception in a thread, asynchronously; it replaces one that has not been raised yet."""
    import ctypes  # only where something is late

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


async def run_on(result: Any) -> Any:
    """Await a result until it is a plain value: a function may return a coroutine.

    Raises:
        HandlerError: it is a generator, which has not run, and whose items no caller would take.
    """
    while result is not None and inspect.isawaitable(result):
        awaited, result = result, await result
        if result is awaited:  # a client or a pool that can be awaited until it is connected
            break
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise HandlerError(
            "the function returned a generator, which is not run; return a value, or use await instead of yield",
            kind="Invalid",
        )
    return result


def _enclosed(around: Around) -> RunOn:
    inside = around(run_on)

    async def run(result: Any) -> Any:
        return await (inside if inspect.isawaitable(result) else run_on)(result)

    return run


def _call(function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Outcome:
    before = signals.fork_count
    try:
        result = function(*args, **named)
    except BaseException as error:
        if signals.fork_count != before:
            signals.leave_child(error)
        # As a value: a future makes another error of some (TimeoutError, CancelledError), and never ends with
        # StopIteration.
        return None, error
    if signals.fork_count != before:
        signals.leave_child(None)
    return result, None


def refuse_exit(error: BaseException, who: str = "the handler") -> HandlerError:
    """The error of a function that wanted to end the worker (SystemExit, KeyboardInterrupt and the like)."""
    return HandlerError(f"{who} raised {type(error).__name__}({safe_text(error)}); it cannot end the worker")


def is_from_outside(error: BaseException) -> bool:
    """Whether an error means that the task of the caller is cancelled, or that its coroutine is closed.

    A function may raise CancelledError itself: for a lost connection, or as a task that it awaits was cancelled.
    """
    if not isinstance(error, asyncio.CancelledError | GeneratorExit):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is None or (isinstance(error, asyncio.CancelledError) and task.cancelling() > 0)
