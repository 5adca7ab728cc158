"""Whole: work that is carried out to its end, whatever becomes of its caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Whole:
    """Tasks under way; ``wait`` waits for all of them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, work: Coroutine[Any, Any, T], unwanted: Callable[[T], None] | None = None) -> T:
        """The result of ``work``; ``unwanted`` takes it if the caller was cancelled meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        is_wanted = False
        try:
            await asyncio.wait([task])
            is_wanted = True
        finally:
            if not is_wanted and unwanted is not None:
                task.add_done_callback(lambda task: _hand_over(task, unwanted))
        return task.result()

    async def wait(self) -> None:
        """Until nothing is under way."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have been cancelled


def _hand_over(task: asyncio.Task[T], unwanted: Callable[[T], None]) -> None:
    if not task.cancelled() and task.exception() is None:
        unwanted(task.result())
