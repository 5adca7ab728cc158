"""WaitList: callers that wait, woken one at a time in the order in which they came."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Waiter(Generic[T]):
    """A caller that waits for up to ``limit`` things; ``done`` gets its wake-up, or None after its time."""

    __slots__ = ("done", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()


class WaitList(Generic[T]):
    """A wake-up goes to the waiter that has waited longest, which then waits no more.

    ``T``: what a wake-up carries: a reason, messages, a connection; never None. A caller that is cancelled with its
    wake-up has not acted on it and must pass it on: ``wait`` does so, and ``leave`` returns it.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        # A plain dict searches the room of all deleted waiters for its first one.
        self._waiting: OrderedDict[Waiter[T], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def wanted(self) -> int:
        """The sum of all limits."""
        return sum(waiter.limit for waiter in self._waiting)

    def add(self, limit: int = 1) -> Waiter[T]:
        """Let one more wait, behind the others."""
        waiter: Waiter[T] = Waiter(limit)
        self._waiting[waiter] = None
        return waiter

    def leave(self, waiter: Waiter[T]) -> T | None:
        """End a wait. Returns the wake-up that the waiter got; unless it acts on it, another one must get it."""
        self._waiting.pop(waiter, None)
        if not waiter.done.done():
            waiter.done.cancel()
        if waiter.done.cancelled() or waiter.done.exception() is not None:
            return None
        return waiter.done.result()

    async def wait(self, waiter: Waiter[T], seconds: float, pass_on: Callable[[T], object] | None = None) -> T | None:
        """Wait for the wake-up, and leave. None: it did not come within this many seconds.

        If the caller is cancelled, ``pass_on`` gets the wake-up that came nevertheless: by default, the next one.
        """
        is_over = False
        try:
            wake_up = await woken(waiter, seconds)
            is_over = True
            return wake_up
        finally:
            left = self.leave(waiter)
            if left is not None and not is_over:
                (pass_on or self.wake)(left)

    def serve(self, give: Callable[[int], T | None]) -> bool:
        """Wake the first one with what ``give`` has for its limit; False if there is nothing, or none waits."""
        while self._waiting:
            waiter = next(iter(self._waiting))
            if waiter.done.done():
                del self._waiting[waiter]
                continue
            given = give(waiter.limit)
            if not given:
                return False
            del self._waiting[waiter]
            waiter.done.set_result(given)
            return True
        return False

    def wake(self, wake_up: T) -> bool:
        """Wake the first one; False if none waits."""
        while self._waiting:
            waiter, _ = self._waiting.popitem(last=False)
            if not waiter.done.done():
                waiter.done.set_result(wake_up)
                return True
        return False

    def wake_all(self, wake_up: T) -> None:
        """Wake all that wait now."""
        while self.wake(wake_up):
            pass

    def fail(self, error: Exception) -> None:
        """End all waits with the error."""
        waiting, self._waiting = self._waiting, OrderedDict()
        for waiter in waiting:
            if not waiter.done.done():
                waiter.done.set_exception(error)


async def woken(waiter: Waiter[T], seconds: float) -> T | None:
    """Wait for the wake-up. None: it did not come within this many seconds. The waiter does not leave yet."""
    timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), _give_up, waiter)
    try:
        return await waiter.done
    finally:
        timer.cancel()


def _give_up(waiter: Waiter[T]) -> None:
    if not waiter.done.done():
        waiter.done.set_result(None)
