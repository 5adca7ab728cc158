"""The driver: its verbs are transactions of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from contextlib import suppress
from functools import partial

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Ability,
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
from tasuki.drivers.toolkit.guard import Guard, KnownQueues, not_open
from tasuki.drivers.toolkit.results import FULL, check_bounds, full, move_together, refusal, sorted_out, stored_in_order
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.message import Message
from tasuki.system.tasks import OnFailure
from tasuki_mariadb.database import MariaDb
from tasuki_mariadb.session import MariaDbSession
from tasuki_mariadb.settings import MariaDbSettings
from tasuki_mariadb.store import MAX_BODY, MariaDbStore, columns

REMOVED = 1000
"""Messages removed in one transaction of a removal by ids."""


_DURABILITY: dict[int, Durability] = {0: "process", 2: "broker"}
_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "leases", "exact_depth", "max_length", "dedup",
})  # fmt: skip


class MariaDbDriver(Driver):
    """Keeps queues in tables of a MariaDB database; see the table of the package.

    Args:
        name: the entry's id.
        settings: where the server is, and how long to wait.
        clock: the time, only for how long a receive waits. Leases and delays go by the server's clock.
    """

    capabilities = Capabilities("power", _ABILITIES, max_batch=1000, max_message_bytes=MAX_BODY)

    def __init__(self, name: str, settings: MariaDbSettings, clock: Clock | None = None) -> None:
        super().__init__(name)
        self._database = MariaDb(name, settings)
        self._clock = clock or SystemClock()
        self._known: KnownQueues[QueueSpec] = KnownQueues(name)
        self._guard: Guard[MariaDbSession] = Guard(name)

    @property
    def durability(self) -> Durability:
        """What the commits of the server survive, by its settings when the last connection was made."""
        return _DURABILITY.get(self._database.flush_at_commit, "power")

    async def open(self) -> None:
        """Connect, and declare the queues of before; the tables are made for the first queue."""
        async with self._guard.changing():
            current = self._guard.current
            if current is not None and current.is_usable:
                return
            session = MariaDbSession(self.name, self._database, self._known)
            async with OnFailure(session.close):
                await session.open()
            self._guard.opened(session)

    async def close(self) -> None:
        """Release the held messages, and end all connections."""
        async with self._guard.changing():
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
        """Forget the queue here; the database keeps it, but a temporary one no longer for this process."""
        forgotten = self._known.forget(queue)
        session = self._guard.current
        if forgotten is None or session is None or not session.is_usable:
            return
        session.polling.forget(queue)
        if forgotten.temporary:
            with suppress(DriverError):  # the note goes with this process
                await session.keep(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know a queue of the database; neither the tables nor the queue are made."""
        try:
            found = await self._usable(spec.name).run(spec.name, lambda store: store.inspect(spec))
        except DriverError as error:
            if not self._database.has_no_tables(error.__cause__):
                raise
            problem = f"queue {spec.name!r} is not in the database, which has no tables of Tasuki; declare it first"
            raise QueueNotFoundError(problem, driver=self.name, queue=spec.name) from error
        self._known.inspect(spec.name, found)
        return found

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Store the messages for which there is room, in one transaction."""
        session = self._session(queue)
        check_bounds(batch, driver=self.name, queue=queue)
        sound, refused = sorted_out(batch, partial(self._refusal, queue))
        stored = await session.run(queue, lambda store: store.publish(queue, sound)) if sound else 0
        if stored:
            session.polling.wake(queue)
        if stored == len(batch):
            return ()
        return stored_in_order(len(batch), stored, refused, full(queue, None, driver=self.name))

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; if the caller is cancelled, they are released."""
        session, spec = self._session(queue), self._known.get(queue)
        if limit <= 0:
            return []
        ends_at = self._clock.monotonic() + wait
        while True:
            waiting = session.polling.waiting(queue)
            waiter = waiting.add()  # before it asks, so that it misses no wake-up
            taken: list[Received] = []
            try:
                taken = await session.claim(spec, limit)
                left = ends_at - self._clock.monotonic()
                if taken or left <= 0 or not session.is_usable:
                    return taken if session.is_usable else []  # a close has released them
                if not await waiting.wait(waiter, left) or not session.is_usable or queue not in self._known:
                    return []
            finally:
                if waiting.leave(waiter) or len(taken) == limit:
                    session.polling.wake(queue)  # there may be more

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record that the handlers of these deliveries begin; committed when this returns."""
        session, _ = self._holding(queue)
        return await session.run(queue, lambda store: store.start(queue, batch)) if batch else ()

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; committed when this returns."""
        session, spec = self._holding(queue)
        return await session.settle(spec, batch) if batch else ()

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Store and ack in one transaction, for each queue that something goes to."""
        session, _ = self._holding(queue)

        def refuse(move: Move) -> DriverError | None:
            return next((error for each in move.messages if (error := self._refusal(move.to, each))), None)

        async def run(to: str, moves: Sequence[Move]) -> Sequence[int]:
            self._session(to)
            outcomes = await session.run(queue, lambda store: store.move(queue, to, moves))
            ended = [move.receipt for move, outcome in zip(moves, outcomes, strict=True) if outcome != FULL]
            session.held.forget(queue, ended)
            session.polling.wake(to)
            session.polling.wake(queue)  # the next message of a key is in front
            return outcomes

        return await move_together(self.name, queue, batch, refuse=refuse, run=run)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases; from another loop by a connection in its own thread."""
        session, _ = self._holding(queue)
        run = session.run if asyncio.get_running_loop() is session.loop else session.run_aside
        return await run(queue, lambda store: store.extend(queue, batch, lease)) if batch else ()

    async def depth(self, queue: str) -> Depth:
        """Count the messages."""
        return await self._session(queue).run(queue, lambda store: store.depth(queue))

    async def occupancy(self, queue: str) -> Occupancy:
        """Seek one message of each state."""
        return await self._session(queue).run(queue, lambda store: store.occupancy(queue))

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        return await self._session(queue).run(queue, lambda store: store.peek(queue, limit, after))

    async def purge(self, queue: str) -> int:
        """Remove the messages that waited when the call began, in several transactions."""
        session = self._session(queue)
        extent = await session.run(queue, lambda store: store.extent(queue))
        count = 0
        while gone := await session.run(queue, lambda store: store.purge(queue, extent)):
            count += gone
        return count

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        """Find the messages in a transaction that locks nothing, and remove them in others."""
        session = self._session(queue)
        if not ids:
            return 0
        found, count = await session.run(queue, lambda store: store.search(queue, ids)), 0
        if places:
            found = [number for number in found if str(number) in places]
        for start in range(0, len(found), REMOVED):

            def remove(store: MariaDbStore, start: int = start) -> Awaitable[int]:
                return store.remove(queue, found[start : start + REMOVED])

            count += await session.run(queue, remove)
        return count

    async def delete(self, queue: str) -> None:
        """Remove the queue and all its rows."""
        session = self._session(queue)
        with self._known.forgetting(queue):
            await session.delete(queue)
        session.held.forget_queue(queue)
        session.polling.forget(queue)

    def _refusal(self, queue: str, message: Outgoing) -> DriverError | None:
        return refusal(message, driver=self.name, queue=queue, most=MAX_BODY, encode=columns)

    def _session(self, queue: str) -> MariaDbSession:
        """For a queue that is known here."""
        session = self._usable(queue)
        self._known.get(queue)
        return session

    def _holding(self, queue: str) -> tuple[MariaDbSession, QueueSpec]:
        """For what ends or keeps deliveries, also of a queue that was undeclared since."""
        session = self._usable(queue)
        return session, session.held.get(queue, self._known)

    def _usable(self, queue: str) -> MariaDbSession:
        session = self._guard.get(queue)
        if not session.is_usable:
            raise not_open(self.name, queue)
        return session
