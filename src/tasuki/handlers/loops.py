"""Work for an event loop in another thread."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from tasuki.errors import HandlerError

T = TypeVar("T")


async def run_in(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the loop of another thread.

    A cancel is passed on, and then its end is waited for: a step that computes cannot be stopped.

    Raises:
        HandlerError: that loop is closed.
    """
    job = Job(work, partial(tell, loop))
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


def tell(loop: asyncio.AbstractEventLoop, what: Callable[[], Any]) -> bool:
    """Call a function in the loop of another thread; False: that loop is closed."""
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:
        return False
    return True


async def end_all() -> None:
    """Cancel all other tasks of this loop and wait for their ends."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Job:
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
