"""Run plain functions in worker threads, so that the event loop goes on; wait for them whatever happens."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tasuki import forks
from tasuki.errors import HandlerError
from tasuki.handlers.loops import outcome_of

Outcome = tuple[Any, BaseException | None]


class Threads:
    """A pool of threads; started by its first call, and again by the first call after a ``close``."""

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = max(size, 1)
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """Call the function in a thread, with the context variables of the caller.

        A thread cannot be cancelled. So when the caller is cancelled, this returns only when the thread has ended (at
        once if it had not begun), and then raises CancelledError: who waits for this knows that the function is over.
        A coroutine that the function returns is awaited here, on the loop.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._size, thread_name_prefix=self._name)
        job = self._pool.submit(contextvars.copy_context().run, _call, function, args, named)
        result, error = await outcome_of(job, job.cancel)
        if isinstance(error, GeneratorExit):
            raise refuse_exit(error) from error  # on the loop it would mean that this coroutine is closed
        if error is not None:
            raise error
        return await run_on(result)

    def close(self) -> None:
        """Let the threads end when they are done; does not wait for them."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)


async def run_on(result: Any) -> Any:
    """What comes of a result when it is run to its end: whoever returns a coroutine means that it is awaited.

    Raises:
        HandlerError: it is a generator: nothing has run, and nobody would take what it yields.
    """
    while result is not None and inspect.isawaitable(result):
        awaited, result = result, await result
        if result is awaited:  # a client or a pool that can be awaited until it is connected
            break
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise HandlerError("the function returned a generator, of which nothing has run yet", kind="Invalid")
    return result


def _call(function: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Outcome:
    before = forks.count
    try:
        result = function(*args, **named)
    except BaseException as error:
        if forks.count != before:
            forks.leave_child(error)
        # As a value: a future makes another error of some (TimeoutError, CancelledError), and never ends with
        # StopIteration.
        return None, error
    if forks.count != before:
        forks.leave_child(None)
    return result, None


def refuse_exit(error: BaseException) -> HandlerError:
    """The error of a handler that wanted to end the worker (SystemExit, KeyboardInterrupt and the like)."""
    return HandlerError(f"the handler raised {type(error).__name__}({error}); it cannot end the worker")
