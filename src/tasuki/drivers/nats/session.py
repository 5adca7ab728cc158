"""Session: the connection and the queues of one driver, from ``open`` to ``close`` and again."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tasuki.clock import Clock
from tasuki.contracts.driver import Depth, Durability, Outgoing, QueueSpec, Receipt, Received, Settlement
from tasuki.drivers.nats.api import ask, demand
from tasuki.drivers.nats.attendance import Attendance
from tasuki.drivers.nats.connection import Address, Connection
from tasuki.drivers.nats.durability import level, says_always
from tasuki.drivers.nats.failures import is_stream_missing
from tasuki.drivers.nats.ids import Ids
from tasuki.drivers.nats.inspecting import Inspector
from tasuki.drivers.nats.link import Link
from tasuki.drivers.nats.names import Names
from tasuki.drivers.nats.open_queue import OpenQueue
from tasuki.drivers.nats.publishing import Publishing
from tasuki.drivers.nats.receipts import read
from tasuki.drivers.nats.renewals import Renewals
from tasuki.drivers.nats.setup import Storage, make_book, make_queue
from tasuki.drivers.nats.temporary import Temporary
from tasuki.errors import BrokerUnavailableError, DriverError, QueueConflictError, QueueNotFoundError
from tasuki.message import Message

_FAREWELL = 5.0
"""Seconds that a close may take to hand everything back."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The checked fields of the entry."""

    driver: str
    servers: Sequence[str] = field(repr=False)
    prefix: str
    options: dict[str, Any] = field(repr=False)
    replicas: int
    storage: str
    server_sync: str | None
    monitoring: str | None
    connect_timeout: float
    timeout: float
    most: int
    """Bytes that a body may have."""


