"""The driver: the contract's verbs, over one connection and the queues that this process knows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Ability,
    Answers,
    Capabilities,
    Depth,
    Driver,
    Durability,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.nats.failures import is_stream_missing, is_untaken
from tasuki.drivers.nats.protocol.address import address_of
from tasuki.drivers.nats.protocol.api import demand
from tasuki.drivers.nats.protocol.connection import Connection, reconnecting
from tasuki.drivers.nats.publishing import CLAIMED, Publishing
from tasuki.drivers.nats.queues.contents import Inspector, Purging
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.queues.queues import OpenQueue, Queues
from tasuki.drivers.nats.queues.setup import Storage, check_layout, level, says_always
from tasuki.drivers.nats.receiving.settle_state import check_delays
from tasuki.drivers.nats.records.receivers import Lines, Receivers
from tasuki.drivers.nats.records.receivers import answer as answer_line
from tasuki.drivers.nats.records.side_records import DedupIds
from tasuki.drivers.nats.records.temporary import Temporary
from tasuki.drivers.nats.settings import NATSSettings
from tasuki.drivers.nats.state.store import Connections, NATSStore
from tasuki.drivers.toolkit.guard import Guard, KnownQueues
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.drivers.toolkit.results import answer, published_again
from tasuki.drivers.toolkit.threaded import LeaseThread
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.message import Message
from tasuki.system.tasks import OnFailure

_FAREWELL = 5.0
"""Seconds that a close may take to hand everything back."""
_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "declares_priorities", "leases", "sees_deaths", "sees_silence",
    "keeps_errors", "max_length", "dedup",
})  # fmt: skip


class NATSDriver(Driver):
    """Keeps queues in JetStream; see the table of the package.

    Args:
        name: the entry's id.
        settings: where the servers are, who we are, and how long to wait.
        clock: the time.
    """

    capabilities = Capabilities(
        "node",
        _ABILITIES,
        unique=CLAIMED,
        emulates=frozenset({"native_delay", "native_priority", "ordering_key", "purge", "sees_deaths"}),
        max_batch=1000,
        max_message_bytes=8 * 2**20,
    )

    def __init__(self, name: str, settings: NATSSettings, clock: Clock | None = None) -> None:
        import nats  # noqa: F401 - the class can be used without the client, and a missing client shows at once

        super().__init__(name)
        self._settings = settings
        self._clock = clock or SystemClock()
        self._names = Names(settings.stream_prefix)
        self._address = address_of(name, settings)
        self._storage = Storage(settings.storage, settings.replicas)
        self._leases = LeaseThread(name, lambda: reconnecting(self._address, lambda: Connection(self._address)))
        self._known: KnownQueues[QueueSpec] = KnownQueues(name)
        self._temporary = Temporary(self._names)
        self._lines = Lines(self._names)
        self._queues = Queues(name, self._known, self._names, self._storage, self._temporary, self._clock, self._lines)
        queues = self._queues
        self._receivers = Receivers(
            self._names, self._leases, self._temporary, self._known, queues.is_used, queues.is_held, self._lines
        )
        self._guard: Guard[Reconnecting[Connection]] = Guard(name)
        self._connections = Connections(
            self._guard, self._leases, self._address, self._names, self._storage, lambda: self.durability
        )
        self._closing: asyncio.Task[None] | None = None
        self._is_synced = settings.server_sync == "always"
        self._synced_on: Connection | None = None

    @property
    def durability(self) -> Durability:
        """By the storage, the replicas and the server's syncing, as far as it is known."""
        return level(self._storage.kind, self._storage.replicas, is_synced=self._is_synced)

    def durability_of(self, queue: str) -> Durability:
        """By the storage and the replicas that the queue's stream has, and syncing."""
        found = self._queues.found(queue)
        return self.durability if found is None else found.durability(is_synced=self._is_synced)

    async def open(self) -> None:
        """Connect, and declare the earlier queues again."""
        async with self._guard.changing():
            if self._closing is not None:
                await asyncio.wait([self._closing])
            if self._guard.current is not None:
                return
            link = reconnecting(self._address, self._connection)
            self._connections.opened()
            self._guard.opened(link)
            self._queues.begin(link.get)
            self._leases.open()
            async with OnFailure(self.close):
                connection = await link.get()
                await demand(connection, "", ("INFO", {}))
                await check_layout(connection, self._names)
                await self._check_sync(connection)
                for spec in self._known.declared():
                    await self._queues.ready(spec.name, connection)
            self._receivers.begin()

    async def close(self) -> None:
        """Release held messages, and disconnect."""
        if self._closing is None:
            link = self._guard.current
            if link is None:
                return
            self._closing = asyncio.get_running_loop().create_task(self._close(link), name="close nats driver")
        closing = self._closing
        await asyncio.wait([closing])
        if not closing.cancelled():
            closing.result()

    async def _close(self, link: Reconnecting[Connection]) -> None:
        try:
            queues = self._queues.forget_all()
            self._guard.closed(link)
            with suppress(TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._hand_back(queues, link.connection)
            await self._receivers.stop()
            await self._leases.close()
        finally:
            self._queues.reset()
            await link.close()
            self._closing = None

    async def _hand_back(self, queues: list[OpenQueue], connection: Connection | None) -> None:
        """What a server that does not answer leaves undone, the ends of the leases do."""
        await asyncio.gather(*(queue.close(connection) for queue in queues))
        if connection is not None:
            await self._receivers.end()

    async def declare(self, spec: QueueSpec) -> None:
        """Make the stream and its consumers, or record that before ``open``; the last declaration wins for all."""
        link = self._guard.current
        connection = None if link is None else await link.get()
        await self._queues.declare(spec, connection)
        if spec.temporary and connection is not None:
            self._receivers.keep_on()

    async def undeclare(self, queue: str) -> None:
        """Forget the queue in this process; held messages can be settled while their lease lasts."""
        await self._queues.undeclare(queue)
        if self._guard.current is not None:
            with suppress(DriverError):  # then the report ends with its time
                await self._receivers.leave(queue)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know a queue as its stream says; nothing is made or changed."""
        return await self._queues.inspect(spec, await self._guard.get(spec.name).get())

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Send all at once; done when the server has stored all."""
        found, connection = await self._ready(queue, is_publishing=True)
        if not batch:
            return ()
        results = await self._publish(found, connection, batch)
        if found.is_outdated:

            async def publish(left: Sequence[Outgoing]) -> Answers:
                return await self._publish(*await self._ready(queue, is_publishing=True), left)

            # Another process has changed the lanes: messages that no stream took go where they belong now.
            results = await published_again(batch, results, is_untaken, publish)
        return answer(results)

    async def _publish(self, found: OpenQueue, connection: Connection, batch: Sequence[Outgoing]) -> Answers:
        most, prepare = self.capabilities.max_message_bytes or 0, self._queues.make_lanes
        publishing = Publishing(self.name, found, most, prepare)
        return await publishing.publish(connection, batch, self._clock.time())

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; release the messages of a cancelled caller."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        while True:
            found, connection = await self._ready(queue)
            if limit <= 0:
                return []
            if queue not in self._receivers.queues:
                await self._receivers.join(queue, connection, found.spec.lease)
            received = await found.receive(connection, limit, max(until - loop.time(), 0.0))
            if received:
                return received
            if found.pulls.is_doubtful:
                await self._queues.restore(found, connection)
            self._guard.get(queue)
            if not found.is_outdated or loop.time() >= until:
                return received

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record that these handlers begin."""
        found, connection = await self._held(queue)
        return await found.settle_state.start(connection, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; done when the server says so."""
        check_delays(batch, driver=self.name, queue=queue)
        found, connection = await self._held(queue)
        stale = await found.settle_state.settle(connection, batch)
        if self._queues.is_left(queue):
            self._queues.sweep()
        return stale

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases, over its own connection; safe in any thread with a loop."""
        self._guard.get(queue)
        found = self._queues.found(queue)
        if found is None:
            self._known.get(queue)
            problem = f"queue {queue!r} of driver {self.name!r} has no open deliveries; receive a message first"
            raise BrokerUnavailableError(problem, driver=self.name, queue=queue)
        renew = found.settle_state.extend

        async def extend(link: Reconnecting[Connection]) -> Sequence[Receipt]:
            return await renew(await link.get(), batch, lease)

        return await self._leases.run(extend)

    async def depth(self, queue: str) -> Depth:
        """Count; see the table of the package."""
        return await (await self._inspector(queue)).depth()

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: ready ones in their order, then hidden ones by their time."""
        return await (await self._inspector(queue)).peek(limit, after)

    async def purge(self, queue: str) -> int:
        """Remove all messages but the held ones."""
        found, connection = await self._ready(queue)
        return await Purging(found, self._names, connection, self._clock).purge()

    async def delete(self, queue: str) -> None:
        """Remove the stream; a process that still has it declared makes it again when it uses it."""
        found, connection = await self._ready(queue)
        # First: receives of a closed queue would return at once, repeatedly, and no verb may make the queue again.
        # If it fails, a temporary queue is kept again, but the renewal has ended if there were no others.
        with OnFailure(self._receivers.keep_on), self._known.forgetting(queue):
            self._queues.drop(queue)
            await self._remove(found, connection)

    async def _remove(self, found: OpenQueue, connection: Connection) -> None:
        queue = found.spec.name
        await found.close(None)
        await demand(connection, queue, (f"STREAM.DELETE.{found.stream}", {}), unless=is_stream_missing)
        await found.records.erase_all(connection)
        await DedupIds(self._names, queue).delete(connection)
        await self._receivers.leave(queue)  # before the note goes, or the next sign would write it again
        await self._temporary.forget(connection, queue)

    def store(self, name: str) -> NATSStore:
        """A store in its own stream."""
        return NATSStore(name, self.name, self._connections)

    async def _inspector(self, queue: str) -> Inspector:
        found, connection = await self._ready(queue)
        return Inspector(found, self._names, connection, self._clock, self._receivers)

    async def _ready(self, queue: str, *, is_publishing: bool = False) -> tuple[OpenQueue, Connection]:
        """The queue with its stream, and the connection."""
        link = self._guard.get(queue)
        self._known.get(queue)
        connection = await link.get()
        if self._synced_on is not connection:
            await self._check_sync(connection)
        found = await self._queues.ready(queue, connection, is_publishing=is_publishing)
        self._guard.check(link, queue)
        return found, connection

    async def _held(self, queue: str) -> tuple[OpenQueue, Connection]:
        """The same for what ends deliveries: also of a queue that is not declared any more."""
        found = self._queues.found(queue)
        if found is not None and self._queues.is_left(queue):
            link = self._guard.get(queue)
            connection = await link.get()
            self._guard.check(link, queue)
            return found, connection
        return await self._ready(queue)

    def _connection(self) -> Connection:
        queues = self._queues
        line = self._lines.subject, partial(answer_line, held=queues.held)
        return Connection(self._address, queues.delivered, queues.ended, queues.lost, queues.changed, line)

    async def _check_sync(self, connection: Connection) -> None:
        """Whether the server syncs each write, where that can be looked up: it may be another one after a reconnect."""
        settings = self._settings
        self._synced_on = connection
        if settings.monitoring and settings.server_sync != "always":
            self._is_synced = await asyncio.to_thread(says_always, settings.monitoring, settings.timeout)
