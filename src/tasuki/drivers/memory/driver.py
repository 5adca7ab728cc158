"""The driver: the verbs of the contract, and waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from itertools import count, islice

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Ack,
    Answers,
    Causes,
    Depth,
    Driver,
    Merged,
    Move,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Release,
    Settlement,
    Transfer,
    Unique,
    Where,
)
from tasuki.contracts.groups import stale
from tasuki.drivers.memory import browsing
from tasuki.drivers.memory.browsing import find, locate, transfer
from tasuki.drivers.memory.capabilities import CAPABILITIES
from tasuki.drivers.memory.queue import MemoryQueue
from tasuki.drivers.memory.settings import MemorySettings
from tasuki.drivers.memory.slots import Slot
from tasuki.drivers.memory.store import MemoryStore, Shelf
from tasuki.drivers.toolkit.guard import Guard, KnownQueues
from tasuki.drivers.toolkit.results import (
    Found,
    Outcome,
    Transfers,
    answer,
    check_bounds,
    full,
    number_in,
    stored_in_order,
)
from tasuki.errors import DriverError
from tasuki.message import Message


class MemoryDriver(Driver):
    """Keeps queues in this process; see the table of the package."""

    capabilities = CAPABILITIES

    def __init__(self, name: str, settings: MemorySettings | None = None, clock: Clock | None = None) -> None:
        super().__init__(name)
        self._clock = clock or SystemClock()
        self._queues: dict[str, MemoryQueue] = {}
        self._known: KnownQueues[MemoryQueue] = KnownQueues(name)
        self._numbers = count(1)
        self._guard: Guard[KnownQueues[MemoryQueue]] = Guard(name)
        self._shelves: dict[str, Shelf] = {}

    async def open(self) -> None:
        """Start to serve, with the messages of before."""
        self._guard.opened(self._known)

    async def close(self) -> None:
        """Release held messages and wake waiting receivers; stored messages stay."""
        self._guard.closed()
        for queue in self._queues.values():
            queue.let_go()
            queue.waiters.wake_all(False)

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist; a smaller ``max_length`` keeps stored messages and rejects new ones."""
        queue = self._queues.get(spec.name)
        if queue is None:
            queue = self._queues[spec.name] = MemoryQueue(spec)
        elif spec != queue.spec:
            queue.declare(spec, self._clock.monotonic())
            self._wake(queue)
        self._known.declare(spec.name, queue)

    async def undeclare(self, queue: str) -> None:
        """Forget that it is declared; its messages stay, for the next declaration or inspection."""
        if (forgotten := self._known.forget(queue)) is not None:
            forgotten.waiters.wake_all(False)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know it as it stands."""
        if spec.name in self._queues:
            self._known.inspect(spec.name, self._queues[spec.name])
        return self._queue(spec.name).spec

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Store the messages for which there is room; see the contract."""
        target, now = self._queue(queue), self._clock.monotonic()
        if check_bounds(batch, driver=self.name, queue=queue, unique=self.capabilities.unique):
            return self._publish_each(target, batch, now)
        stored, taken = target.choose(batch, now)
        self._store(target, stored, now)
        if taken == len(batch):
            return ()
        return stored_in_order(len(batch), taken, {}, self._full(target))

    def _publish_each(self, target: MemoryQueue, batch: Sequence[Outgoing], now: float) -> Answers:
        results: list[DriverError | Merged | None] = []
        for message in batch:
            merged = None if message.unique is None else self._merge(target, message, message.unique, now)
            if merged is None:
                chosen, taken = target.choose((message,), now)
                if not taken:
                    break
                if message.unique is None:
                    self._store(target, chosen, now)
                elif chosen:
                    target.uniques.pin(message.unique, self._place(target, message, now), now)
            results.append(merged)
        results += [self._full(target)] * (len(batch) - len(results))
        return answer(results)

    def _merge(self, target: MemoryQueue, message: Outgoing, unique: Unique, now: float) -> Merged | None:
        """The answer for a message whose key another one has; None: the message is to be stored, or its id is known."""
        other = target.uniques.holder(unique, now)
        if other is None:
            return None
        id = other.id
        if unique.act == "keep" or not target.uniques.is_waiting(unique):
            return Merged("kept", id)
        if target.is_known(message, now):
            return None
        target.remember(message, now)
        other.replace(message.id, message.body, message.headers.copy())
        if unique.act == "replace":
            return Merged("replaced", id)
        due = min(now + message.delay, other.published_at + unique.latest)
        target.hide(other, due if due > now else 0.0)
        if target.waiters:
            target.waiters.wake(True)
        return Merged("extended", id)

    def _place(self, target: MemoryQueue, message: Outgoing, now: float) -> Slot:
        due = now + message.delay if message.delay > 0 else 0.0
        headers = message.headers.copy()
        slot = Slot(message.id, message.body, headers, next(self._numbers), now, message.priority, message.key, due)
        if target.spec.fair:
            slot.lane = message.lane
        target.place(slot)
        target.total += 1
        if target.waiters:
            target.waiters.wake(True)
        return slot

    def _store(self, target: MemoryQueue, batch: Sequence[Outgoing], now: float) -> None:
        numbers, append, has_lanes = self._numbers, target.ready.plain.fresh.append, target.lanes is not None
        for message in batch:
            headers = message.headers.copy()
            if has_lanes or message.delay > 0 or message.priority or message.key is not None:
                due = now + message.delay if message.delay > 0 else 0.0
                slot = Slot(message.id, message.body, headers, next(numbers), now, message.priority, message.key, due)
                if has_lanes:
                    slot.lane = message.lane
                target.place(slot)
            else:
                append(Slot(message.id, message.body, headers, next(numbers), now))
        target.total += len(batch)
        if batch and target.waiters:
            target.waiters.wake(True)

    def _full(self, target: MemoryQueue) -> DriverError:
        return full(target.spec.name, target.spec.max_length, driver=self.name)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take ready messages without suspending; else wait for one."""
        source = self._queue(queue)
        taken = source.take(limit, self._numbers, self._clock.monotonic())
        if taken or wait <= 0 or limit <= 0:
            return taken
        return await self._wait(source, limit, wait)

    async def _wait(self, source: MemoryQueue, limit: int, wait: float) -> list[Received]:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + wait
        taken: list[Received] = []
        try:
            while not taken and (left := ends_at - loop.time()) > 0:
                now = self._clock.monotonic()
                due = min(left, source.next_at(now) - now)
                news = await source.waiters.wait(source.waiters.add(), due, lambda _: None)
                if news is False or self._guard.current is None:
                    break
                taken = source.take(limit, self._numbers, self._clock.monotonic())
        finally:
            # Also when cancelled: the wake-up that was meant for this receiver goes to the next one.
            self._wake(source)
        return taken

    def _wake(self, target: MemoryQueue) -> None:
        """Wake a receiver, if there is something for it or will be: it learns when."""
        if target.waiters and target.can_give(self._clock.monotonic()):
            target.waiters.wake(True)

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
                target.done(slot)
            else:
                self._return(target, slot, settlement)
        target.total -= acked
        self._wake(target)
        return stale

    def _return(self, target: MemoryQueue, slot: Slot, settlement: Nack | Release) -> None:
        if isinstance(settlement, Nack):
            slot.suspect = False
            slot.failures += not slot.started
            if settlement.error:
                slot.failure = settlement.error, self._clock.time()
        else:
            slot.failures -= slot.started
            if settlement.delay <= 0:
                target.give_back(slot)
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
                return self._full(target)
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

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        source, now = self._queue(queue), self._clock.monotonic()
        source.surface(now)
        return [slot.shown(now) for slot in islice(source.peek(), after, after + limit)]

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        """Look through the waiting messages."""
        source, now = self._queue(queue), self._clock.monotonic()
        source.surface(now)
        return [slot.shown(now) for slot in find(source, frozenset(ids))]

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        """Look through all messages."""
        source = self._queue(queue)
        source.surface(self._clock.monotonic())
        return locate(source, frozenset(ids))

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        """Look through the waiting messages."""
        source, now = self._queue(queue), self._clock.monotonic()
        source.surface(now)
        return browsing.count(source, most, also, now, self._clock.time() - now)

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        """Look through the waiting messages."""
        source, now = self._queue(queue), self._clock.monotonic()
        source.surface(now)
        found = browsing.of_cause(source, cause)[:: -1 if newest_first else 1]
        return [slot.shown(now) for slot in found[after : after + limit]]

    async def purge(self, queue: str) -> int:
        """Remove all messages but the held ones."""
        return self._queue(queue).purge()

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        """Put the rest in line again, as after a change of the ordering."""
        target = self._queue(queue)
        removed = target.remove(frozenset(ids), frozenset(places))
        self._wake(target)
        return removed

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        """Put them in line with the receivable messages."""
        target = self._queue(queue)
        target.surface(self._clock.monotonic())
        count = target.expedite(frozenset(ids))
        self._wake(target)
        return count

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        """Take out and store, without suspending in between."""
        source = self._queue(queue)
        source.surface(self._clock.monotonic())
        transfers: Transfers[int] = Transfers(self.name, queue, batch)
        results = await transfers.run(number_in, partial(self._find, source), partial(self._transfer, source))
        self._wake(source)
        return results

    async def _find(self, source: MemoryQueue, wanted: Collection[str]) -> dict[str, list[int]]:
        found = find(source, wanted)
        return {id: [slot.number for slot in found if slot.id == id] for id in wanted}

    async def _transfer(self, source: MemoryQueue, to: str, found: Sequence[Found[int]]) -> list[Outcome]:
        target, now = self._queue(to), self._clock.monotonic()
        return transfer(source, target, found, lambda message: self._store(target, (message,), now))

    async def delete(self, queue: str) -> None:
        """Remove it; its waiting receives return nothing."""
        deleted = self._queue(queue)
        self._known.forget(queue)
        del self._queues[queue]
        deleted.waiters.wake_all(False)

    def store(self, name: str) -> MemoryStore:
        """A store in this process; its entries outlive a close of the driver."""
        return MemoryStore(name, self._guard, self._shelves.setdefault(name, Shelf()), self._clock)

    def _held(self, name: str) -> MemoryQueue:
        """The queue, for what ends or keeps its deliveries: also one that is not declared any more."""
        known = self._guard.get(name)
        return self._queues.get(name) or known.get(name)

    def _queue(self, name: str) -> MemoryQueue:
        return self._guard.get(name).get(name)
