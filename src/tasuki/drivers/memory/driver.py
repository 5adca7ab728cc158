"""The driver: the verbs of the contract, and waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import count, islice

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Ack,
    Capabilities,
    Depth,
    Driver,
    Move,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
)
from tasuki.contracts.moving import stale
from tasuki.drivers.memory.lanes import Slot
from tasuki.drivers.memory.queue import MemoryQueue
from tasuki.drivers.memory.settings import MemorySettings
from tasuki.drivers.toolkit.bounds import check_bounds
from tasuki.drivers.toolkit.guard import Guard, not_declared
from tasuki.drivers.toolkit.results import answer, full
from tasuki.errors import DriverError
from tasuki.message import Message


class MemoryDriver(Driver):
    """Keeps queues in this process; see the table of the package."""

    capabilities = Capabilities(
        durability="memory",
        ordered=True,
        ordering_key=True,
        native_delay=True,
        native_priority=True,
        counts_attempts=True,
        exact_depth=True,
        peek=True,
        purge=True,
        remove=True,
        keeps_errors=True,
        max_length=True,
        counts_consumers=True,
        dedup=True,
        delete=True,
        atomic_move=True,
    )

    def __init__(self, name: str, settings: MemorySettings | None = None, clock: Clock | None = None) -> None:
        super().__init__(name)
        self._clock = clock or SystemClock()
        self._queues: dict[str, MemoryQueue] = {}
        self._undeclared: set[str] = set()
        self._numbers = count(1)
        self._guard: Guard[dict[str, MemoryQueue]] = Guard(name)

    async def open(self) -> None:
        """Start to serve, with the messages of before."""
        self._guard.opened(self._queues)

    async def close(self) -> None:
        """Release held messages and wake waiting receivers; stored messages stay."""
        self._guard.closed()
        for queue in self._queues.values():
            queue.let_go()
            queue.waiters.wake_all(False)

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist; a smaller ``max_length`` keeps stored messages and rejects new ones."""
        if spec.name in self._queues:
            self._queues[spec.name].declare(spec)
        else:
            self._queues[spec.name] = MemoryQueue(spec)
        self._undeclared.discard(spec.name)

    async def undeclare(self, queue: str) -> None:
        """Forget that it is declared; its messages stay, for the next declaration or inspection."""
        if queue in self._queues:
            self._undeclared.add(queue)
            self._queues[queue].waiters.wake_all(False)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know it as it stands."""
        self._undeclared.discard(spec.name)
        return self._queue(spec.name).spec

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Store the messages for which there is room; see the contract."""
        target, now = self._queue(queue), self._clock.monotonic()
        check_bounds(batch, driver=self.name, queue=queue)
        if target.spec.dedup_window is not None:
            return self._publish_once(target, batch, now)
        rejected = self._reject(target, batch)
        if rejected:
            batch = batch[: len(batch) - len(rejected)]
        self._store(target, batch, now)
        return answer([*[None] * len(batch), *rejected]) if rejected else ()

    def _publish_once(self, target: MemoryQueue, batch: Sequence[Outgoing], now: float) -> Sequence[DriverError | None]:
        """The same without duplicates: those are confirmed, and take no room."""
        most = target.spec.max_length
        room = len(batch) if most is None else max(most - target.total, 0)
        stored: list[Outgoing] = []
        taken = len(batch)
        for index, message in target.unknown(batch, now):
            if len(stored) == room:
                taken = index
                break
            stored.append(message)
        self._store(target, stored, now)
        return answer([*[None] * taken, *self._full(target, len(batch) - taken)])

    def _store(self, target: MemoryQueue, batch: Sequence[Outgoing], now: float) -> None:
        numbers, append = self._numbers, target.plain.fresh.append
        for message in batch:
            headers = message.headers.copy()
            if message.delay > 0 or message.priority or message.key is not None:
                due = now + message.delay if message.delay > 0 else 0.0
                target.place(
                    Slot(message.id, message.body, headers, next(numbers), now, message.priority, message.key, due)
                )
            else:
                append(Slot(message.id, message.body, headers, next(numbers), now))
        target.total += len(batch)
        if batch and target.waiters:
            target.waiters.wake(True)

    def _reject(self, target: MemoryQueue, batch: Sequence[Outgoing]) -> list[DriverError]:
        most = target.spec.max_length
        if most is None or target.total + len(batch) <= most:
            return []
        room = max(most - target.total, 0)
        return self._full(target, len(batch) - room)

    def _full(self, target: MemoryQueue, number: int) -> list[DriverError]:
        """An error for each message that found no room."""
        return [full(target.spec.name, target.spec.max_length, driver=self.name) for _ in range(number)]

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take ready messages without suspending; else wait for one."""
        source = self._queue(queue)
        if source.delayed:
            source.surface(self._clock.monotonic())
        taken = source.take(limit, self._numbers)
        if taken or wait <= 0 or limit <= 0:
            return taken
        return await self._wait(source, limit, wait)

    async def _wait(self, source: MemoryQueue, limit: int, wait: float) -> list[Received]:
        loop = asyncio.get_running_loop()
        taken: list[Received] = []
        expired: asyncio.Future[bool | None] = loop.create_future()
        end = loop.call_later(wait, _wake, expired)
        try:
            while not taken and not expired.done() and await self._woken(source, loop, expired):
                source.surface(self._clock.monotonic())
                taken = source.take(limit, self._numbers)
        finally:
            end.cancel()
            # Also when cancelled: the wake-up that was meant for this receiver goes to the next one.
            if source.waiters and source.can_give():
                source.waiters.wake(True)
        return taken

    async def _woken(
        self, source: MemoryQueue, loop: asyncio.AbstractEventLoop, expired: asyncio.Future[bool | None]
    ) -> bool:
        """Wait for a message, a due delay, the end of the wait or a close; False: the driver was closed."""
        waiter = source.waiters.add()

        def relay(_: asyncio.Future[bool | None]) -> None:
            _wake(waiter.done)

        expired.add_done_callback(relay)
        due = None
        if source.delayed:
            due = loop.call_later(max(source.delayed[0][0] - self._clock.monotonic(), 0.0), _wake, waiter.done)
        try:
            return bool(await waiter.done) and self._guard.current is not None
        finally:
            source.waiters.leave(waiter)
            expired.remove_done_callback(relay)
            if due is not None:
                due.cancel()

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; nothing can fail for lack of room, because a held message keeps its place."""
        target = self._held(queue)
        pop = target.held.pop
        stale: list[Receipt] = []
        acked = 0
        for settlement in batch:
            slot = pop(settlement.receipt, None)
            if slot is None:
                stale.append(settlement.receipt)
            elif isinstance(settlement, Ack):
                acked += 1
                if slot.key is not None:
                    target.leave(slot)
            else:
                self._return(target, slot, settlement)
        target.total -= acked
        if target.waiters and target.can_give():
            target.waiters.wake(True)
        return stale

    def _return(self, target: MemoryQueue, slot: Slot, settlement: Nack | Release) -> None:
        if isinstance(settlement, Nack):
            slot.suspect = False
            slot.failures += not slot.started
            if settlement.error:
                slot.failure = settlement.error, self._clock.time()
        else:
            slot.failures -= slot.started
        if settlement.delay > 0:
            slot.due = self._clock.monotonic() + settlement.delay
        slot.started = False
        target.put_back(slot)

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Store and ack, without suspending in between."""
        source = self._held(queue)
        return answer([await self._move(source, move) for move in batch])

    async def _move(self, source: MemoryQueue, move: Move) -> DriverError | None:
        name = source.spec.name
        if move.receipt not in source.held:
            return stale(move.receipt, driver=self.name, queue=name)
        try:
            target = self._queue(move.to)
            if not target.fits(move.messages, self._clock.monotonic()):
                return self._full(target, 1)[0]
            await self.publish(move.to, move.messages)
        except DriverError as error:
            return error
        await self.settle(name, (Ack(move.receipt),))
        return None

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Count them as failures until they are settled."""
        target = self._held(queue)
        return [receipt for receipt in batch if not target.start(receipt)]

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Say which receipts are not held; there is no lease to set. Safe in any thread."""
        held = self._held(queue).held
        return [receipt for receipt in batch if receipt not in held]

    async def depth(self, queue: str) -> Depth:
        """Count the messages, exactly."""
        source, now = self._queue(queue), self._clock.monotonic()
        source.surface(now)
        return source.depth(now)

    async def attach(self, queue: str, consumers: int) -> None:
        """Note the number; a closed driver takes it too."""
        if queue in self._queues:
            self._queues[queue].consumers = consumers

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        source = self._queue(queue)
        source.surface(self._clock.monotonic())
        return [slot.shown() for slot in islice(source.peek(), after, after + limit)]

    async def purge(self, queue: str) -> int:
        """Remove all messages but the held ones."""
        return self._queue(queue).purge()

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        """Put the rest in line again, as after a change of the ordering."""
        target = self._queue(queue)
        removed = target.remove(frozenset(ids))
        if target.waiters and target.can_give():
            target.waiters.wake(True)
        return removed

    async def delete(self, queue: str) -> None:
        """Remove it; its waiting receives return nothing."""
        deleted = self._queue(queue)
        del self._queues[queue]
        deleted.waiters.wake_all(False)

    def _held(self, name: str) -> MemoryQueue:
        """The queue, for what ends or keeps its deliveries: also one that is not declared any more."""
        return self._guard.get(name)[name] if name in self._undeclared else self._queue(name)

    def _queue(self, name: str) -> MemoryQueue:
        queue = self._guard.get(name).get(name)
        if queue is None or name in self._undeclared:
            raise not_declared(self.name, name)
        return queue


def _wake(waiter: asyncio.Future[bool | None]) -> None:
    if not waiter.done():
        waiter.set_result(True)
