"""The memory driver: queues inside this process, under their bounds, for development, tests and short-lived work.

==============  =====================================================================================================
durability      ``memory``: gone with the process; a closed driver keeps its messages and opens again with them
place in line   by priority, then by publishing; nack, release and close put a message back at its own place
order per key   strict: a message waits until all earlier ones of its key are acked, delayed and nacked ones included
attempt         deliveries so far; a close counts as a delivery that failed, a release as none
lease           none: a delivery is bound to the open driver, ``extend`` only says which receipts are not held
isolation       headers are copied on the way in and on the way out
depth           exact; ``ready`` counts what waits behind its key, ``oldest_age`` looks at what can be received now
threads         one event loop at a time; only ``extend`` may be called from another thread
==============  =====================================================================================================
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush, merge
from itertools import chain, count, islice
from operator import attrgetter

import msgspec

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Ack,
    Capabilities,
    Depth,
    Driver,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.errors import BrokerUnavailableError, DriverError, QueueFullError, QueueNotFoundError
from tasuki.message import HeaderValue, Message


class _Slot(msgspec.Struct, gc=False):
    """A stored message and its place in line; ``due`` is 0.0 unless it is hidden until then."""

    id: str
    body: bytes
    headers: dict[str, HeaderValue]
    number: int
    published_at: float
    priority: int = 0
    key: str | None = None
    due: float = 0.0
    attempt: int = 0


_number = attrgetter("number")


class _Lane:
    """The receivable messages of one priority: new ones in a deque, those that came back in a heap, both by number."""

    __slots__ = ("back", "fresh")

    def __init__(self) -> None:
        self.fresh: deque[_Slot] = deque()
        self.back: list[tuple[int, _Slot]] = []

    def __len__(self) -> int:
        return len(self.fresh) + len(self.back)

    def put(self, slot: _Slot) -> None:
        if self.fresh and self.fresh[-1].number > slot.number:
            heappush(self.back, (slot.number, slot))
        else:
            self.fresh.append(slot)

    def pop(self) -> _Slot:
        back, fresh = self.back, self.fresh
        if back and (not fresh or back[0][0] < fresh[0].number):
            return heappop(back)[1]
        return fresh.popleft()

    def first(self) -> _Slot:
        return min(chain(islice(self.fresh, 1), (slot for _, slot in self.back[:1])), key=_number)

    def __iter__(self) -> Iterator[_Slot]:
        return merge((slot for _, slot in sorted(self.back)), self.fresh, key=_number)


class _Line:
    """The messages of one key: how many are in front (receivable, delayed or held; normally one), and the rest."""

    __slots__ = ("front", "rest")

    def __init__(self) -> None:
        self.front = 0
        self.rest: deque[_Slot] = deque()

    def join(self, slot: _Slot) -> None:
        if self.rest and self.rest[-1].number > slot.number:
            insort(self.rest, slot, key=_number)
        else:
            self.rest.append(slot)


class _Queue:
    """One queue: decides places, never waits."""

    def __init__(self, spec: QueueSpec) -> None:
        self.spec = spec
        self.total = 0
        self.plain = _Lane()
        self.lanes: dict[int, _Lane] = {0: self.plain}
        self.delayed: list[tuple[float, int, _Slot]] = []
        self.held: dict[int, _Slot] = {}
        self.lines: dict[str, _Line] = {}
        self.consumers = 0
        self.waiters: dict[asyncio.Future[bool], None] = {}

    def declare(self, spec: QueueSpec) -> None:
        """Take new options; a change of ordering puts all waiting messages in line again."""
        changed = spec.ordering != self.spec.ordering
        waiting = sorted(self.peek(), key=_number) if changed else []
        self.spec = spec
        if not changed:
            return
        self._clear()
        for slot in self.held.values():
            if (line := self._line(slot)) is not None:
                line.front += 1
        for slot in waiting:
            self.place(slot)

    def place(self, slot: _Slot) -> None:
        """Put a message that is not in front of its key where it belongs."""
        if slot.due:
            heappush(self.delayed, (slot.due, slot.number, slot))
        line = self._line(slot)
        if line is None:
            self._show(slot)
        elif line.front:
            line.join(slot)
        else:
            line.front = 1
            line.join(slot)
            self._show(line.rest.popleft())

    def put_back(self, slot: _Slot) -> None:
        """Put a message that was held back at its place; it stays in front of its key."""
        if (line := self._line(slot)) is not None:
            line.front -= 1
        self.place(slot)

    def leave(self, slot: _Slot) -> None:
        """Let the next of the same key come to the front after this one is done."""
        line = self._line(slot)
        if line is None:
            return
        line.front -= 1
        if not line.front and line.rest:
            line.front = 1
            self._show(line.rest.popleft())
        elif not line.front and slot.key is not None:
            del self.lines[slot.key]

    def surface(self, now: float) -> None:
        """Make the delayed messages whose time has come receivable."""
        delayed = self.delayed
        while delayed and delayed[0][0] <= now:
            slot = heappop(delayed)[2]
            slot.due = 0.0
            line = self._line(slot)
            if line is None or not line.rest or slot.number < line.rest[0].number:
                self._show(slot)

    def take(self, limit: int, numbers: count[int]) -> list[Received]:
        """Hand out up to ``limit`` receivable messages, highest priority first."""
        if len(self.lanes) == 1:
            return self._take_from(self.plain, limit, numbers)
        taken: list[Received] = []
        for priority in sorted(self.lanes, reverse=True):
            taken += self._take_from(self.lanes[priority], limit - len(taken), numbers)
            if priority and not self.lanes[priority]:
                del self.lanes[priority]
        return taken

    def _take_from(self, lane: _Lane, limit: int, numbers: count[int]) -> list[Received]:
        pop = lane.pop if lane.back else lane.fresh.popleft
        held = self.held
        taken = []
        for _ in range(min(limit, len(lane))):
            slot = pop()
            slot.attempt = attempt = slot.attempt + 1
            receipt = next(numbers)
            held[receipt] = slot
            taken.append(Received(slot.id, slot.body, slot.headers.copy(), receipt, attempt))
        return taken

    def can_give(self) -> bool:
        """Whether something is receivable now or will be at a known time."""
        return bool(self.delayed) or any(self.lanes.values())

    def wake(self) -> None:
        """Wake the receiver that has waited longest; it wakes the next one when it leaves."""
        while self.waiters:
            waiter = next(iter(self.waiters))
            del self.waiters[waiter]
            if not waiter.done():
                waiter.set_result(True)
                return

    def let_go(self) -> None:
        """End all deliveries."""
        held, self.held = self.held, {}
        for slot in held.values():
            self.put_back(slot)

    def purge(self) -> int:
        removed = self.total - len(self.held)
        self.total = len(self.held)
        self._clear()
        for slot in self.held.values():
            if (line := self._line(slot)) is not None:
                line.front += 1
        return removed

    def depth(self, now: float) -> Depth:
        in_flight, delayed = len(self.held), len(self.delayed)
        oldest = min((lane.first().published_at for lane in self.lanes.values() if lane), default=None)
        age = None if oldest is None else now - oldest
        return Depth(self.total - in_flight - delayed, in_flight, delayed, age, self.consumers)

    def peek(self) -> Iterator[_Slot]:
        """The receivable messages in order, then those behind their key, then the delayed ones by their time."""
        lanes = (self.lanes[priority] for priority in sorted(self.lanes, reverse=True))
        behind = (slot for line in self.lines.values() for slot in line.rest if not slot.due)
        return chain(chain.from_iterable(lanes), behind, (slot for _, _, slot in sorted(self.delayed)))

    def _clear(self) -> None:
        self.plain = _Lane()
        self.lanes = {0: self.plain}
        self.delayed = []
        self.lines = {}

    def _line(self, slot: _Slot) -> _Line | None:
        if slot.key is None or self.spec.ordering != "key":
            return None
        if (line := self.lines.get(slot.key)) is None:
            line = self.lines[slot.key] = _Line()
        return line

    def _show(self, slot: _Slot) -> None:
        if slot.due:
            return
        lane = self.lanes.get(slot.priority)
        if lane is None:
            lane = self.lanes[slot.priority] = _Lane()
        lane.put(slot)


class MemoryDriver(Driver):
    """Keeps queues in this process; see the table at the top of the module."""

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
        max_length=True,
        counts_consumers=True,
    )

    def __init__(self, name: str, *, clock: Clock | None = None) -> None:
        super().__init__(name)
        self._clock = clock or SystemClock()
        self._queues: dict[str, _Queue] = {}
        self._numbers = count(1)
        self._open = False

    async def open(self) -> None:
        """Start to serve, with the messages of before."""
        self._open = True

    async def close(self) -> None:
        """Put back what is held and send waiting receivers home; the messages stay."""
        self._open = False
        for queue in self._queues.values():
            queue.let_go()
            waiters, queue.waiters = queue.waiters, {}
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(False)

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist; a smaller ``max_length`` keeps what is there and rejects what comes."""
        if spec.name in self._queues:
            self._queues[spec.name].declare(spec)
        else:
            self._queues[spec.name] = _Queue(spec)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Store the messages for which there is room; see the contract."""
        target = self._queue(queue)
        rejected = self._reject(target, batch)
        if rejected:
            batch = batch[: len(batch) - len(rejected)]
        now = self._clock.monotonic()
        numbers, append = self._numbers, target.plain.fresh.append
        for message in batch:
            headers = message.headers.copy()
            if message.delay > 0 or message.priority or message.key is not None:
                due = now + message.delay if message.delay > 0 else 0.0
                target.place(
                    _Slot(message.id, message.body, headers, next(numbers), now, message.priority, message.key, due)
                )
            else:
                append(_Slot(message.id, message.body, headers, next(numbers), now))
        target.total += len(batch)
        if target.waiters:
            target.wake()
        return [*[None] * len(batch), *rejected] if rejected else ()

    def _reject(self, target: _Queue, batch: Sequence[Outgoing]) -> list[DriverError]:
        most = target.spec.max_length
        if most is None or target.total + len(batch) <= most:
            return []
        room = max(most - target.total, 0)
        problem = f"queue {target.spec.name!r} holds its max_length of {most} messages"
        errors = [QueueFullError(problem, driver=self.name, queue=target.spec.name) for _ in batch[room:]]
        if not room:
            raise errors[0]
        return list(errors)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take what is there, without suspending; else wait for it."""
        source = self._queue(queue)
        if source.delayed:
            source.surface(self._clock.monotonic())
        taken = source.take(limit, self._numbers)
        if taken or wait <= 0:
            return taken
        return await self._wait(source, limit, wait)

    async def _wait(self, source: _Queue, limit: int, wait: float) -> list[Received]:
        loop = asyncio.get_running_loop()
        taken: list[Received] = []
        expired: asyncio.Future[bool] = loop.create_future()
        end = loop.call_later(wait, _wake, expired)
        try:
            while not taken and not expired.done() and await self._woken(source, loop, expired):
                source.surface(self._clock.monotonic())
                taken = source.take(limit, self._numbers)
        finally:
            end.cancel()
            # Also when cancelled: the wake-up that was meant for this receiver goes to the next one.
            if source.waiters and source.can_give():
                source.wake()
        return taken

    async def _woken(self, source: _Queue, loop: asyncio.AbstractEventLoop, expired: asyncio.Future[bool]) -> bool:
        """Wait for a message, a due delay, the end of the wait or a close; False: the driver was closed."""
        waiter: asyncio.Future[bool] = loop.create_future()

        def relay(_: asyncio.Future[bool]) -> None:
            _wake(waiter)

        source.waiters[waiter] = None
        expired.add_done_callback(relay)
        due = None
        if source.delayed:
            due = loop.call_later(max(source.delayed[0][0] - self._clock.monotonic(), 0.0), _wake, waiter)
        try:
            return await waiter and self._open
        finally:
            source.waiters.pop(waiter, None)
            expired.remove_done_callback(relay)
            if due is not None:
                due.cancel()

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; nothing can fail for lack of room, because a held message keeps its place."""
        target = self._queue(queue)
        pop = target.held.pop
        stale: list[Receipt] = []
        acked = 0
        for settlement in batch:
            slot = pop(settlement.receipt, None)
            if slot is None:
                stale.append(settlement.receipt)
            elif type(settlement) is Ack:
                acked += 1
                if slot.key is not None:
                    target.leave(slot)
            else:
                self._return(target, slot, settlement)
        target.total -= acked
        if target.waiters and target.can_give():
            target.wake()
        return stale

    def _return(self, target: _Queue, slot: _Slot, settlement: Settlement) -> None:
        if isinstance(settlement, Nack):
            if settlement.delay > 0:
                slot.due = self._clock.monotonic() + settlement.delay
        else:
            slot.attempt -= 1
        target.put_back(slot)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Say which receipts are not held; there is no lease to set. Safe in any thread."""
        held = self._queue(queue).held
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
        return [
            Message(slot.id, slot.body, slot.headers.copy()) for slot in islice(source.peek(), after, after + limit)
        ]

    async def purge(self, queue: str) -> int:
        """Remove what is not held."""
        return self._queue(queue).purge()

    def _queue(self, name: str) -> _Queue:
        if not self._open:
            problem = f"driver {self.name!r} is not open; open it first"
            raise BrokerUnavailableError(problem, driver=self.name, queue=name)
        try:
            return self._queues[name]
        except KeyError:
            problem = f"queue {name!r} was never declared on driver {self.name!r}; declare it first"
            raise QueueNotFoundError(problem, driver=self.name, queue=name) from None


def _wake(waiter: asyncio.Future[bool]) -> None:
    if not waiter.done():
        waiter.set_result(True)
