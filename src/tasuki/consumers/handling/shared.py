"""Shared workers: several consumers, and one limit for the handlers that run at the same time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

from tasuki.consumers.delivery import Delivery
from tasuki.consumers.handling.pool import PoolWorker, WorkerPool
from tasuki.consumers.handling.suspects import Suspects


class SharedWorkers:
    """Lets ``concurrency`` handlers run at a time, and decides which consumer starts the next one.

    Consumers with waiting deliveries take turns: the lowest rank is first, and within a rank the consumer with the
    fewest turns for its weight. A consumer that had nothing to do saves up no turns.
    """

    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self.running = 0
        """Handlers that run now, or start in this turn of the event loop."""
        self.made = 0
        """Workers of all its pools, twice ``concurrency`` at most: above it, a worker with nothing to do ends."""
        self._waiting: list[tuple[int, float, int, SharedPool]] = []
        """A heap: the pool whose turn is next is first; an older one of equals before a newer one."""
        self._numbers = count()
        self._last: defaultdict[int, float] = defaultdict(float)
        """By rank: where the pool that started last stood in the order of turns."""

    def ask(self, pool: SharedPool) -> None:
        """Start deliveries of this pool as soon as it is their turn."""
        self._enqueue(pool)
        while self._waiting and self.running < self.concurrency:
            rank, turn, _, pool = heappop(self._waiting)
            pool.is_waiting = False
            if pool.can_start:
                self.running += 1
                self._last[rank] = turn
                pool.turn = turn + 1 / pool.share.weight
                pool.admit()
                self._enqueue(pool)

    def _enqueue(self, pool: SharedPool) -> None:
        if pool.can_start and not pool.is_waiting:
            pool.is_waiting = True
            rank = pool.share.rank
            heappush(self._waiting, (rank, max(pool.turn, self._last[rank]), next(self._numbers), pool))

    def give_back(self, pool: SharedPool, places: int) -> None:
        """Handlers of this pool have ended, or did not start after all."""
        self.running -= places
        self.ask(pool)


@dataclass(frozen=True, slots=True)
class Share:
    """One consumer's part of shared workers."""

    workers: SharedWorkers
    rank: int = 0
    """A lower rank starts first, whatever waits in a higher one."""
    weight: int = 1
    """Turns that it has for each turn of weight 1 in its rank."""


class SharedPool(WorkerPool):
    """The pool of a consumer that shares its workers: a delivery starts when it is the consumer's turn.

    ``concurrency`` bounds its part of the shared workers.
    """

    def __init__(
        self,
        share: Share,
        name: str,
        concurrency: int,
        execute: Callable[[Delivery, PoolWorker], Awaitable[None]],
        on_empty: Callable[[], None],
        suspects: Suspects | None = None,
        *,
        monotonic: Callable[[], float],
        limit: float | None = None,
        on_end: Callable[[asyncio.Task[None]], None] | None = None,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(
            name,
            concurrency,
            self._execute_in_turn,
            on_empty,
            suspects,
            monotonic=monotonic,
            limit=limit,
            on_end=on_end,
            is_ending=is_ending,
        )
        self.share = share
        self.turn = 0.0
        """Where it stands in the order of turns."""
        self.is_waiting = False
        """It waits for its turn."""
        self._ready = type(self.buffer)()
        self._taken = 0
        """Its deliveries that are ready or run."""
        self._handle = execute
        self._goes_on = False
        """A handler has just ended: its worker takes the next delivery without being woken."""

    @property
    def can_start(self) -> bool:
        """Whether a delivery waits that one of its workers could take. Its only worker waits for a parked suspect."""
        is_held_up = self.concurrency == 1 and self._suspects is not None and bool(self._suspects.parked)
        return bool(self.buffer) and self._taken < self.concurrency and not is_held_up

    @property
    def unstarted(self) -> int:
        """Messages that wait for their turn, for a worker, or as a suspect."""
        return super().unstarted + sum(len(each.deliveries) for each in self._ready)

    @property
    def has_free_worker(self) -> bool:
        """Whether one of its workers and a place are free."""
        workers = self.share.workers
        return super().has_free_worker and workers.running < workers.concurrency

    def offer(self, deliveries: Sequence[Delivery]) -> None:
        """Put deliveries into the buffer, in order; each starts when it is its turn."""
        self.buffer.extend(deliveries)
        self.share.workers.ask(self)

    def admit(self) -> None:
        """Hand the first waiting delivery to a worker: it is its turn."""
        self._taken += 1
        self._ready.append(self.buffer.popleft())
        if not self._ramping and not self._goes_on:
            self._ramp_up(1)

    def use(self, execute: Callable[[Delivery, PoolWorker], Awaitable[None]]) -> None:
        """See Pool."""
        self._handle = execute

    def waiting(self) -> list[Delivery]:
        """See Pool."""
        return [*self._ready, *super().waiting()]

    def take_back(self) -> list[Delivery]:
        """Everything that has not started, newest first; its places are free for others."""
        ready = len(self._ready)
        self.buffer.extendleft(reversed(self._ready))
        self._ready.clear()
        unstarted = super().take_back()
        self._give_back(ready)
        return unstarted

    def resize(self, concurrency: int) -> None:
        """See Pool; never more than the shared workers."""
        super().resize(concurrency)
        self.share.workers.ask(self)

    def _give_back(self, places: int) -> None:
        self._taken -= places
        self.share.workers.give_back(self, places)

    @property
    def _is_surplus(self) -> bool:
        return self.share.workers.made > self.share.workers.concurrency

    async def _work(self, worker: PoolWorker) -> None:
        self.share.workers.made += 1
        try:
            await super()._work(worker)
        finally:
            self.share.workers.made -= 1

    async def _execute_in_turn(self, delivery: Delivery, worker: PoolWorker) -> None:
        try:
            await self._handle(delivery, worker)
        finally:
            self._goes_on = True
            self._give_back(1)
            self._goes_on = False

    async def _keep_order(self) -> None:
        self._give_back(1)
        await super()._keep_order()

    def _call(self, suspect: Delivery) -> None:
        super()._call(suspect)
        self.share.workers.ask(self)
