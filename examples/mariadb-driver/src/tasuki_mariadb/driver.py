"""The driver: each verb is one transaction of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Capabilities,
    Depth,
    Driver,
    Durability,
    Move,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.toolkit.bounds import check_bounds
from tasuki.drivers.toolkit.guard import Guard, not_open
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.drivers.toolkit.moves import FULL, move_together
from tasuki.drivers.toolkit.results import answer
from tasuki.errors import DriverError, QueueFullError, QueueNotFoundError
from tasuki.message import Message
from tasuki_mariadb import rules
from tasuki_mariadb.connecting import NO_TABLE, Connector, code_of
from tasuki_mariadb.session import Session
from tasuki_mariadb.settings import MariaDbSettings

_DURABILITY: dict[int, Durability] = {0: "process", 2: "broker"}


class MariaDbDriver(Driver):
    """Keeps queues in tables of a MariaDB database; see the table of the package."""

    capabilities = Capabilities(
        durability="power",
        multi_process=True,
        ordered=True,
        ordering_key=True,
        native_delay=True,
        native_priority=True,
        counts_attempts=True,
        leases=True,
        exact_depth=True,
        peek=True,
        purge=True,
        remove=True,
        counts_consumers=True,
        max_length=True,
        dedup=True,
        delete=True,
        atomic_move=True,
        max_batch=1000,
        max_message_bytes=rules.MAX_BODY,
    )

    def __init__(self, name: str, settings: MariaDbSettings, clock: Clock | None = None) -> None:
        super().__init__(name)
        self._settings = settings
        self._connector = Connector(settings)
        self._clock = clock or SystemClock()
        self._known: KnownQueues[QueueSpec] = KnownQueues(name)
        self._guard: Guard[Session] = Guard(name)

    @property
    def durability(self) -> Durability:
        """What the commits of the server survive, by its settings when the driver was opened."""
        session = self._guard.current
        return _DURABILITY.get(session.flush_at_commit, "power") if session else self.capabilities.durability

    async def open(self) -> None:
        """Connect, and declare the queues of before; the tables are made for the first queue."""
        current = self._guard.current
        if current is not None and current.is_usable:
            return
        session = Session(self.name, self._settings, self._connector, self._known)
        is_open = False
        try:
            await session.open()
            is_open = True
        finally:
            if not is_open:
                await session.close()
        self._guard.opened(session)

    async def close(self) -> None:
        """Return the held messages to their queues, and end all connections."""
        session = self._guard.current
        if session is not None and not session.loop.is_closed():
            await session.close()
        self._guard.closed(session)

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist in the database; its options hold for all processes."""
        self._known.declare(spec.name, spec)
        session = self._guard.current
        if session is not None:
            await session.declare(spec)

    async def undeclare(self, queue: str) -> None:
        """Forget the queue here; the database keeps it, without the consumers of this process."""
        forgotten = self._known.forget(queue)
        session = self._guard.current
        if forgotten is None or session is None or not session.is_usable:
            return
        session.stop_waiting(queue)
        if forgotten.consumers:
            with suppress(DriverError):  # the number goes with this process
                await session.attach(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know a queue of the database; neither the tables nor the queue are made."""
        try:
            found = await self._usable(spec.name).run(spec.name, lambda store: store.queue(spec.name, lock=False))
        except DriverError as error:
            if code_of(error.__cause__) != NO_TABLE:
                raise
            problem = f"queue {spec.name!r} is not in the database, which has no tables of Tasuki"
            raise QueueNotFoundError(problem, driver=self.name, queue=spec.name) from error
        spec = replace(
            spec,
            lease=found.lease,
            max_length=found.max_length,
            ordering="key" if found.by_key else "none",
            dedup_window=found.dedup_window,
            temporary=bool(found.temporary),
        )
        self._known.inspect(spec.name, spec)
        return spec

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Store the messages for which there is room, in one transaction."""
        session = self._session(queue)
        if not batch:
            return ()
        check_bounds(batch, driver=self.name, queue=queue)
        results: list[DriverError | None] = [rules.refusal(self.name, queue, message) for message in batch]
        sound = [index for index, result in enumerate(results) if result is None]
        if sound:
            taken = await session.run(queue, lambda store: store.publish(queue, [batch[index] for index in sound]))
            session.wake(queue)
            problem = f"queue {queue!r} holds as many messages as its max_length allows"
            for index in sound[taken:]:
                results[index] = QueueFullError(problem, driver=self.name, queue=queue)
        return answer(results)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; those taken for a cancelled caller are released."""
        session, spec = self._session(queue), self._known.get(queue)
        if limit <= 0:
            return []
        ends_at = self._clock.monotonic() + wait
        while True:
            waiting = session.waiting[queue]
            waiter = waiting.add()  # before it asks, so that it misses no wake-up
            taken: list[Received] = []
            try:
                taken = await session.claim(spec, limit)
                left = ends_at - self._clock.monotonic()
                if taken or left <= 0 or not session.is_usable:
                    return taken if session.is_usable else []  # a close has given it back
                if not await waiting.wait(waiter, left) or not session.is_usable or queue not in self._known:
                    return []
            finally:
                if waiting.leave(waiter) or len(taken) == limit:
                    session.wake(queue)  # there may be more

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record that the handlers of these deliveries begin."""
        session = self._holding(queue)
        return await session.run(queue, lambda store: store.start(queue, batch)) if batch else ()

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; committed when this returns."""
        session = self._holding(queue)
        return await asyncio.shield(session.spawn(session.settle(queue, batch))) if batch else ()

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Store and ack in one transaction, for each queue that something goes to."""
        session = self._holding(queue)

        def refuse(move: Move) -> DriverError | None:
            return next((no for message in move.messages if (no := rules.refusal(self.name, move.to, message))), None)

        async def run(to: str, moves: Sequence[Move]) -> Sequence[int]:
            self._session(to)
            outcomes = await session.run(queue, lambda store: store.move(queue, to, moves))
            session.held.forget(queue, [move.receipt for move, out in zip(moves, outcomes, strict=True) if out != FULL])
            session.wake(to)
            session.wake(queue)  # the next of a key is in front
            return outcomes

        return await move_together(self.name, queue, batch, refuse=refuse, run=run)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases; from another loop by a connection in a thread of its own."""
        session = self._holding(queue)
        run = session.run if asyncio.get_running_loop() is session.loop else session.run_aside
        return await run(queue, lambda store: store.extend(queue, batch, lease)) if batch else ()

    async def depth(self, queue: str) -> Depth:
        """Count the rows."""
        return await self._session(queue).run(queue, lambda store: store.depth(queue))

    async def occupancy(self, queue: str) -> Occupancy:
        """Seek the first row of each state."""
        return await self._session(queue).run(queue, lambda store: store.occupancy(queue))

    async def attach(self, queue: str, consumers: int) -> None:
        """Note the number in the database, where it lasts as long as a connection of this process."""
        session = self._session(queue)
        self._known.attach(queue, consumers)
        await session.attach(queue)

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        return await self._session(queue).run(queue, lambda store: store.peek(queue, limit, after))

    async def purge(self, queue: str) -> int:
        """Remove the messages that waited when the call began, in several transactions."""
        session = self._session(queue)
        newest, held = await session.run(queue, lambda store: store.newest(queue))
        count = 0
        while gone := await session.run(queue, lambda store: store.purge(queue, newest, held)):
            count += gone
        return count

    async def remove(self, queue: str, ids: Collection[str]) -> int:
        """Find the messages in one statement that locks nothing, and remove them in others."""
        session = self._session(queue)
        if not ids:
            return 0
        found, count = await session.run(queue, lambda store: store.found(queue, list(ids))), 0
        for start in range(0, len(found), 1000):
            part = found[start : start + 1000]
            count += await session.run(queue, lambda store: store.remove(queue, part))  # noqa: B023
        return count

    async def delete(self, queue: str) -> None:
        """Remove the queue and all its rows."""
        session = self._session(queue)
        with self._known.forgetting(queue):
            await asyncio.shield(session.spawn(session.delete(queue)))
        session.held.forget_queue(queue)
        session.stop_waiting(queue)

    def _session(self, queue: str) -> Session:
        """For a queue that is known here."""
        session = self._usable(queue)
        self._known.get(queue)
        return session

    def _holding(self, queue: str) -> Session:
        """For what ends or keeps deliveries, also of a queue that was undeclared since."""
        session = self._usable(queue)
        session.held.get(queue, self._known)
        return session

    def _usable(self, queue: str) -> Session:
        session = self._guard.get(queue)
        if not session.is_usable:
            raise not_open(self.name, queue)
        return session
