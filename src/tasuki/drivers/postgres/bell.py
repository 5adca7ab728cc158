"""Bell: wakes the receives of this process that wait on a queue."""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Bell:
    """For one event loop. ``count`` before looking, ``wait`` after: a ring in between is not missed."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)

    def count(self, queue: str) -> int:
        """How often it rang for the queue since somebody first asked."""
        return self._counts.setdefault(queue, 0)

    def ring(self, queue: str) -> None:
        """Something may have come into the queue."""
        if queue in self._counts:
            self._counts[queue] += 1
        for future in self._waiting.pop(queue, ()):
            if not future.done():
                future.set_result(None)

    def ring_all(self) -> None:
        """Something may have come into any queue."""
        for queue in set(self._waiting) | set(self._counts):
            self.ring(queue)

    def forget(self, queue: str) -> None:
        """Wake all that wait on the queue, and keep nothing of it."""
        self._counts.pop(queue, None)
        self.ring(queue)

    async def wait(self, queue: str, count: int, timeout: float) -> None:
        """Return at the next ring, at once if it rang since ``count``, or after ``timeout`` seconds."""
        if self._counts.get(queue) != count:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(max(timeout, 0.0), _finish, future)
        waiting = self._waiting[queue]
        waiting.add(future)
        try:
            await future
        finally:
            timer.cancel()
            waiting.discard(future)
            if not waiting and self._waiting.get(queue) is waiting:
                del self._waiting[queue]


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