class Session:
    """See NATSDriver for the verbs."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._driver = settings.driver
        self._clock = clock
        self._names = Names(settings.prefix)
        self._address = Address(
            settings.driver, settings.servers, settings.options, settings.connect_timeout, settings.timeout
        )
        self._storage = Storage(settings.storage, settings.replicas)
        self._renewals = Renewals(lambda: Link(self._address, lambda: Connection(self._address)))
        self._specs: dict[str, QueueSpec] = {}
        self._temporary = Temporary(self._names, lambda connection, queue: self._ids(queue).delete(connection))
        self._attendance = Attendance(self._names, self._renewals, self._temporary, self._is_temporary)
        self._queues: dict[str, OpenQueue] = {}
        self._by_stream: dict[str, OpenQueue] = {}
        self._makings: dict[str, asyncio.Lock] = {}
        self._link: Link | None = None
        self._closing: asyncio.Task[None] | None = None
        self._pid = 0
        self._is_synced = settings.server_sync == "always"

    @property
    def durability(self) -> Durability:
        """By storage, replicas and syncing."""
        return level(self._storage.kind, self._storage.replicas, is_synced=self._is_synced)

    async def open(self) -> None:
        """Connect, and declare what was declared before."""
        if self._closing is not None:
            await asyncio.wait([self._closing])
        if self._link is not None and self._pid == os.getpid():
            return
        link = self._link = Link(self._address, self._connection)
        self._pid = os.getpid()
        self._queues, self._by_stream, self._makings = {}, {}, {}
        self._renewals.open()
        is_open = False
        try:
            connection = await link.get()
            await make_book(connection, self._names, self._storage)
            for spec in list(self._specs.values()):
                await self._make(spec, connection)
            await self._look_at_sync()
            is_open = True
        finally:
            if not is_open:
                await self.close()
        self._attendance.begin()

    async def close(self) -> None:
        """Give back what is held, and disconnect."""
        if self._closing is None:
            if self._link is None:
                return
            self._closing = asyncio.get_running_loop().create_task(self._close(self._link), name="close nats driver")
        closing = self._closing
        await asyncio.wait([closing])
        if not closing.cancelled():
            closing.result()

    async def _close(self, link: Link) -> None:
        try:
            queues, self._queues, self._link = list(self._queues.values()), {}, None
            farewell = asyncio.ensure_future(self._hand_back(queues, link.current))
            await asyncio.wait([farewell], timeout=_FAREWELL)
            if not farewell.done():
                farewell.cancel()
                await asyncio.wait([farewell])
            elif not farewell.cancelled():
                farewell.result()
            await asyncio.to_thread(self._renewals.close)
        finally:
            self._by_stream.clear()
            self._makings.clear()
            await link.close()
            self._closing = None

    async def _hand_back(self, queues: list[OpenQueue], connection: Connection | None) -> None:
        """What a server that does not answer leaves undone, the ends of the leases do."""
        await asyncio.gather(*(queue.close(connection) for queue in queues))
        if connection is not None:
            await self._attendance.end()

    async def declare(self, spec: QueueSpec) -> None:
        """Make the stream and its consumers; before ``open`` it is recorded only."""
        self._names.stream(spec.name)  # a name that cannot be is refused before it is recorded
        before = self._specs.get(spec.name)
        self._specs[spec.name] = spec
        if self._link is None:
            return
        try:
            await self._make(spec, await self._running(spec.name).get())
        except QueueConflictError:
            if before is not None:
                self._specs[spec.name] = before
            raise

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Raises where all messages have the same fate."""
        found, connection = await self._ready(queue)
        publishing = Publishing(self._driver, found, self._names, self._settings.most)
        results = await publishing.publish(connection, batch, self._clock.time())
        first = results[0] if results else None
        if first is not None and all(
            result is not None and type(result) is type(first) and result.outcome == first.outcome for result in results
        ):
            raise first
        return results

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages."""
        found, connection = await self._ready(queue)
        received = await found.receive(connection, limit, wait)
        if not received:
            if found.intake.is_consumer_missing:
                await self._check_stream(found, connection)
            self._running(queue)
        return received

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries."""
        found, connection = await self._ready(queue)
        return await found.settle(connection, batch)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set leases; from any loop."""
        self._running(queue)
        self._spec(queue)
        found = self._queues.get(queue)
        if found is None:
            raise self._unavailable(queue, "its queue is not ready")
        renew = found.extend
        return await self._renewals.run(lambda connection: renew(connection, batch, lease))

    async def depth(self, queue: str) -> Depth:
        """Count."""
        return await (await self._inspector(queue)).depth()

    async def attach(self, queue: str, consumers: int) -> None:
        """Note the consumers of this process."""
        self._running(queue)
        self._spec(queue)
        await self._attendance.say(queue, consumers)

    async def peek(self, queue: str, limit: int, after: int) -> list[Message]:
        """Show waiting messages."""
        return await (await self._inspector(queue)).peek(limit, after)

    async def purge(self, queue: str) -> int:
        """Remove what is not held."""
        return await (await self._inspector(queue)).purge()

    async def delete(self, queue: str) -> None:
        """Remove the stream and all that the book has of it."""
        found, connection = await self._ready(queue)
        # First: receives of a closed queue would come back at once, again and again, and nobody may make it anew.
        spec = self._spec(queue)
        del self._specs[queue]
        self._queues.pop(queue, None)
        is_done = False
        try:
            await self._remove(found, connection)
            is_done = True
        finally:
            if not is_done:
                self._specs.setdefault(queue, spec)

    async def _remove(self, found: OpenQueue, connection: Connection) -> None:
        queue = found.spec.name
        await found.close(None)
        (answer,) = await ask(connection, queue, [(f"STREAM.DELETE.{found.stream}", {})])
        if not is_stream_missing(answer.get("error")) and "error" in answer:
            await demand(connection, queue, (f"STREAM.DELETE.{found.stream}", {}))
        await found.book.erase_all(connection)
        await self._ids(queue).delete(connection)
        await self._attendance.say(queue, 0)  # before the note goes, or the next sign would write it again
        await self._temporary.forget(connection, queue)

    async def _inspector(self, queue: str) -> Inspector:
        found, connection = await self._ready(queue)
        return Inspector(found, self._names, connection, self._clock, self._attendance)

    async def _ready(self, queue: str) -> tuple[OpenQueue, Connection]:
        """The queue with its stream, and the connection."""
        link = self._running(queue)
        spec = self._spec(queue)
        connection = await link.get()
        found = self._queues.get(queue)
        if found is None or found.is_missing or found.intake.is_consumer_missing:
            found = await self._make(spec, connection)
        if found.book.is_missing:
            await make_book(connection, self._names, self._storage)
            found.book.is_missing = False
        return found, connection

    async def _make(self, spec: QueueSpec, connection: Connection) -> OpenQueue:
        """Make the stream what the spec says; one at a time for each queue."""
        lock = self._makings.setdefault(spec.name, asyncio.Lock())
        async with lock:
            if spec.temporary:  # first: a stream without the note would never be removed
                await self._temporary.keep(connection, [spec.name])
            plan, epoch = await make_queue(connection, self._names, spec, self._storage)
            ids = self._ids(spec.name) if spec.dedup_window else None
            if ids is not None:
                await ids.make(connection, spec.dedup_window or 0.0)
            link = self._running(spec.name)
            found = self._queues.get(spec.name)
            if found is not None and found.epoch == epoch:
                found.declared(spec, plan, ids)
                return found
            made = OpenQueue(
                self._driver, spec, plan=plan, names=self._names, epoch=epoch, clock=self._clock, connect=link.get
            )
            made.ids = ids
            self._queues[spec.name] = self._by_stream[made.stream] = made
        if found is not None:  # a stream of that name was removed and made again: what was held is gone with it
            await found.close(None)
        return made

    def _is_temporary(self, queue: str) -> bool:
        spec = self._specs.get(queue)
        return spec is not None and spec.temporary

    def _ids(self, queue: str) -> Ids:
        return Ids(self._names, queue, self._storage.kind, self._storage.replicas)

    async def _check_stream(self, queue: OpenQueue, connection: Connection) -> None:
        """Raise QueueNotFoundError if a queue has lost not only its consumer but its stream."""
        (info,) = await ask(connection, queue.spec.name, [(f"STREAM.INFO.{queue.stream}", {})])
        if is_stream_missing(info.get("error")):
            queue.is_missing = True
            raise queue.gone()

    def _connection(self) -> Connection:
        return Connection(self._address, self._on_delivery, self._on_status, self._on_loss)

    def _on_delivery(self, receipt: str, data: bytes) -> None:
        parts = read(receipt)
        queue = self._by_stream.get(parts.stream) if parts is not None else None
        if parts is not None and queue is not None:
            queue.intake.arrived(receipt, parts, data)

    def _on_status(self, token: str, status: str) -> None:
        stream, lane, number = token.rsplit(".", 2)
        queue = self._by_stream.get(stream)
        if queue is not None:
            queue.intake.ended(lane, number, status)

    def _on_loss(self) -> None:
        for queue in self._by_stream.values():
            queue.intake.lost()

    async def _look_at_sync(self) -> None:
        """Whether the server syncs each write, where that can be looked up."""
        settings = self._settings
        if settings.monitoring and not self._is_synced:
            self._is_synced = await asyncio.to_thread(says_always, settings.monitoring, settings.timeout)

    def _spec(self, queue: str) -> QueueSpec:
        spec = self._specs.get(queue)
        if spec is None:
            problem = f"queue {queue!r} was never declared on driver {self._driver!r}; declare it first"
            raise QueueNotFoundError(problem, driver=self._driver, queue=queue)
        return spec

    def _running(self, queue: str) -> Link:
        if self._link is None:
            raise self._unavailable(queue, "is not open; open it first")
        if self._pid != os.getpid():
            raise self._unavailable(queue, "was opened by the parent process; open it in this one")
        return self._link

    def _unavailable(self, queue: str, why: str) -> DriverError:
        return BrokerUnavailableError(f"driver {self._driver!r} {why}", driver=self._driver, queue=queue)
