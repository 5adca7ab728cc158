"""Turns: the event loop runs one step of one page at a time, so that a flood of pages does not hold up a probe."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopTurns:
    """Of one event loop.

    A step is the code between two awaits that wait. A page has few, of some milliseconds; without turns, a hundred
    pages that were asked for at once have all their steps before the loop looks at a new connection.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    @coroutine
    def run(self, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """The result of the work, each of whose steps waits for its turn. Raises what the work raises."""
        failure: BaseException | None = None
        try:
            while True:
                try:
                    yield from self._turn().__await__()
                except asyncio.CancelledError as error:
                    failure = error
                try:
                    awaited = work.send(None) if failure is None else work.throw(failure)
                except StopIteration as end:
                    result: T = end.value
                    return result
                failure = None
                try:
                    yield awaited
                except GeneratorExit:
                    raise
                except BaseException as error:
                    failure = error
        finally:
            work.close()

    async def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        if self._is_taken:
            mine = loop.create_future()
            self._waiting.append(mine)
            try:
                await mine
            except asyncio.CancelledError:
                if mine.done() and not mine.cancelled():
                    self._pass_on()
                raise
        self._is_taken = True
        loop.call_soon(self._pass_on)

    def _pass_on(self) -> None:
        """Let the next step run: all callbacks that were ready beside the last one have run."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self._is_taken = False
