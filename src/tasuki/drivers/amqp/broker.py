"""The driver on one event loop: connects, declares, and hands each verb to the part that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Sequence
from contextlib import suppress

from tasuki.contracts.driver import (
    DURABILITIES,
    Depth,
    Driver,
    Durability,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.amqp.capabilities import CAPABILITIES
from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError, Errors
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.links import Links
from tasuki.drivers.amqp.publishing.publisher import Publisher
from tasuki.drivers.amqp.receiving.consumer_timeout import limited
from tasuki.drivers.amqp.session import Session
from tasuki.drivers.amqp.topology import counting, declaring, removing
from tasuki.drivers.amqp.topology.marks import Marks
from tasuki.drivers.amqp.topology.queue_arguments import Defaults, Lane, is_quorum, lanes
from tasuki.drivers.toolkit.bounds import check_bounds
from tasuki.drivers.toolkit.guard import Guard, not_declared
from tasuki.errors import (
    DriverError,
    QueueNotFoundError,
)
from tasuki.system.on_failure import OnFailure


class Broker(Driver):
    """Speaks to RabbitMQ on the loop that opens it: over a connection to publish, and others to consume and declare."""

    capabilities = CAPABILITIES
    tells_options = False

    def __init__(
        self, name: str, settings: Endpoint, *, defaults: Defaults, prefetch: int, message_ttl: float | None
    ) -> None:
        super().__init__(name)
        self._settings = settings
        self._defaults = defaults
        self._prefetch = prefetch
        self._expiration = str(max(round(message_ttl * 1000), 1)).encode() if message_ttl else None
        self._errors = Errors(name, settings.shown)
        self._specs: dict[str, QueueSpec] = {}
        self._lanes: dict[str, list[Lane]] = {}
        self._attached: dict[str, int] = {}
        self._inspected: set[str] = set()
        """Known queues that are never made here."""
        self._guard: Guard[Session] = Guard(name)

    @property
    def durability(self) -> Durability:
        """``power`` with quorum queues; the least of its queues otherwise."""
        lasting = (name for name, spec in self._specs.items() if not spec.temporary)
        return min(map(self.durability_of, lasting), key=DURABILITIES.index, default="power")

    def durability_of(self, queue: str) -> Durability:
        """``power`` for a quorum queue, ``broker`` for a classic one, ``process`` if that is not durable."""
        if not all(lane.durable for lane in self._lanes.get(queue, ())):
            return "process"
        return "power" if queue not in self._specs or is_quorum(self._specs[queue]) else "broker"

    @property
    def patience(self) -> float | None:
        """The broker ends a connection that it has not heard of for two to three heartbeats."""
        return 2.0 * self._settings.heartbeat or None

    async def open(self) -> None:
        """Connect for consuming, and declare; the connection for publishing comes with the first message."""
        if self._guard.current is not None:
            return
        links = Links(self._settings, self._prepare, self._prepare_more)
        session = Session(links, Publisher(self._settings), self._errors, self._expiration)
        self._guard.opened(session)
        async with OnFailure(self.close):
            with self._errors.translating():
                await session.link.get()
                await _all(self._stand(session, self._specs[queue]) for queue in self._attached)

    async def close(self) -> None:
        """Return unused messages to the broker, and end all connections."""
        session = self._guard.current
        self._guard.closed()
        if session is not None:
            await session.end()

    async def declare(self, spec: QueueSpec) -> None:
        """Make its queues at the broker; an existing one with other arguments is a conflict."""
        declaring.check_spec(spec, self._specs, self._errors)
        found = limited(lanes(spec, self._defaults), spec)
        others = list(self._lanes.get(spec.name, ()))  # they may hold messages
        session = self._guard.current
        if session is not None:
            with self._errors.translating(spec.name), session.marks.remembered():
                connection = await session.link.get()
                if spec.name not in self._inspected:  # else they are known
                    others += await declaring.left_over(connection, session.marks, spec, self._defaults)
                found = declaring.together(found, others)
                await declaring.declare(connection, self._errors, session.marks, spec, found)
        else:
            found = declaring.together(found, others)
        self._know(spec, found)
        self._inspected.discard(spec.name)

    def _know(self, spec: QueueSpec, found: list[Lane]) -> None:
        self._specs[spec.name], self._lanes[spec.name] = spec, found
        session = self._guard.current
        if session is not None:
            session.known(spec, found)

    async def undeclare(self, queue: str) -> None:
        """Forget it; its channels here end when its open deliveries are settled."""
        spec = self._specs.pop(queue, None)
        self._lanes.pop(queue, None)
        self._attached.pop(queue, None)
        self._inspected.discard(queue)
        session = self._guard.current
        if spec is not None and session is not None:
            await session.leave(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Look for its queues; the broker shows no arguments to a client, so the given options are the answer."""
        queue = spec.name
        session = self._guard.get(queue)
        declared = self._specs.get(queue) if queue not in self._inspected else None
        with self._errors.translating(queue), session.marks.remembered():
            connection = await session.link.get()
            there = await declaring.existing(connection, lanes(declared or spec, self._defaults))
            if there and declared is None:
                there += await declaring.left_over(connection, session.marks, spec, self._defaults)
        if not there:
            raise self._errors.make(QueueNotFoundError, queue, "the broker does not have it; declare it first")
        if declared is None:
            self._inspected.add(queue)
            self._know(spec, there)
        return declared or spec

    def _is_made_again(self, queue: str) -> bool:
        """Whether a queue that is gone from the broker is declared again: a lasting one that this process declared."""
        spec = self._specs.get(queue)
        return spec is not None and not spec.temporary and queue not in self._inspected

    async def _make_again(self, session: Session, queue: str) -> bool:
        """Declare a queue again that was deleted at the broker, unless this process has forgotten it."""
        if not self._is_made_again(queue):
            return False
        with self._errors.translating(queue):
            connection = await session.link.get()
            await declaring.declare(connection, self._errors, session.marks, self._specs[queue], self._lanes[queue])
        return True

    async def _prepare(self, connection: Connection, consumed: Collection[str]) -> None:
        """Declare again: the broker of a new connection may have lost its transient queues, or everything."""
        session = self._guard.current
        if session is None:
            raise ClosedError(0, "closed")
        specs = [spec for queue, spec in self._specs.items() if queue not in self._inspected]
        is_reconnect = session.was_prepared
        marks = session.marks
        await _all(self._declare_again(connection, marks, spec, is_reconnect=is_reconnect) for spec in specs)
        await self._prepare_more(connection, consumed)
        session.was_prepared = True

    async def _prepare_more(self, connection: Connection, consumed: Collection[str]) -> None:
        """All at once: each may have to wait until the deadline, and be made again."""
        session = self._guard.current
        if session is None:
            raise ClosedError(0, "closed")
        await session.take_back(connection)
        attached = [queue for queue in self._attached if queue in consumed and queue in self._specs]
        await _all(
            session.consumer_count.set(connection, self._specs[queue], self._attached[queue]) for queue in attached
        )

    async def _declare_again(
        self, connection: Connection, marks: Marks, spec: QueueSpec, *, is_reconnect: bool
    ) -> None:
        found = self._lanes.get(spec.name)
        if found is None:  # undeclared meanwhile
            return
        if not is_reconnect:
            await declaring.declare(connection, self._errors, marks, spec, found)
        elif not spec.temporary or spec.name in self._attached:  # another process's queue may be gone
            has_nodes = len(self._settings.hosts) > 1
            await declaring.declare_again(connection, self._errors, marks, spec, found, has_nodes=has_nodes)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Confirmed by the broker, message by message, and routed: a message that went nowhere is an error."""
        session, spec = self._check(queue)
        check_bounds(batch, driver=self.name, queue=queue)
        results = await session.publishing.publish(spec, batch)
        lost = [index for index, error in enumerate(results) if isinstance(error, QueueNotFoundError)]
        if not lost or not self._is_made_again(queue):
            return results
        with suppress(DriverError):  # else it is certain all the same that the broker has not stored them
            await self._make_again(session, queue)
            again = await session.publishing.publish(spec, [batch[index] for index in lost])
            merged = list(results)
            for place, index in enumerate(lost):
                merged[index] = again[place] if again else None
            return merged if any(merged) else ()
        return results

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """From the inbox; waits for the broker's push."""
        session, spec = self._check(queue)
        if limit <= 0:
            return []
        deadline = asyncio.get_running_loop().time() + wait
        with self._errors.translating(queue):
            try:
                return await self._receive(session, spec, limit, deadline)
            except ClosedError as error:
                if error.code != NOT_FOUND or not await self._make_again(session, queue):
                    raise
            return await self._receive(session, spec, limit, deadline)

    async def _receive(self, session: Session, spec: QueueSpec, limit: int, deadline: float) -> list[Received]:
        loop = asyncio.get_running_loop()
        subscription = await session.subscription(
            spec, self._lanes.get(spec.name, ()), self._prefetch, max(deadline - loop.time(), 0.0)
        )
        if spec.name not in self._specs:  # undeclared meanwhile, when there was nothing yet to be left
            await session.leave(spec.name)
            raise ClosedError(NOT_FOUND, "it was undeclared")
        return [] if subscription is None else await subscription.receive(limit, deadline - loop.time())

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Recorded by the broker when this returns, and kept until the deliveries are settled."""
        session, spec = self._check(queue)
        subscription = session.subscriptions.get(queue)
        if not batch or subscription is None or subscription.ended is not None:
            return list(batch)
        return await session.settling.start(spec, subscription, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """Copies go first, and are confirmed before their originals are acked; then acks and requeues at once."""
        session, spec = self._check_held(queue)
        if not batch:
            return ()
        subscription = session.subscriptions.get(queue)
        if subscription is None or subscription.ended is not None:
            with self._errors.translating():
                await session.link.get()
            return [settlement.receipt for settlement in batch]
        stale = await session.settling.settle(spec, subscription, batch)
        await session.settled(queue)
        return stale

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Deliveries are bound to the connection and need no renewal; tells which are no longer held."""
        session, _ = self._check_held(queue)
        if not batch:
            return ()
        subscription = session.subscriptions.get(queue)
        with self._errors.translating():
            await session.link.get()
            if subscription is not None:
                with suppress(ClosedError):
                    await subscription.check()
        held = subscription.held if subscription is not None else {}
        return [receipt for receipt in batch if receipt not in held]

    async def depth(self, queue: str) -> Depth:
        """What the broker counts as ready, and what this process holds and has put off; not what others have."""
        session, _ = self._check(queue)
        found = self._lanes[queue]
        with self._errors.translating(queue):
            connection = await session.link.get()
            async with connection.borrow() as channel:
                ready = sum(await counting.ready(channel, [lane.name for lane in found]))
            consumers = await session.consumer_count.count(connection, queue)
            subscription = session.subscriptions.get(queue)
            if subscription is not None and subscription.ended is None:
                await subscription.catch_up()  # messages on their way here are counted neither there nor here
        waiting, held = (len(subscription.inbox), len(subscription.held)) if subscription is not None else (0, 0)
        return Depth(ready + waiting, held, session.publishing.delayed(queue), consumers=consumers)

    async def attach(self, queue: str, consumers: int) -> None:
        """Stand for so many consumers; again after each reconnect."""
        session, spec = self._check(queue)
        self._attached[queue] = consumers
        with self._errors.translating(queue):
            await self._stand(session, spec)

    async def _stand(self, session: Session, spec: QueueSpec) -> None:
        await session.consumer_count.set(await session.connection(spec), spec, self._attached[spec.name])

    async def purge(self, queue: str) -> int:
        """Remove ready and delayed messages, of other processes too; messages pushed to those count as held."""
        session, _ = self._check(queue)
        with self._errors.translating(queue):
            return await removing.purge(session, queue, self._lanes[queue])

    async def delete(self, queue: str) -> None:
        """Remove its queues at the broker, also of the options it was declared with here, and its delayed messages."""
        session, spec = self._check(queue)
        found = self._lanes[queue]
        del self._specs[queue], self._lanes[queue]  # first: a new connection declares these
        # Replies are rarely delayed, and a requester's queue must be cheap to delete.
        is_swept = not spec.temporary or session.publishing.delayed(queue) > 0

        def undo() -> None:
            self._specs.setdefault(queue, spec)
            self._lanes.setdefault(queue, found)

        with OnFailure(undo), self._errors.translating(queue):
            await removing.delete(session, queue, found, is_swept=is_swept)
        self._attached.pop(queue, None)
        self._inspected.discard(queue)
        session.forget(queue)

    def _check_held(self, queue: str) -> tuple[Session, QueueSpec]:
        """The same for an undeclared queue with open deliveries."""
        session = self._guard.get(queue)
        if queue not in self._specs and (left := session.left.get(queue)) is not None:
            return session, left
        return self._check(queue)

    def _check(self, queue: str) -> tuple[Session, QueueSpec]:
        session = self._guard.get(queue)
        spec = self._specs.get(queue)
        if spec is None:
            raise not_declared(self.name, queue)
        return session, spec


async def _all(works: Iterable[Awaitable[None]]) -> None:
    """Do all at the same time, to their ends. Raises what made the first of them fail."""
    for error in await asyncio.gather(*works, return_exceptions=True):
        if error is not None:
            raise error
