"""ThreadedLuaHandler: a script in several threads, each with a runtime of its own (``pool`` with ``isolation: shared``).

Lua gives up Python's lock while it runs, so scripts that compute use as many cores as there are threads. Each thread has
an event loop of its own, in which a script's own waiting takes place; all that it asks for is done in the loop of the
worker. Values are converted to Lua and back in the thread that owns the runtime: nobody else may touch it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from types import CoroutineType
from typing import Any

from tasuki.contracts.handler import Context, Handler
from tasuki.errors import HandlerError
from tasuki.handlers.lua import modules as catalogue
from tasuki.handlers.lua.remote import RemoteContext, RemoteLuaHandler, do_at_load
from tasuki.handlers.lua.script import LuaScript

_OPERATIONS = catalogue.operations(catalogue.MODULES)


class ThreadedLuaHandler(Handler):
    """A message goes to the thread that has the fewest. ``threads`` are started with the handler."""

    def __init__(self, script: LuaScript, *, threads: int) -> None:
        super().__init__(script.id)
        self._script = script
        self._size = max(threads, 1)
        self._threads: list[_Thread] = []

    async def start(self) -> None:
        """Start the threads and load the script in each. Raises what ``LuaHandler.start`` raises."""
        if self._threads:
            return
        threads = [_Thread(self._script, number) for number in range(self._size)]
        try:
            for thread in threads:
                do_at_load(self.id, await thread.run(thread.boot()))
        except BaseException:
            for thread in threads:
                thread.stop()
            raise
        self._threads = threads

    async def stop(self) -> None:
        """Let the threads end, each when the step that it is in has ended."""
        threads, self._threads = self._threads, []
        for thread in threads:
            thread.stop()

    async def handle(self, body: Any, context: Context) -> Any:
        """As ``LuaHandler.handle``."""
        return await (await self._thread()).treat(body, context, is_call=False)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """As ``LuaHandler.call``."""
        return await (await self._thread()).treat(args, context, is_call=True)

    async def _thread(self) -> _Thread:
        if not self._threads:
            await self.start()
        return min(self._threads, key=lambda thread: thread.load)


class _Thread:
    """A thread with an event loop and a runtime; its methods are for the worker's loop."""

    def __init__(self, script: LuaScript, number: int) -> None:
        self.load = 0
        self._handler = RemoteLuaHandler(script)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=f"tasuki-{script.id}_{number}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            self._loop.run_until_complete(self._handler.stop())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def boot(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Load the script, in this thread; what it wants to have done besides."""
        await self._handler.start()
        return self._handler.at_load

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in this thread; a cancel is passed on, and its end waited for: a step cannot be stopped."""
        job = _Job(work, self._loop)
        waiter = asyncio.wrap_future(job.outcome)
        cancelled: asyncio.CancelledError | None = None
        while not waiter.done():
            try:
                await asyncio.wait((waiter,))
            except asyncio.CancelledError as error:
                cancelled = error
                job.cancel()
        if cancelled is not None:
            raise cancelled
        value, problem = waiter.result()
        if problem is not None:
            raise problem
        return value

    async def treat(self, value: Any, context: Context, *, is_call: bool) -> Any:
        """One message or call."""
        here = RemoteContext(self._handler.id, _Asking(context))
        self.load += 1
        try:
            return await self.run((self._handler.call if is_call else self._handler.handle)(value, here))
        finally:
            self.load -= 1

    def stop(self) -> None:
        """Let it end."""
        _tell(self._loop, self._loop.stop)


class _Job:
    """A coroutine in the loop of another thread; ``outcome``: its result and its error."""

    def __init__(self, work: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self.outcome: Future[tuple[Any, BaseException | None]] = Future()
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        if not _tell(loop, self._begin):
            work.close()
            self.outcome.set_result((None, HandlerError("the handler is stopped", kind="Internal", retryable=True)))

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work)
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self.outcome.set_result((None, asyncio.CancelledError()))
        else:
            error = task.exception()
            self.outcome.set_result((None if error else task.result(), error))

    def cancel(self) -> None:
        """Cancel it where it waits."""
        _tell(self._loop, lambda: self._task and self._task.cancel())


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], Any]) -> bool:
    """Whether the loop was there to be told."""
    try:
        loop.call_soon_threadsafe(what)
    except RuntimeError:
        return False
    return True


class _Asking:
    """Does in the worker's loop, with the message's own context, what a script in a thread asks for."""

    __slots__ = ("_context", "_home")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._home = asyncio.get_running_loop()

    async def ask(self, operation: str, *args: Any) -> Any:
        """Called in the thread."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._do(operation, args), self._home))

    async def _do(self, operation: str, args: tuple[Any, ...]) -> Any:
        value = _OPERATIONS[operation](self._context, *args)
        return await value if type(value) is CoroutineType else value

    def prove(self) -> None:
        """Nobody asks: a thread cannot be killed."""
