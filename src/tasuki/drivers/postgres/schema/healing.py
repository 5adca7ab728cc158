"""Healing: makes dropped parts of the schema, and dropped queues, again under an open driver."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.postgres.problems import MISSING, NO_QUEUE, NO_RIGHT, sql_state
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.errors import AccessDeniedError
from tasuki.system.tasks import OnFailure

PAUSE = 0.5
"""Seconds after a failure in which nothing is tried again: a role that may not make tables gets them from another."""


class Healing:
    """For one session. ``complete`` makes missing parts of the schema, ``declare`` makes one queue.

    Only the queues that this process has declared are made again, and no temporary ones: those end with their process.
    """

    def __init__(
        self,
        known: KnownQueues[QueueSpec],
        complete: Callable[[], Awaitable[None]],
        declare: Callable[[QueueSpec], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._known = known
        self._complete = complete
        self._declare = declare
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._failed_at = float("-inf")

    async def mends(self, problem: Exception, queue: str) -> bool:
        """Mend the cause of a failed statement; whether another try is worth it. Raises what the client raises."""
        state = sql_state(problem)
        if state == NO_QUEUE:
            spec = self._known.find(queue)
            if spec is None or spec.temporary or not self._known.is_declared(queue):
                return False
            await self._declare(spec)
            return True
        loop = asyncio.get_running_loop()
        if state not in MISSING or loop.time() - self._failed_at < PAUSE:
            return False
        if self._task is None or self._task.done():
            self._task = self._spawn(self._make_all())
        try:
            await asyncio.shield(self._task)
        except Exception as error:
            if isinstance(error, AccessDeniedError) or sql_state(error) == NO_RIGHT:
                return False  # it is for a process whose role owns the schema
            raise
        return True

    async def _make_all(self) -> None:
        def failed() -> None:
            self._failed_at = asyncio.get_running_loop().time()

        with OnFailure(failed):
            await self._complete()
            for spec in self._known.declared():
                if not spec.temporary:
                    await self._declare(spec)
