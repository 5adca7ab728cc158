"""Beside: answers that come late or never, asked for beside the page, which has the last one."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from tasuki.clock import Clock
from tasuki.errors import TasukiError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_FRESH = 10.0
"""Seconds for which an answer is used again while a newer one is awaited."""
_MOST = 200
"""Answers that are remembered."""


class Beside(Generic[K, V]):
    """Asks one question at a time for each key; for one event loop."""

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name
        self._tasks: OrderedDict[K, asyncio.Task[V]] = OrderedDict()
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()

    async def get(self, key: K, ask: Callable[[], Awaitable[V]], patience: float) -> V | None:
        """The answer to ``ask`` if it comes within ``patience``, else the last one, else None. Raises nothing."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(_asked(ask), name=self._name)
            task.add_done_callback(lambda done: self._keep(key, done))
            while len(self._tasks) > _MOST:
                _, oldest = self._tasks.popitem(last=False)
                oldest.cancel()
        await asyncio.wait([task], timeout=patience)
        known = self._known.get(key)
        return known[1] if known is not None and self._clock.monotonic() - known[0] < _FRESH else None

    def _keep(self, key: K, task: asyncio.Task[V]) -> None:
        self._tasks.pop(key, None)
        if task.cancelled() or isinstance(task.exception(), TasukiError):
            return
        self._known[key] = self._clock.monotonic(), task.result()
        self._known.move_to_end(key)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _asked(ask: Callable[[], Awaitable[V]]) -> V:
    return await ask()
