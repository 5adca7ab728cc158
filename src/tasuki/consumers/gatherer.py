"""Gatherer: collects deliveries until they are a batch, and offers batches to the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice

from tasuki.consumers.batch import Batch, Batching, cut
from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.pool import Pool


class Gatherer:
    """Between the fetcher and the pool of one consumer.

    A batch that is not full stays open while no worker is free: more messages may join it until one is.
    """

    def __init__(self, pool: Pool, batching: Batching, *, has_suspects: bool) -> None:
        """``has_suspects``: whether a suspect is its own batch."""
        self._pool = pool
        self._size, self._wait = batching.size, batching.wait
        self._has_suspects = has_suspects
        self._now = asyncio.get_running_loop().time
        self._call_at: Callable[..., asyncio.TimerHandle] = asyncio.get_running_loop().call_at
        self._call_soon = asyncio.get_running_loop().call_soon
        self._waiting: list[tuple[Delivery, float]] = []
        """With the time at which each must be handed over; oldest first."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, deliveries: list[Delivery]) -> None:
        """Add deliveries, in order."""
        due_at = self._now() + self._wait
        self._waiting += [(delivery, due_at) for delivery in deliveries]
        self._hand_over()

    def look_again(self) -> None:
        """The buffer is empty, or a worker is about to be free: hand over a batch that waited for that."""
        if self._waiting:
            self._call_soon(self._hand_over)

    def waiting(self) -> list[Delivery]:
        """Everything that waits."""
        return [delivery for delivery, _ in self._waiting]

    def take_back(self) -> list[Delivery]:
        """Everything that waits, newest first; nothing waits after it."""
        self._stop_timer()
        waiting, self._waiting = self._waiting, []
        return [delivery for delivery, _ in reversed(waiting)]

    def _hand_over(self) -> None:
        self._stop_timer()
        if not self._waiting:
            return
        is_late = self._waiting[0][1] <= self._now()
        # Of shared workers the own ones count: a batch in the buffer is what requests a turn.
        has_worker = not self._pool.buffer and self._pool.running < self._pool.concurrency
        suspects = [self._has_suspects and delivery.received.suspect for delivery, _ in self._waiting]
        sizes = cut(suspects, self._size, is_due=is_late and has_worker)
        waiting = iter([delivery for delivery, _ in self._waiting])
        batches = [Batch(list(islice(waiting, size))) for size in sizes]
        self._waiting = self._waiting[sum(sizes) :]
        if batches:
            self._pool.offer(batches)
        if self._waiting and (due_at := self._waiting[0][1]) > self._now():
            self._timer = self._call_at(due_at, self._hand_over)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
