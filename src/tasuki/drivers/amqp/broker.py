"""The driver on one event loop: connects, declares, and hands each verb to the part that does it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from tasuki.contracts.driver import Depth, Driver, Durability, Outgoing, QueueSpec, Receipt, Received, Settlement
from tasuki.drivers.amqp import delay_queues, removing
from tasuki.drivers.amqp.capabilities import CAPABILITIES
from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.consumer_timeout import fitted_to, limited
from tasuki.drivers.amqp.faults import PRECONDITION_FAILED, ClosedError, Errors
from tasuki.drivers.amqp.limits import LONGEST_NAME, whole_of
from tasuki.drivers.amqp.link import Link
from tasuki.drivers.amqp.publisher import Publisher
from tasuki.drivers.amqp.session import Session
from tasuki.drivers.amqp.settings import Settings
from tasuki.drivers.amqp.topology import Defaults, Lane, is_quorum, lanes
from tasuki.drivers.bounds import check_bounds
from tasuki.errors import (
    BrokerUnavailableError,
    DriverError,
    QueueConflictError,
    QueueNotFoundError,
    UnsupportedError,
)


class Broker(Driver):
    """Speaks to RabbitMQ on the loop that opens it: one connection to consume and declare, one to publish."""

    capabilities = CAPABILITIES

    def __init__(
        self, name: str, settings: Settings, *, defaults: Defaults, prefetch: int, message_ttl: float | None
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
        self._session: Session | None = None

    @property
    def durability(self) -> Durability:
        """``power`` with quorum queues; the least of its queues otherwise."""
        if any(not lane.durable for found in self._lanes.values() for lane in found):
            return "process"
        lasting = (spec for spec in self._specs.values() if not spec.temporary)
        return "power" if all(map(is_quorum, lasting)) else "broker"

    @property
    def patience(self) -> float | None:
        """The broker ends a connection that it has not heard of for two to three heartbeats."""
        return 2.0 * self._settings.heartbeat or None

    async def open(self) -> None:
        """Connect for consuming, and declare; the connection for publishing comes with the first message."""
        if self._session is not None:
            return
        link = Link(self._settings, self._prepare)
        self._session = Session(link, Publisher(self._settings), self._errors, self._expiration)
        is_open = False
        try:
            with self._errors.translating():
                await self._session.link.get()
            is_open = True
        finally:
            if not is_open:
                await self.close()

    async def close(self) -> None:
        """Hand back what lies unused, and end both connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.end()

    # Queues.

    async def declare(self, spec: QueueSpec) -> None:
        """Make its queues at the broker; an existing one with other arguments is a conflict."""
        self._check_spec(spec)
        found = limited(lanes(spec, self._defaults), spec)
        names = {lane.name for lane in found}
        found += [lane for lane in self._lanes.get(spec.name, ()) if lane.name not in names]  # they may hold messages
        session = self._session
        if session is not None:
            with self._errors.translating(spec.name):
                await self._declare(await session.link.get(), spec.name, found)
            if (consumption := session.consumptions.get(spec.name)) is not None:
                consumption.reshape(found, is_keyed=spec.ordering == "key")
        self._specs[spec.name], self._lanes[spec.name] = spec, found

    def _check_spec(self, spec: QueueSpec) -> None:
        if len(spec.name.encode()) > LONGEST_NAME:
            problem = f"its name is too long for RabbitMQ; {LONGEST_NAME} bytes are the most, with those of its lanes"
            raise self._errors.make(UnsupportedError, spec.name[:80], problem)
        beginning = f"{spec.name}."
        parts = [name for name in self._specs if name.startswith(beginning) and whole_of(name) == spec.name]
        if parts or whole_of(spec.name) in self._specs:
            part = parts[0] if parts else spec.name
            problem = f"{part!r} is the name of a part of the queue {whole_of(part)!r}; give one of them another name"
            raise self._errors.make(QueueConflictError, spec.name, problem)
        asked = {
            "max_length": spec.max_length is not None,
            "ordering: key in a classic queue": spec.ordering == "key" and not is_quorum(spec),
            "dedup_window": spec.dedup_window is not None,
        }
        for name in [name for name, is_asked in asked.items() if is_asked]:
            problem = f"RabbitMQ cannot keep {name}; take another driver for it, or leave it out"
            raise self._errors.make(UnsupportedError, spec.name, problem)

    async def _prepare(self, connection: Connection) -> None:
        """Every new connection may lead to a broker that has lost what is not durable, or everything."""
        session = self._session
        if session is None:
            raise ClosedError(0, "closed")
        for queue, found in list(self._lanes.items()):
            spec = self._specs.get(queue)
            if spec is None:
                continue  # somebody has begun to delete it
            # A temporary queue of another process may be gone for good: it would be made for nobody.
            if not (session.was_prepared and spec.temporary and queue not in self._attached):
                await self._declare(connection, queue, found)
        for queue, number in list(self._attached.items()):
            await session.presence.set(connection, queue, number)
        session.was_prepared = True

    async def _declare(self, connection: Connection, queue: str, found: Sequence[Lane]) -> None:
        channel = await connection.open_channel()
        try:
            back = next((lane for lane in found if lane.is_returned), found[0])
            # Bound with each declaration: a queue that was deleted and made again has lost its binding.
            await channel.ask(
                *delay_queues.last_exchange(),
                *(lane.declare() for lane in found),
                delay_queues.target_binding(back.name),
            )
        except ClosedError as error:
            if error.code != PRECONDITION_FAILED:
                raise
            if (fitted := fitted_to(found, error.text)) is not None:
                await self._declare(connection, queue, fitted)
                return
            wanted = "; ".join(f"{lane.name} with {lane.shown()}" for lane in found)
            problem = (
                f"it exists with other arguments: {error.text}. Wanted is {wanted}. "
                "Arguments of a queue cannot be changed: declare it as it is, or empty and delete it at the broker"
            )
            raise self._errors.make(QueueConflictError, queue, problem) from error
        finally:
            await channel.close()

    # Messages.

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Confirmed by the broker, message by message, and routed: a message that went nowhere is an error."""
        session, spec = self._check(queue)
        check_bounds(batch, driver=self.name, queue=queue)
        return await session.publishing.publish(spec, batch)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """From the inbox; waits for the broker's push."""
        session, spec = self._check(queue)
        if limit <= 0:
            return []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        with self._errors.translating(queue):
            consumption = await session.consumption(spec, self._lanes[queue], self._prefetch, wait)
            return [] if consumption is None else await consumption.receive(limit, deadline - loop.time())

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Recorded by the broker when this returns, and kept until the deliveries are settled."""
        session, spec = self._check(queue)
        consumption = session.consumptions.get(queue)
        if not batch or consumption is None or consumption.ended is not None:
            return list(batch)
        return await session.settling.start(spec, consumption, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """Copies go first, and are confirmed before their originals are acked; then acks and requeues at once."""
        session, spec = self._check(queue)
        if not batch:
            return ()
        consumption = session.consumptions.get(queue)
        if consumption is None or consumption.ended is not None:
            with self._errors.translating():
                await session.link.get()
            return [settlement.receipt for settlement in batch]
        return await session.settling.settle(spec, consumption, batch)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Deliveries are bound to the connection and need no renewal; tells which are no longer held."""
        session, _ = self._check(queue)
        if not batch:
            return ()
        consumption = session.consumptions.get(queue)
        with self._errors.translating():
            await session.link.get()
            if consumption is not None:
                with suppress(ClosedError):
                    await consumption.check()
        held = consumption.held if consumption is not None else {}
        return [receipt for receipt in batch if receipt not in held]

    # Counts.

    async def depth(self, queue: str) -> Depth:
        """What the broker counts as ready, and what this process holds and has put off; not what others have."""
        session, _ = self._check(queue)
        found = self._lanes[queue]
        with self._errors.translating(queue):
            connection = await session.link.get()
            channel = await connection.open_channel()
            try:
                answers = await channel.ask(*(lane.look() for lane in found))
                consumers = await session.presence.count(channel, queue)
            finally:
                await channel.close()
        ready = sum(answer.message_count for answer in answers)
        consumption = session.consumptions.get(queue)
        waiting, held = (len(consumption.inbox), len(consumption.held)) if consumption is not None else (0, 0)
        return Depth(ready + waiting, held, session.publishing.delayed(queue), consumers=consumers)

    async def attach(self, queue: str, consumers: int) -> None:
        """Stand for so many consumers; again after each reconnect."""
        session, _ = self._check(queue)
        self._attached[queue] = consumers
        with self._errors.translating(queue):
            await session.presence.set(await session.link.get(), queue, consumers)

    # Removing.

    async def purge(self, queue: str) -> int:
        """Ready and delayed ones, those of other processes too; what those have been pushed counts as held."""
        session, _ = self._check(queue)
        with self._errors.translating(queue):
            return await removing.purge(session, queue, self._lanes[queue])

    async def delete(self, queue: str) -> None:
        """Its queues at the broker, those of the options that it was declared with here, and what is put off for it."""
        session, spec = self._check(queue)
        found = self._lanes[queue]
        del self._specs[queue], self._lanes[queue]  # first: a new connection declares what is there
        # Replies are rarely delayed, and a requester's queue must be cheap to delete.
        is_swept = not spec.temporary or session.publishing.delayed(queue) > 0
        is_done = False
        try:
            with self._errors.translating(queue):
                await removing.delete(session, queue, found, is_swept=is_swept)
            is_done = True
            self._attached.pop(queue, None)
        finally:
            if not is_done:
                self._specs.setdefault(queue, spec)
                self._lanes.setdefault(queue, found)

    def _check(self, queue: str) -> tuple[Session, QueueSpec]:
        if self._session is None:
            raise self._errors.make(BrokerUnavailableError, "", "it is not open; open it first")
        spec = self._specs.get(queue)
        if spec is None:
            raise self._errors.make(QueueNotFoundError, queue, "it was never declared; declare it first")
        return self._session, spec
