"""InlineSession: a twin whose plain functions run in the thread of the test, as a Django ``TestCase`` needs it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from tasuki.app import App
from tasuki.errors import LifecycleError
from tasuki.handlers.thread_pool import POOL, PooledCall
from tasuki.system.loop_thread import LoopThread, SyncCall
from tasuki.testing.clock import FakeClock
from tasuki.testing.twin.session import Session

T = TypeVar("T")


class CallersThread:
    """Runs calls in the thread that waits in ``serve``, one after the other."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[PooledCall | None] = SimpleQueue()

    def put(self, call: PooledCall, loop: asyncio.AbstractEventLoop) -> None:
        """See :class:`tasuki.handlers.threads.TakesCalls`; from any thread."""
        self._calls.put(call)

    def serve(self, until: Future[T]) -> T:
        """Run calls until a future is done; its result. A function that runs here may serve too."""
        until.add_done_callback(lambda _: self._calls.put(None))
        while not until.done():
            if (call := self._calls.get()) is not None:
                call.work()
        return until.result()


class InlineSession(Session):
    """As Session; the event loop is in a thread, so that plain functions may block the thread of the test."""

    def __init__(self, app: App, clock: FakeClock, patience: float) -> None:
        super().__init__(app, clock, patience)
        self._thread = LoopThread("tasuki test")
        self._caller = CallersThread()
        self._owner: int | None = None
        """The thread of the test."""

    async def enter(self) -> None:
        """See Session. Raises LifecycleError in an event loop of the test."""
        if self._owner is None:
            raise LifecycleError(
                "TestApp(…, inline=True) runs plain functions in the thread of the test, which has an event loop: "
                "write 'with TestApp(…, inline=True)' in a test without one, or leave inline out"
            )
        await super().enter()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """See Owner: in the loop, while this thread runs the functions that the loop hands out."""
        self._owner = self._owner or threading.get_ident()
        if threading.get_ident() != self._owner:
            return self._thread.run(work)
        call = SyncCall(self._inline(work), lambda: LifecycleError("the TestApp has ended"))
        try:
            self._thread.submit(call)
        except BaseException as error:
            call.fail(LifecycleError(str(error)))
            work.close()
            raise
        try:
            result: T = self._caller.serve(call.answer)
            return result
        finally:
            self._thread.discard(call)

    async def _inline(self, work: Coroutine[Any, Any, T]) -> T:
        POOL.set(self._caller)
        return await work

    def close_loop(self) -> None:
        """End the thread of the loop."""
        self._thread.stop()
        self._thread.join()
