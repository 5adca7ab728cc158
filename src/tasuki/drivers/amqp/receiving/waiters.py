"""Waiters: the receives that wait for messages of one queue, in their order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from tasuki.contracts.driver import Received
from tasuki.drivers.amqp.faults import ClosedError, LateError


class Waiter:
    """A ``receive`` that waits for up to ``limit`` messages."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done: asyncio.Future[list[Received]] = asyncio.get_running_loop().create_future()


class Waiters:
    """The longest waiting one is served first."""

    def __init__(self) -> None:
        self._waiting: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def wanted(self) -> int:
        """Messages that all of them would take."""
        return sum(waiter.limit for waiter in self._waiting)

    def add(self, limit: int) -> Waiter:
        """One more waits."""
        waiter = Waiter(limit)
        self._waiting.append(waiter)
        return waiter

    def serve(self, hand_out: Callable[[int], list[Received]]) -> bool:
        """Serve the first one; False: there is nothing for it."""
        waiter = self._waiting[0]
        if not waiter.done.done():
            given = hand_out(waiter.limit)
            if not given:
                return False
            waiter.done.set_result(given)
        self._waiting.popleft()
        return True

    def leave(self, waiter: Waiter) -> None:
        """One waits no longer, and has got nothing."""
        self._waiting.remove(waiter)
        waiter.done.cancel()

    def fail(self, reason: ClosedError | LateError) -> None:
        """None can be served."""
        for waiter in self._waiting:
            if not waiter.done.done():
                waiter.done.set_exception(reason)
        self._waiting.clear()
