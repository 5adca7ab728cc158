"""The driver on one event loop: connects, declares, and hands each verb to the part that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress

from tasuki.contracts.driver import (
    DURABILITIES,
    Answers,
    Depth,
    Driver,
    Durability,
    Kept,
    Occupancy,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError, Errors
from tasuki.drivers.amqp.limits import CAPABILITIES
from tasuki.drivers.amqp.protocol.connecting import Links
from tasuki.drivers.amqp.protocol.connection import Connection, ready_counts
from tasuki.drivers.amqp.publishing.publishing import Publisher, Publishing
from tasuki.drivers.amqp.session import Session, keep
from tasuki.drivers.amqp.settings import AMQPSettings, endpoint
from tasuki.drivers.amqp.topology import declaring, removing
from tasuki.drivers.amqp.topology.declaring import Marks
from tasuki.drivers.amqp.topology.queue_arguments import Defaults, KnownQueue, is_quorum, lanes, limited
from tasuki.drivers.toolkit.guard import Guard, KnownQueues
from tasuki.drivers.toolkit.results import Results, answer, check_bounds, published_again
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.system.tasks import OnFailure


class Broker(Driver):
    """Speaks to RabbitMQ on the loop that opens it: over a connection to publish, and others to consume and declare."""

    capabilities = CAPABILITIES
    tells_options = False

    def __init__(self, name: str, settings: AMQPSettings) -> None:
        super().__init__(name)
        self._endpoint = endpoint(name, settings)
        self._defaults = Defaults(settings.default_queue_ttl, settings.default_queue_expiry)
        self._prefetch = settings.prefetch_count
        message_ttl = settings.default_message_ttl
        self._expiration = str(max(round(message_ttl * 1000), 1)).encode() if message_ttl else None
        self._errors = Errors(name, self._endpoint.shown)
        self._known: KnownQueues[KnownQueue] = KnownQueues(name)
        self._guard: Guard[Session] = Guard(name)

    @property
    def durability(self) -> Durability:
        """``power`` with quorum queues; the least of its queues otherwise."""
        lasting = (spec.name for spec, _ in self._known.all() if not spec.temporary)
        return min(map(self.durability_of, lasting), key=DURABILITIES.index, default="power")

    def durability_of(self, queue: str) -> Durability:
        """``power`` for a quorum queue, ``broker`` for a classic one, ``process`` if that is not durable."""
        known = self._known.find(queue)
        if known is None:
            return "power"
        if not all(lane.durable for lane in known.lanes):
            return "process"
        return "power" if is_quorum(known.spec) else "broker"

    @property
    def patience(self) -> float | None:
        """The broker ends a connection that it has not heard of for two to three heartbeats."""
        return 2.0 * self._endpoint.heartbeat or None

    @property
    def refusal(self) -> str | None:
        """RabbitMQ tells it to a connection that has published."""
        session = self._guard.current
        reason = None if session is None else session.publishing.publisher.blocked
        return None if reason is None else f"RabbitMQ blocks publishing ({reason})"

    async def open(self) -> None:
        """Connect for consuming, and declare; the connection for publishing comes with the first message."""
        async with self._guard.changing():
            if self._guard.current is not None:
                return
            links = Links(self._endpoint, self._prepare, self._prepare_more)
            publishing = Publishing(Publisher(self._endpoint), self._errors, self._expiration)
            session = Session(links, publishing, self._errors)
            self._guard.opened(session)
            async with OnFailure(self.close):
                with self._errors.translating():
                    await session.link.get()
            session.background(keep(session, self._known, self._errors, self._defaults))

    async def close(self) -> None:
        """Return unused messages to the broker, and end all connections."""
        session = self._guard.current
        self._guard.closed()
        if session is not None:
            await session.end()

    async def declare(self, spec: QueueSpec) -> None:
        """Make its queues at the broker; an existing one with other arguments is a conflict."""
        declaring.check_spec(spec, self._known, self._errors)
        before = self._known.find(spec.name)
        found = limited(lanes(spec, self._defaults), spec)
        others = list(before.lanes) if before is not None else []  # they may hold messages
        session = self._guard.current
        if session is None:
            self._known.declare(spec.name, KnownQueue(spec, declaring.together(found, others)))
            return
        with self._errors.translating(spec.name), session.marks.remembered():
            connection = await session.link.get()
            if before is None or self._known.is_declared(spec.name):  # else they are known
                others += await declaring.left_over(connection, session.marks, spec, self._defaults)
            found = declaring.together(found, others)
            await declaring.declare(connection, self._errors, session.marks, spec, found)
        self._known.declare(spec.name, KnownQueue(spec, found))
        session.known(spec, found)

    async def undeclare(self, queue: str) -> None:
        """Forget it; its channels here end when its open deliveries are settled."""
        forgotten, session = self._known.forget(queue), self._guard.current
        if forgotten is not None and session is not None:
            await session.leave(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Check that it exists; the broker shows no arguments to a client, so the given options are the answer."""
        queue = spec.name
        session = self._guard.get(queue)
        declared = self._known.get(queue).spec if self._known.is_declared(queue) else None
        with self._errors.translating(queue), session.marks.remembered():
            connection = await session.link.get()
            there = await declaring.existing(connection, lanes(declared or spec, self._defaults))
            if there and declared is None:
                there += await declaring.left_over(connection, session.marks, spec, self._defaults)
        if not there:
            raise self._errors.make(QueueNotFoundError, queue, "the broker does not have it; declare it first")
        if declared is None:
            self._known.inspect(queue, KnownQueue(spec, there))
            session.known(spec, there)
        return declared or spec

    def _is_made_again(self, queue: str) -> bool:
        """Whether a queue that is gone from the broker is declared again: a lasting one that this process declared."""
        return self._known.is_declared(queue) and not self._known.get(queue).spec.temporary

    async def _make_again(self, session: Session, queue: str) -> bool:
        """Declare a queue again that was deleted at the broker, unless this process has forgotten it."""
        if not self._is_made_again(queue):
            return False
        with self._errors.translating(queue):
            connection = await session.link.get()
            await declaring.declare(connection, self._errors, session.marks, *self._known.get(queue))
        return True

    async def _prepare(self, connection: Connection) -> None:
        """Declare again: the broker of a new connection may have lost its transient queues, or everything."""
        session = self._guard.current
        if session is None:
            raise ClosedError(0, "closed")
        is_reconnect = session.was_prepared
        names = [spec.name for spec, _ in self._known.declared()]
        await _all(self._declare_again(connection, session.marks, name, is_reconnect=is_reconnect) for name in names)
        await self._prepare_more(connection)
        session.was_prepared = True

    async def _prepare_more(self, connection: Connection) -> None:
        session = self._guard.current
        if session is None:
            raise ClosedError(0, "closed")
        await session.take_back(connection)

    async def _declare_again(self, connection: Connection, marks: Marks, queue: str, *, is_reconnect: bool) -> None:
        known = self._known.find(queue)
        if known is None:  # undeclared meanwhile
            return
        if not is_reconnect:
            await declaring.declare(connection, self._errors, marks, *known)
        elif not known.spec.temporary or self._known.is_kept(queue):  # another process's queue may be gone
            has_nodes = len(self._endpoint.hosts) > 1
            await declaring.declare_again(connection, self._errors, marks, *known, has_nodes=has_nodes)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Confirmed by the broker, message by message, and routed: a message that went nowhere is an error."""
        session, (spec, _) = self._check(queue)
        check_bounds(batch, driver=self.name, queue=queue)
        results: Answers = await session.publishing.publish(spec, batch)

        async def publish(lost: Sequence[Outgoing]) -> Results:
            with suppress(DriverError):  # then the broker says again that the queue is gone
                await self._make_again(session, queue)
            return await session.publishing.publish(spec, lost)

        if any(results) and self._is_made_again(queue):
            results = await published_again(batch, results, _is_lost, publish)
        return answer(results)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """From the inbox; waits for the broker's push."""
        session, known = self._check(queue)
        if limit <= 0:
            return []
        deadline = asyncio.get_running_loop().time() + wait
        with self._errors.translating(queue):
            try:
                return await self._receive(session, known, limit, deadline)
            except ClosedError as error:
                if error.code != NOT_FOUND or not await self._make_again(session, queue):
                    raise
            return await self._receive(session, known, limit, deadline)

    async def _receive(self, session: Session, known: KnownQueue, limit: int, deadline: float) -> list[Received]:
        loop = asyncio.get_running_loop()
        queue = known.spec.name
        subscription = await session.subscription(*known, self._prefetch, max(deadline - loop.time(), 0.0))
        now = self._known.find(queue)
        if now is None:  # undeclared meanwhile, when there was nothing yet to be left
            await session.leave(queue)
            raise ClosedError(NOT_FOUND, "it was undeclared")
        if subscription is None:
            return []
        subscription.reshape(*now)  # it may have been declared again meanwhile, when there was nothing yet to reshape
        return await subscription.receive(limit, deadline - loop.time())

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Recorded by the broker when this returns, and kept until the deliveries are settled."""
        session, _ = self._check(queue)
        subscription = session.live(queue)
        if not batch or subscription is None:
            return list(batch)
        return await session.settling.start(subscription, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """Copies go first, and are confirmed before their originals are acked; then acks and requeues at once."""
        session = self._holding(queue)
        if not batch:
            return ()
        subscription = session.live(queue)
        if subscription is None:
            with self._errors.translating():
                await session.link.get()
            return [settlement.receipt for settlement in batch]
        stale = await session.settling.settle(subscription, batch)
        await session.settled(queue)
        return stale

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Deliveries are bound to the connection and need no renewal; returns the ones no longer held."""
        session = self._holding(queue)
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
        """What the broker counts as ready, and what waits in the inbox here; the broker tells a client nothing else."""
        session, (_, found) = self._check(queue)
        with self._errors.translating(queue):
            connection = await session.link.get()
            async with connection.borrow() as channel:
                ready = sum(await ready_counts(channel, [lane.name for lane in found]))
            if (subscription := session.live(queue)) is not None:
                await subscription.catch_up()  # messages on their way here are counted neither there nor here
        return Depth(ready + self.kept(queue).unused, None, None)

    def kept(self, queue: str) -> Kept:
        """What this process holds, also in its inbox, and has delayed."""
        session = self._guard.current
        if session is None:
            return Kept()
        subscription, delays = session.live(queue), session.publishing.delays(queue)
        if subscription is None:
            return Kept(delays=delays)
        return Kept(subscription.unsettled, len(subscription.inbox), delays)

    async def occupancy(self, queue: str) -> Occupancy:
        """Whether there are ready messages, and whether this process holds or has delayed some."""
        depth, kept = await self.depth(queue), self.kept(queue)
        return Occupancy(depth.ready > 0, kept.held > kept.unused or bool(kept.delays))

    async def purge(self, queue: str) -> int:
        """Remove ready and delayed messages, of other processes too; messages pushed to those count as held."""
        session, (_, found) = self._check(queue)
        with self._errors.translating(queue):
            return await removing.purge(session, queue, found)

    async def delete(self, queue: str) -> None:
        """Remove its queues at the broker, also of the options it was declared with here, and its delayed messages."""
        session, (spec, found) = self._check(queue)
        # Replies are rarely delayed, and a requester's queue must be cheap to delete.
        is_swept = not spec.temporary or bool(session.publishing.delays(queue))
        with self._known.forgetting(queue), self._errors.translating(queue):  # first: a new connection declares them
            await removing.delete(session, queue, found, is_swept=is_swept)
        session.forget(queue)

    def _holding(self, queue: str) -> Session:
        """For verbs that end or keep deliveries: also of an undeclared queue, as long as some are open."""
        session = self._guard.get(queue)
        if queue not in session.left:
            self._known.get(queue)
        return session

    def _check(self, queue: str) -> tuple[Session, KnownQueue]:
        return self._guard.get(queue), self._known.get(queue)


def _is_lost(error: DriverError | None) -> bool:
    return isinstance(error, QueueNotFoundError)


async def _all(works: Iterable[Awaitable[None]]) -> None:
    """Do all at the same time, to their ends. Raises what made the first of them fail."""
    for error in await asyncio.gather(*works, return_exceptions=True):
        if error is not None:
            raise error
