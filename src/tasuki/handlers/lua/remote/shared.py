"""SharedLuaHandler: a script on the event loop, until it keeps others waiting (``isolation: shared`` without ``pool``).

In a thread a message costs four to six times what it costs here, so a quick script stays where its messages are. A step
that computes for longer than others can wait shows that this is no quick one: from then on one thread beside the loop
has all its messages. The message that has shown it begins again there, if it has asked for nothing yet; else it goes on
where it is, to its end.

Lua gives up Python's lock while it runs, so scripts that compute use as many cores as there are threads. Each thread
has a runtime and its own event loop, in which a script's own waiting takes place; all that it asks for is done in
the loop of the worker. Values are converted to Lua and back in the thread that owns the runtime: no other thread may
touch it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from types import CoroutineType
from typing import Any

from tasuki.contracts.handler import Context, Handler
from tasuki.contracts.state.job_context import wants_result
from tasuki.errors import HandlerError
from tasuki.handlers.lua import modules as catalogue
from tasuki.handlers.lua.handler import LuaHandler
from tasuki.handlers.lua.host.budget import errand
from tasuki.handlers.lua.host.runtime import PATIENCE
from tasuki.handlers.lua.remote.remote import RemoteContext, RemoteLuaHandler, do_at_load
from tasuki.handlers.lua.script import LuaScript
from tasuki.handlers.threads import ThreadWork, end_all, run_in
from tasuki.system.loop_thread import LoopThread
from tasuki.units import format_duration

_OPERATIONS = catalogue.operations(catalogue.MODULES)


class ThreadedLuaHandler(Handler):
    """A message goes to the thread that has the fewest. ``threads`` are started with the handler."""

    def __init__(self, script: LuaScript, *, threads: int) -> None:
        super().__init__(script.id)
        self._script = script
        self._size = max(threads, 1)
        self._threads: list[_Thread] = []
        self._starting: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Start the threads and load the script in each. Raises what ``LuaHandler.start`` raises."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
            self._starting.add_done_callback(self._started)
        await asyncio.shield(self._starting)

    def _started(self, task: asyncio.Future[None]) -> None:
        self._starting = None
        if not task.cancelled():
            task.exception()  # retrieved: waiting calls have got it

    async def _start(self) -> None:
        if self._threads:
            return
        threads: list[_Thread] = []
        try:
            threads += (_Thread(self._script, number) for number in range(self._size))
            for thread in threads:
                do_at_load(self.id, await thread.boot())
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
        if wants_result(context):
            return await self.call((body,), context)
        return await (await self._thread()).treat(body, context, is_call=False)

    async def handle_batch(self, bodies: list[Any], context: Context) -> Any:
        """Handle a batch; its result is converted, as it may be a list of one result for each message."""
        return await self.call((bodies,), context)

    async def call(self, args: Sequence[Any], context: Context) -> Any:
        """As ``LuaHandler.call``."""
        return await (await self._thread()).treat(args, context, is_call=True)

    async def _thread(self) -> _Thread:
        if not self._threads:
            await self.start()
        return min(self._threads, key=lambda thread: (thread.has_failed, thread.load))


class _Thread:
    """A thread with an event loop and a runtime; its methods are for the worker's loop."""

    def __init__(self, script: LuaScript, number: int) -> None:
        self.load = 0
        self._script = script
        self._handler = RemoteLuaHandler(script)
        name = f"tasuki-{script.id}_{number}"
        self._thread = LoopThread(name, _failed, begin_again=self._load, let_go=self._free)

    @property
    def has_failed(self) -> bool:
        """Whether it does not work now."""
        return self._thread.failure is not None

    async def boot(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Load the script; what it wants to have done besides."""
        await self._run(self._load())
        return self._handler.at_load

    async def _load(self) -> None:
        """In the thread, which alone may touch a runtime; a runtime is worth nothing without its loop."""
        self._handler = RemoteLuaHandler(self._script)
        self._handler.own_clock = time.thread_time
        await self._handler.start()

    async def _free(self) -> None:
        await end_all()
        await self._handler.stop()

    async def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        job = ThreadWork(work, self._thread.tell)
        try:
            self._thread.submit(job)
        except BaseException:
            work.close()
            raise
        try:
            return await job.result()
        finally:
            self._thread.discard(job)

    async def treat(self, value: Any, context: Context, *, is_call: bool) -> Any:
        """One message or call."""
        here = RemoteContext(self._script.id, _Asking(context))
        self.load += 1
        try:
            return await self._run((self._handler.call if is_call else self._handler.handle)(value, here))
        finally:
            self.load -= 1

    def stop(self) -> None:
        """Let it end."""
        self._thread.stop()


def _failed(problem: str, is_begun: bool) -> HandlerError:
    return HandlerError(problem, kind="Internal", retryable=True)


class _Asking:
    """Does in the worker's loop, with the message's own context, what a script in a thread asks for."""

    __slots__ = ("_context", "_home")

    def __init__(self, context: Context) -> None:
        self._context = context
        self._home = asyncio.get_running_loop()

    async def ask(self, operation: str, *args: Any) -> Any:
        """Called in the thread."""
        return await run_in(self._home, self._do(operation, args))

    async def _do(self, operation: str, args: tuple[Any, ...]) -> Any:
        value = _OPERATIONS[operation](self._context, *args)
        return await errand(value) if type(value) is CoroutineType else value

    def prove(self) -> None:
        """Do nothing: a thread cannot be killed, so nothing watches it."""


_log = logging.getLogger("tasuki.handlers.lua")


class SharedLuaHandler(LuaHandler):
    """As LuaHandler; see above."""

    def __init__(self, script: LuaScript) -> None:
        super().__init__(script)
        self._thread: ThreadedLuaHandler | None = None
        self.tired = self._move

    def _move(self) -> None:
        """Called in a step of the script: what it has under way ends in the runtime that it is in."""
        self.beside = self._thread = ThreadedLuaHandler(self._script, threads=1)
        self._runtime = None
        _log.info(
            "%s: a step of the script computed for more than %s; from now on it runs in a thread beside the event loop"
            " (pool: {workers: 1} starts it there)",
            self.id,
            format_duration(2 * PATIENCE),
        )

    async def start(self) -> None:
        """As ``LuaHandler.start``."""
        await (super().start() if self._thread is None else self._thread.start())

    async def stop(self) -> None:
        """Free the runtime, and let the thread end."""
        await super().stop()
        if self._thread is not None:
            await self._thread.stop()
