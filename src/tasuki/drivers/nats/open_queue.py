"""Open queue: one declared queue of this process: its lanes, what it holds, and what is on its way in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import Any

from tasuki.clock import Clock
from tasuki.contracts.driver import Ack, Nack, QueueSpec, Receipt, Received, Release, Settlement
from tasuki.drivers.nats.api import ask
from tasuki.drivers.nats.book import Book, Note
from tasuki.drivers.nats.connection import Connection
from tasuki.drivers.nats.held import MARGIN, Held, Table
from tasuki.drivers.nats.ids import Ids
from tasuki.drivers.nats.intake import Arrival, Intake
from tasuki.drivers.nats.item import Item
from tasuki.drivers.nats.lanes import Plan
from tasuki.drivers.nats.names import Names
from tasuki.drivers.nats.settling import ACK, IN_PROGRESS, NAK, confirmed, nak
from tasuki.errors import DriverError, QueueNotFoundError

_FRESH = 0.5
"""Share of the lease that a message must have left when it is handed over."""
_CLEANED = 1000
"""Notes on messages that are long gone, erased at a time."""


class OpenQueue:
    """A queue whose stream is there.

    Args:
        driver: the driver's name, for errors.
        spec: what was declared.
        plan: the lanes that the stream has.
        names: of streams and subjects.
        epoch: tells the stream from earlier ones of this name.
        clock: the time.
        connect: gives the connection in use.
    """

    def __init__(
        self,
        driver: str,
        spec: QueueSpec,
        *,
        plan: Plan,
        names: Names,
        epoch: str,
        clock: Clock,
        connect: Callable[[], Awaitable[Connection]],
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._connect = connect
        self._tasks: set[asyncio.Task[list[Any]]] = set()
        self.spec = spec
        self.plan = plan
        self.epoch = epoch
        self._noted: Collection[int] = ()
        self._recalled_on: Connection | None = None
        self.ids: Ids | None = None
        """The ids of its ``dedup_window``, if it has one."""
        self.is_missing = False
        """Whether its stream is known to be gone."""
        self.stream = names.stream(spec.name)
        self.book = Book(names, spec.name, epoch)
        self.table = Table(spec.lease)
        self.intake = Intake(driver, spec.name, self.stream, plan.lanes(), self._give_back)

    def declared(self, spec: QueueSpec, plan: Plan, ids: Ids | None) -> None:
        """It has other options now."""
        self.spec, self.plan, self.ids = spec, plan, ids
        self.table.lease = spec.lease
        self.intake.use(plan.lanes())
        self._recalled_on = None

    async def receive(self, connection: Connection, limit: int, wait: float) -> list[Received]:
        """Take up to ``limit`` messages whose time has come."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        if self._recalled_on is not connection:
            await self._recall(connection)
        while True:
            arrivals = await self.intake.take(connection, limit, max(until - loop.time(), 0.0))
            received = await self._admit(connection, arrivals) if arrivals else []
            if received or loop.time() >= until or not arrivals:
                return received

    async def settle(self, connection: Connection, batch: Sequence[Settlement]) -> list[Receipt]:
        """End deliveries; carried out even if the caller is cancelled."""
        now = self._clock.monotonic()
        stale: list[Receipt] = []
        items: list[tuple[Held, Settlement]] = []
        for settlement in batch:
            # An ack that comes too late does no harm, as the message is done; whatever gives it back would.
            held = self.table.find(settlement.receipt, now, margin=0.0 if type(settlement) is Ack else MARGIN)
            if held is None or held.is_ending:
                stale.append(settlement.receipt)
            else:
                held.is_ending = True
                items.append((held, settlement))
        if items:
            task = self._start(self._settle(connection, items))
            await asyncio.wait([task])
            stale += task.result()
        return stale

    async def extend(self, connection: Connection, batch: Sequence[Receipt], lease: float) -> list[Receipt]:
        """Renew leases; on whichever loop the connection is."""
        now = self._clock.monotonic()
        stale: list[Receipt] = []
        items: list[Held] = []
        for receipt in batch:
            held = self.table.find(receipt, now)
            if held is None:
                stale.append(receipt)
            else:
                items.append(held)
        if not items:
            return stale
        usual = self.table.lease
        # The server renews for the consumer's own lease; another one is put off like a nack, and yet not given up.
        is_usual = abs(lease - usual) < 0.001
        content = IN_PROGRESS if is_usual else nak(lease)
        silent = await confirmed(connection, [(held.lane, held.receipt, content) for held in items])
        for held in items:
            if held.lane in silent:
                stale.append(held.receipt)
            else:
                held.since = now if is_usual else now - usual + lease
        return stale

    async def close(self, connection: Connection | None) -> None:
        """Hand everything back: what nobody took as if it had never been delivered, what is held as it is."""
        left = await self.intake.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        held = sorted(self.table.living(self._clock.monotonic()), key=lambda held: held.sequence)
        self.table.clear()
        if connection is None:
            return
        if left:
            await self._give_back(left)
        if held:
            try:
                # The server writes its counts down a little later, and may lose them if it is killed.
                notes = [(Note(each.sequence, 0.0, each.refunds, each.delivered), each.receipt) for each in held]
                await self.book.write(connection, notes)
                await confirmed(connection, [(each.lane, each.receipt, NAK) for each in held])
            except DriverError:
                pass  # their leases end by themselves

    async def _recall(self, connection: Connection) -> None:
        """Which messages have a note: a server that died, and a consumer made again, may have forgotten deliveries."""
        notes = await self.book.notes(connection)
        (info,) = await ask(connection, self.spec.name, [(f"STREAM.INFO.{self.stream}", {})])
        first = int(info.get("state", {}).get("first_seq", 0))
        self._noted = notes.keys()
        self._recalled_on = connection
        await self._forget(connection, [number for number in notes if number < first][:_CLEANED])

    async def _admit(self, connection: Connection, arrivals: list[Arrival]) -> list[Received]:
        """Begin the deliveries of messages whose time has come; the others are put off."""
        oldest = asyncio.get_running_loop().time() - self.spec.lease * _FRESH
        items = [Item(arrival) for arrival in arrivals if arrival.at > oldest]
        now = self._clock.time()
        if any(item.head.due > now or self._may_be_noted(item) for item in items):
            task = self._start(self._looked_up(connection, items))
            is_taken = False
            try:
                await asyncio.wait([task])
                is_taken = True
            finally:
                if not is_taken:
                    task.add_done_callback(self._untaken)
            items = task.result()
        return [self._begin(item) for item in items]

    def _begin(self, item: Item) -> Received:
        arrival, parts = item.arrival, item.arrival.parts
        since = self._clock.monotonic() - (asyncio.get_running_loop().time() - arrival.at)
        self.table.add(
            Held(
                arrival.receipt,
                parts.consumer,
                parts.sequence,
                item.delivered,
                since,
                item.refunds,
                item.note is not None or item.head.due > 0,
            )
        )
        attempt = max(item.delivered - item.refunds, 1)
        return Received(item.head.id, item.body, item.head.headers, arrival.receipt, attempt)

    async def _looked_up(self, connection: Connection, items: list[Item]) -> list[Item]:
        """Ask the book about messages that were delivered before, and put off those whose time has not come."""
        again = [item for item in items if self._may_be_noted(item)]
        if again:
            try:
                notes = await self.book.read(connection, [item.arrival.parts.sequence for item in again])
            except DriverError:
                self.intake.put_back([item.arrival for item in items])
                raise
            for item, note in zip(again, notes, strict=True):
                item.note = note
        now = self._clock.time()
        early = [item for item in items if item.due > now]
        if early:
            await self._put_off(connection, early)
        return [item for item in items if item.due <= now]

    def _may_be_noted(self, item: Item) -> bool:
        parts = item.arrival.parts
        return parts.delivered > 1 or parts.sequence in self._noted

    async def _put_off(self, connection: Connection, items: list[Item]) -> None:
        """Hide messages until their time; these deliveries do not count."""
        await self.book.write(connection, [item.returned(item.due) for item in items])
        now = self._clock.time()
        await confirmed(connection, [item.sign(nak(item.due - now)) for item in items])

    def _untaken(self, task: asyncio.Task[list[Item]]) -> None:
        """A receive was cancelled while its messages were looked up."""
        if not task.cancelled() and task.exception() is None:
            self.intake.put_back([item.arrival for item in task.result()])

    async def _give_back(self, arrivals: list[Arrival]) -> None:
        """Hand messages back that nobody took; if that fails, their lease ends by itself and counts."""
        try:
            connection = await self._connect()
            items = await self._looked_up(connection, [Item(arrival) for arrival in arrivals])
            if items:
                items.sort(key=lambda item: item.arrival.parts.sequence)
                await self.book.write(connection, [item.returned() for item in items])
                await confirmed(connection, [item.sign(NAK) for item in items])
        except DriverError:
            return

    async def _settle(self, connection: Connection, items: list[tuple[Held, Settlement]]) -> list[Receipt]:
        """Write down what does not count or is hidden, then tell the server; returns what it knows nothing of."""
        items.sort(key=lambda item: item[0].sequence)  # the order in which they come back
        try:
            notes = [note for held, settlement in items if (note := self._note(held, settlement))]
            if notes:
                await self.book.write(connection, notes)
            signs = [(held.lane, held.receipt, _content(settlement)) for held, settlement in items]
            silent = await confirmed(connection, signs)
        except BaseException:
            for held, _ in items:
                held.is_ending = False
            raise
        for held, _ in items:
            self.table.remove(held)
        await self._forget(connection, [held.sequence for held, kind in items if held.is_noted and type(kind) is Ack])
        if silent:
            self.intake.is_consumer_missing = True
        return [held.receipt for held, _ in items if held.lane in silent]

    def _note(self, held: Held, settlement: Settlement) -> tuple[Note, str] | None:
        if isinstance(settlement, Nack):
            due = self._clock.time() + settlement.delay if settlement.delay > 0 else 0.0
            return Note(held.sequence, due, held.refunds, held.delivered), held.receipt
        if isinstance(settlement, Release):
            return Note(held.sequence, 0.0, held.refunds + 1, held.delivered), held.receipt
        return None

    async def _forget(self, connection: Connection, sequences: list[int]) -> None:
        try:
            await self.book.erase(connection, sequences)
        except DriverError:
            pass  # of no consequence: the number of a message never comes again

    def _start(self, work: Coroutine[Any, Any, list[Any]]) -> asyncio.Task[list[Any]]:
        """Run something to its end, whatever becomes of its caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[list[Any]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may have been cancelled

    def gone(self) -> DriverError:
        """The error for a stream that was removed at the server."""
        problem = f"queue {self.spec.name!r}: its stream was removed from the server; it is made again when it is used"
        return QueueNotFoundError(problem, driver=self._driver, queue=self.spec.name)


def _content(settlement: Settlement) -> bytes:
    if isinstance(settlement, Ack):
        return ACK
    return nak(settlement.delay) if isinstance(settlement, Nack) else NAK
