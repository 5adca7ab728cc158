"""BusyKeys: publishes whose unique key another client's open transaction locks, apart from all other publishes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from tasuki.backoff import Backoff
from tasuki.contracts.driver import Merged, Outgoing
from tasuki.errors import DriverError, KeyBusyError, QueueFullError

Result = DriverError | Merged | None
PAUSES = Backoff(initial_delay=0.02, max_delay=0.5, backoff_factor=2.0)
"""Seconds between two attempts."""


class _Waiting(NamedTuple):
    message: Outgoing
    deadline: float
    is_given_up: Callable[[], bool]
    resolve: Callable[[Result], None]


class BusyKeys:
    """The busy keys of one batcher. ``publish`` stores a batch, and returns one result a message.

    ``waits_for_room``: when a message finds its queue full, too.
    """

    def __init__(
        self, publish: Callable[[list[Outgoing]], Awaitable[Sequence[Result]]], *, waits_for_room: bool = False
    ) -> None:
        self._publish = publish
        self._again = (KeyBusyError, QueueFullError) if waits_for_room else (KeyBusyError,)
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    def add(
        self,
        message: Outgoing,
        deadline: float,
        is_given_up: Callable[[], bool],
        resolve: Callable[[Result], None],
    ) -> None:
        """Try a message again until ``deadline`` by the loop's clock, and tell the last result.

        ``is_given_up``: whether its publisher has gone, so that it is not tried any more.
        """
        self._waiting.append(_Waiting(message, deadline, is_given_up, resolve))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="publish busy keys")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while self._waiting:
            failures += 1
            await asyncio.sleep(min(PAUSES.delay(failures), max(self._first() - loop.time(), 0.0)))
            tried, self._waiting = [each for each in self._waiting if not each.is_given_up()], []
            if not tried:
                continue
            results = await self._publish([each.message for each in tried])
            for each, result in zip(tried, results, strict=True):
                if isinstance(result, self._again) and loop.time() < each.deadline:
                    self._waiting.append(each)
                else:
                    each.resolve(result)
                    failures = 0

    def _first(self) -> float:
        return min(each.deadline for each in self._waiting)
