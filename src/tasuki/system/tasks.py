"""Tasks: work that is completed even if its caller is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, TypeVar


class OnFailure:
    """``with`` calls ``undo`` if the block raises, or is cancelled; ``async with`` awaits it."""

    __slots__ = ("_undo",)

    def __init__(self, undo: Callable[[], Any]) -> None:
        self._undo = undo

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._undo()

    async def __aenter__(self) -> None:
        return

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            await self._undo()


T = TypeVar("T")


class Tasks:
    """The running tasks of one owner. Each keeps its error for its caller; an error without a caller is dropped."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter([*self._running])

    def start(self, work: Coroutine[Any, Any, T], name: str | None = None) -> asyncio.Task[T]:
        """Begin work in a task of the running loop."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def run(self, work: Coroutine[Any, Any, T], unwanted: Callable[[T], object] | None = None) -> T:
        """The result of ``work``; ``unwanted`` takes it if the caller was cancelled meanwhile."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)

        def hand_over(task: asyncio.Task[T]) -> None:
            self._ended(task)
            if unwanted is not None and not task.cancelled() and task.exception() is None:
                unwanted(task.result())

        with OnFailure(lambda: task.add_done_callback(hand_over)):
            await asyncio.wait([task])
        self._running.discard(task)  # not before: until here, no caller has the result
        return task.result()

    async def wait(self, timeout: float | None = None) -> None:
        """Wait until all work that runs now has ended, and its callers go on with the results; or this many seconds."""
        awaited = set(self._running)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while awaited := awaited & self._running:
                    if running := [task for task in awaited if not task.done()]:
                        await asyncio.wait(running)
                    else:
                        await asyncio.sleep(0)  # they are done, and their callers take turns now

    def cancel(self) -> None:
        """Cancel all."""
        for task in self:
            task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()
