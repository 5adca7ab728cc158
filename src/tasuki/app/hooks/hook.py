"""Hook: one function that hears of moments, in order, and never in the way of a message."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from tasuki.contracts.observer import Moment
from tasuki.errors import text_of
from tasuki.handlers.signature import is_async
from tasuki.handlers.threads import Threads, is_from_outside, run_on
from tasuki.kinds.check.functions import takes_moment
from tasuki.observe.trace import CURRENT
from tasuki.units import format_duration

_log = logging.getLogger("tasuki.hook")

LIMIT = 10.0
"""Seconds that one call may take."""
MOST = 10_000
"""Moments that wait for one hook; later ones are lost."""
_GRACE = 1.0
"""Seconds that a cancelled call has to end."""


class Hook:
    """Calls its function with one moment after the other; in a thread if it is no ``async def``."""

    def __init__(self, id: str, function: Callable[..., Any], *, queue: str | None, task: str | None) -> None:
        self.id = id
        self._function = function
        self._queue = queue
        self._task = task
        self._takes_moment = takes_moment(function)
        self._threads = Threads(f"tasuki-{id}", 1)
        self._waiting: deque[Moment] = deque()
        self._running: asyncio.Task[None] | None = None
        self._context = copy_context()
        """No variable of the handler in which a moment comes is set for the hook."""
        self._lost = 0

    def hears_of(self, queue: str, task: str) -> bool:
        """Whether it is for messages of this queue and task."""
        return (self._queue is None or self._queue == queue) and (self._task is None or self._task == task)

    def put(self, moment: Moment) -> None:
        """Call it soon; returns at once. In the event loop."""
        if len(self._waiting) >= MOST:
            self._lost += 1
            if self._lost == 1:
                _log.error("hook %s is too slow: %d moments wait for it, so it does not hear of others", self.id, MOST)
            return
        self._waiting.append(moment)
        if self._running is None:
            loop, context = asyncio.get_running_loop(), self._context.copy()
            self._running = loop.create_task(self._run(), name=f"hook {self.id}", context=context)

    async def _run(self) -> None:
        try:
            while self._waiting:
                moment = self._waiting.popleft()
                CURRENT.set(None if moment.message is None else moment.message.headers)
                await self.call(moment)
        finally:
            if self._running is asyncio.current_task():
                self._running = None

    async def call(self, moment: Moment) -> None:
        """Call it now, for at most ``LIMIT`` seconds; its errors are logged."""
        args = (moment,) if self._takes_moment else ()
        try:
            async with asyncio.timeout(LIMIT) as limit:
                if is_async(self._function):
                    await run_on(self._function(*args))
                else:
                    await self._threads.run(self._function, *args)
        except TimeoutError as error:
            if limit.expired():
                _log.error("hook %s was cancelled: it ran longer than %s", self.id, format_duration(LIMIT))
            else:
                self._complain(error)
        except BaseException as error:
            if is_from_outside(error):
                raise
            self._complain(error)

    def _complain(self, error: BaseException) -> None:
        _log.error("hook %s failed: %s", self.id, text_of(error), exc_info=error)

    async def finish(self, timeout: float) -> None:
        """Wait until all is called, or cancel it after so many seconds."""
        running = self._running
        if running is not None:
            _, late = await asyncio.wait([running], timeout=timeout)
            if late:
                left = len(self._waiting)
                self._waiting.clear()
                self._running = None  # it may not end: no later stop waits for it
                running.cancel()
                _log.error("hook %s was cancelled at the stop: it did not hear of %d more moments", self.id, left)
                await asyncio.wait([running], timeout=_GRACE)
        if self._lost:
            _log.error("hook %s did not hear of %d moments, as it was too slow", self.id, self._lost)
            self._lost = 0
        self._threads.close()
