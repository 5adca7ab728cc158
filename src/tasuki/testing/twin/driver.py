"""TwinDriver: the memory driver in virtual time, with faults, in the place of any driver of an app."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tasuki.contracts.driver import (
    Ack,
    Answers,
    Durability,
    Merged,
    Move,
    Nack,
    Outgoing,
    Receipt,
    Received,
    Settlement,
)
from tasuki.contracts.groups import stale
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.drivers.memory.queue import MemoryQueue
from tasuki.drivers.memory.slots import Slot
from tasuki.drivers.memory.store import MemoryStore, Shelf
from tasuki.drivers.toolkit.guard import Guard
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.message import DEAD_LETTER_REASON, is_request
from tasuki.testing.clock import FakeClock
from tasuki.testing.twin.reading.journal import Journal, Outcome
from tasuki.testing.twin.transactions import TwinTransactions

if TYPE_CHECKING:
    from tasuki.queues.queue import Queue


class Faults:
    """Shared by the drivers of one twin, as they are in one process, and behind one network."""

    def __init__(self, clock: FakeClock, journal: Journal) -> None:
        self.clock = clock
        self.journal = journal
        self.drivers: list[TwinDriver] = []
        self.away_until = 0.0
        """Monotonic time until which the broker is unavailable."""
        self.kills_left: dict[tuple[TwinDriver, str] | None, int] = {}
        """How many workers still die, by the queue whose message they handle; None: any queue."""
        self.is_killed = False
        """A worker has died, and no other one has taken its place yet."""
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def is_away(self) -> bool:
        """Whether the broker is unavailable now."""
        return self.clock.monotonic() < self.away_until

    async def until_back(self) -> None:
        """Return when the broker is there."""
        if self.is_away:
            self._waiting.append(back := asyncio.get_running_loop().create_future())
            await back

    def time_has_passed(self) -> None:
        """Wake what waits for a time that has come. Only in the loop that waits."""
        if not self.is_away:
            self._go_on()
            for driver in self.drivers:
                driver.wake()

    def lose_connections(self) -> None:
        """The worker stops while the broker is unavailable: its messages come back when their leases end."""
        for driver in self.drivers:
            driver.lose_deliveries()
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for back in waiting:
            if not back.done():
                back.set_result(None)

    def kills(self, queue: str, driver: TwinDriver, *, is_handled: bool) -> bool:
        """Whether the worker dies now, before the settlement of a message of that queue; then it has lost all."""
        if self.is_killed or not is_handled:
            return self.is_killed
        for which in ((driver, queue), None):
            if self.kills_left.get(which):
                self.kills_left[which] -= 1
                self.is_killed = True
                for each in self.drivers:  # also of the other queues: it is one process
                    each.lose_deliveries()
                self.journal.tell()
                return True
        return False

    def was_given_up(self, id: str) -> bool:
        """Whether the ack of a message follows its dead letter, on any driver; once for each dead letter."""
        holders = [driver for driver in self.drivers if id in driver.dead]
        for driver in holders:
            driver.dead.discard(id)
        return bool(holders)


class TwinDriver(TwinTransactions):
    """Differs from the memory driver by its faults.

    While the broker is unavailable, publishing, inspecting and stores raise BrokerUnavailableError; receiving and
    settling wait until it is back, as virtual time does not pass while a driver retries.
    """

    capabilities = MemoryDriver.capabilities

    def __init__(self, name: str, faults: Faults) -> None:
        super().__init__(name, clock=faults.clock)
        self._faults = faults
        self._journal = faults.journal
        self._dead: set[str] = set()
        """Ids of dead letters whose originals are not acked yet."""

    @property
    def durability(self) -> Durability:
        """The highest, so that a twin refuses no queue that demands one; its messages survive nothing."""
        return "node"

    @property
    def queues(self) -> dict[str, MemoryQueue]:
        """The queues by name, with delayed messages whose time has come among the receivable ones."""
        for queue in self._queues.values():
            queue.surface(self._clock.monotonic())
        return self._queues

    def _queue(self, name: str) -> MemoryQueue:
        if self._faults.is_away:
            problem = f"driver {self.name!r}: the broker is unavailable, as the test says"
            raise BrokerUnavailableError(problem, driver=self.name, queue=name)
        return super()._queue(name)

    def store(self, name: str) -> TwinStore:
        """A store in memory."""
        return TwinStore(name, self._guard, self._shelves.setdefault(name, Shelf()), self._faults)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """As the memory driver; notes dead letters and requests."""
        results = await super().publish(queue, batch)
        self._dead.update(message.id for message in batch if DEAD_LETTER_REASON in message.headers)
        pairs = zip(batch, results, strict=True) if results else ()
        kept = {each.id for each, answer in pairs if isinstance(answer, Merged) and answer.how == "kept"}
        self._journal.requests += [each.id for each in batch if is_request(each) and each.id not in kept]
        self._journal.tell()
        return results

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """As the memory driver, once the broker is there."""
        self._loop = asyncio.get_running_loop()
        await self._faults.until_back()
        taken = await super().receive(queue, limit, wait)
        self._journal.steps += len(taken)
        return taken

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """As the memory driver, once the broker is there; unless the worker dies before that."""
        await self._faults.until_back()
        if self._dies(queue, batch):
            return [settlement.receipt for settlement in batch]
        held = self._held(queue).held
        for settlement in batch:
            if settlement.receipt in held:
                self._journal.settled.append((self.name, queue, self._outcome(held[settlement.receipt], settlement)))
        rest = await super().settle(queue, batch)
        self._journal.tell()
        return rest

    def _outcome(self, slot: Slot, settlement: Settlement) -> Outcome:
        if isinstance(settlement, Ack):
            return "dead_letter" if self._faults.was_given_up(slot.id) else "ack"
        if isinstance(settlement, Nack):
            return "nack"
        return "snooze" if settlement.delay > 0 else "release"

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """As ``settle``."""
        await self._faults.until_back()
        if self._dies(queue, batch):
            return [stale(move.receipt, driver=self.name, queue=queue) for move in batch]
        return await super().move(queue, batch)

    def _dies(self, queue: str, batch: Sequence[Settlement | Move]) -> bool:
        """Whether the worker dies before this: only where a handler has run, as without one nothing is done twice."""
        held, started = self._held(queue).held, self._journal.started
        ids = {held[each.receipt].id for each in batch if each.receipt in held}
        is_dead = self._faults.kills(queue, self, is_handled=not started.isdisjoint(ids))
        started -= ids
        return is_dead

    @property
    def dead(self) -> set[str]:
        """Ids of dead letters stored here whose originals are not acked yet."""
        return self._dead

    def lose_deliveries(self) -> None:
        """The worker has died: its messages come back when their leases end, as suspects."""
        for queue in self._queues.values():
            held, queue.held = queue.held, {}
            for slot in held.values():
                slot.lose()
                slot.due = self._clock.monotonic() + queue.spec.lease
                queue.put_back(slot)

    def deliver_again(self, queue: str, messages: Iterable[Outgoing]) -> None:
        """Store copies, as a broker does that delivers twice."""
        self._store(self._queues[queue], list(messages), self._clock.monotonic())

    def reorder(self, queue: str) -> None:
        """Reverse the order of the receivable messages."""
        target = self.queues[queue]
        for rank in target.ranks():
            slots = list(rank)
            rank.back.clear()
            rank.fresh.clear()
            for slot, number in zip(reversed(slots), [slot.number for slot in slots], strict=True):
                slot.number = number
                rank.put(slot)

    def wake(self) -> None:
        """Time has passed, or the broker is back: let receivers find due messages."""
        now = self._clock.monotonic()
        for queue in self._queues.values():
            if queue.waiters and queue.next_at(now) <= now:
                queue.waiters.wake(True)


def twin_of(queue: Queue) -> TwinDriver:
    """The driver of a twin's queue."""
    assert isinstance(queue.driver, TwinDriver)
    return queue.driver


class TwinStore(MemoryStore):
    """Its entries are there again when the broker is; a watch waits until then. It goes by virtual time."""

    def __init__(self, name: str, guard: Guard[Any], shelf: Shelf, faults: Faults) -> None:
        super().__init__(name, guard, shelf, faults.clock)
        self._faults = faults

    def _ready(self, key: str = "x", value: bytes = b"") -> Shelf:
        if self._faults.is_away:
            problem = f"store {self.name!r} of driver {self.driver!r}: the broker is unavailable, as the test says"
            raise BrokerUnavailableError(problem, driver=self.driver)
        return super()._ready(key, value)
