"""The driver on one event loop: every verb, with what the broker says translated into the driver's errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tasuki.contracts.driver import (
    Ack,
    Depth,
    Driver,
    Durability,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.amqp import envelope
from tasuki.drivers.amqp.capabilities import CAPABILITIES
from tasuki.drivers.amqp.confirms import Fate
from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.consumption import Consumption
from tasuki.drivers.amqp.faults import ClosedError, LateError, translated
from tasuki.drivers.amqp.inbox import Delivery
from tasuki.drivers.amqp.limits import LONGEST_DELAY, MAX_MESSAGE_BYTES
from tasuki.drivers.amqp.link import Link
from tasuki.drivers.amqp.presence import Presence
from tasuki.drivers.amqp.publisher import BlockedError, Parcel, Publisher, UnsentError
from tasuki.drivers.amqp.settings import Settings
from tasuki.drivers.amqp.topology import Defaults, Lane, given_up, is_quorum, lanes, priority_lane
from tasuki.errors import (
    BrokerUnavailableError,
    DriverError,
    MessageTooLargeError,
    QueueConflictError,
    QueueFullError,
    QueueNotFoundError,
    ThrottledError,
    UnsupportedError,
)

IDLE = 0.5
"""Seconds after which a queue that nobody asks for is no longer consumed."""
_PARTING = 2.0
"""Seconds that a close may take to hand back what lies unused."""


class Broker(Driver):
    """Speaks to RabbitMQ on the loop that opens it."""

    capabilities = CAPABILITIES

    def __init__(
        self, name: str, settings: Settings, *, defaults: Defaults, prefetch: int, message_ttl: float | None
    ) -> None:
        super().__init__(name)
        self._settings = settings
        self._defaults = defaults
        self._prefetch = prefetch
        self._expiration = str(max(round(message_ttl * 1000), 1)).encode() if message_ttl else None
        self._specs: dict[str, QueueSpec] = {}
        self._lanes: dict[str, list[Lane]] = {}
        self._consumptions: dict[str, Consumption] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._attached: dict[str, int] = {}
        self._presence = Presence()
        self._link: Link | None = None
        self._publisher: Publisher | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def durability(self) -> Durability:
        """``power`` with quorum queues; the least of its queues otherwise."""
        if any(not lane.durable for found in self._lanes.values() for lane in found):
            return "process"
        return "power" if all(map(is_quorum, self._specs.values())) else "broker"

    # Opening and closing.

    async def open(self) -> None:
        """Connect for consuming, and declare; the connection for publishing comes with the first message."""
        if self._link is not None:
            return
        self._link = link = Link(self._settings, self._prepare)
        self._publisher = Publisher(self._settings)
        is_open = False
        try:
            async with self._translating(""):
                await link.get()
            is_open = True
        finally:
            if not is_open:
                await self.close()

    async def close(self) -> None:
        """Hand back what lies unused, and end both connections."""
        link, publisher, self._link = self._link, self._publisher, None
        if link is None or publisher is None:
            return
        consumptions, self._consumptions = list(self._consumptions.items()), {}
        if link.connection is not None:
            try:
                async with asyncio.timeout(_PARTING):
                    for queue, consumption in consumptions:
                        await self._hand_back(publisher, queue, consumption)
            except (TimeoutError, ClosedError, LateError, BlockedError):
                pass  # the broker takes them back by itself then, and counts them
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for _, consumption in consumptions:
            await consumption.close()
        await link.close()
        await publisher.close()
        self._presence = Presence()

    async def declare(self, spec: QueueSpec) -> None:
        """Make its queues at the broker; an existing one with other arguments is a conflict."""
        self._check_spec(spec)
        found = lanes(spec, self._defaults)
        if self._link is not None:
            async with self._translating(spec.name):
                connection = await self._link.get()
                await self._declare(connection, spec.name, found)
        old = self._lanes.get(spec.name)
        self._specs[spec.name], self._lanes[spec.name] = spec, found
        if old is not None and old != found and spec.name in self._consumptions:
            self._background(self._fall_idle(spec.name))  # its next receive starts consumers for all of its lanes

    def _check_spec(self, spec: QueueSpec) -> None:
        if spec.max_length is not None or spec.ordering != "none" or spec.dedup_window is not None:
            asked = "max_length" if spec.max_length is not None else "dedup" if spec.dedup_window else "ordering: key"
            raise UnsupportedError(
                f"queue {spec.name!r}: RabbitMQ cannot keep {asked} exactly; see docs/how-to/amqp.md",
                driver=self.name,
                queue=spec.name,
            )

    async def _prepare(self, connection: Connection) -> None:
        """On every new connection: the broker may have lost what is not durable, or everything."""
        for queue, found in self._lanes.items():
            await self._declare(connection, queue, found)
        for queue, number in self._attached.items():
            await self._presence.set(connection, queue, number)

    async def _declare(self, connection: Connection, queue: str, found: Sequence[Lane]) -> None:
        channel = await connection.open_channel()
        try:
            await channel.ask(given_up(), *(lane.declare() for lane in found))
        except ClosedError as error:
            if error.code != 406:
                raise
            wanted = "; ".join(f"{lane.name}: {lane.shown()}" for lane in found)
            raise QueueConflictError(
                f"queue {queue!r} exists at {self._settings.shown} with other arguments ({error.text}); wanted is "
                f"{wanted}; declare it as it is, or delete it at the broker once it is empty",
                driver=self.name,
                queue=queue,
            ) from error
        finally:
            await channel.close()

    # Publishing.

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Confirmed by the broker, message by message, and routed: a message that went nowhere is an error."""
        spec = self._check(queue)
        assert self._publisher is not None
        refused = {index: error for index, message in enumerate(batch) if (error := self._refusal(spec, message))}
        parcels = [self._parcel(spec, message) for index, message in enumerate(batch) if index not in refused]
        if not parcels:
            return [refused[index] for index in range(len(batch))]
        fates = iter(await self._publish(queue, parcels))
        errors: list[DriverError | None] = [
            refused[index] if index in refused else self._verdict(spec, next(fates)) for index in range(len(batch))
        ]
        return errors if any(errors) else ()

    async def _publish(self, queue: str, parcels: Sequence[Parcel]) -> list[Fate]:
        assert self._publisher is not None
        try:
            return await self._publisher.publish(parcels)
        except BlockedError as error:
            problem = f"{self._settings.shown} takes no messages now ({error}); it has to free memory or disk"
            raise ThrottledError(problem, driver=self.name, queue=queue) from error
        except UnsentError as error:
            raise self._translated(error, "", queue) from error
        except (ClosedError, LateError) as error:
            found = self._translated(error, queue, queue)
            found.outcome = "unknown"
            raise found from error

    def _parcel(self, spec: QueueSpec, message: Outgoing) -> Parcel:
        properties = envelope.encode(message, 0, self._expiration)
        lane = priority_lane(spec.name, message.priority) if is_quorum(spec) else spec.name
        return Parcel(lane, envelope.short_id(message.id), properties, message.body, message.delay)

    def _refusal(self, spec: QueueSpec, message: Outgoing) -> DriverError | None:
        """Why a message is not even sent."""
        kind: type[DriverError] = UnsupportedError
        if len(message.body) > MAX_MESSAGE_BYTES:
            kind, why = MessageTooLargeError, f"has {len(message.body)} bytes, and {MAX_MESSAGE_BYTES} are the most"
        elif message.priority > 0 and not spec.priorities:
            why = f"has a priority, and queue {spec.name!r} has no lanes for it; give the queue requires: [priority]"
        elif message.delay > LONGEST_DELAY:
            why = f"has a delay of {message.delay:.0f} s, and {LONGEST_DELAY:.0f} s are the most"
        else:
            return None
        return kind(f"message {message.id!r} {why}", driver=self.name, queue=spec.name)

    def _verdict(self, spec: QueueSpec, fate: Fate) -> DriverError | None:
        """The error for what the broker answered."""
        queue, where = spec.name, f"queue {spec.name!r} at {self._settings.shown}"
        if fate == "stored":
            return None
        if fate == "unroutable":
            return QueueNotFoundError(f"{where} is gone; the message went nowhere", driver=self.name, queue=queue)
        if fate == "refused":
            return QueueFullError(f"{where} is full, or cannot store now", driver=self.name, queue=queue)
        problem = f"{where}: one of several messages with this id went nowhere"
        return BrokerUnavailableError(problem, driver=self.name, queue=queue, outcome="unknown")

    # Consuming.

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """From the inbox; waits for the broker's push."""
        self._check(queue)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait
        async with self._translating(queue):
            consumption = await self._consumption(queue, wait)
            return await consumption.receive(limit, deadline - loop.time())
        raise AssertionError

    async def _consumption(self, queue: str, wait: float) -> Consumption:
        """The live one of a queue; one at a time is made."""
        async with self._starting.setdefault(queue, asyncio.Lock()):
            found = self._consumptions.get(queue)
            if found is not None and found.ended is None:
                return found
            link = self._link
            if link is None:
                raise ClosedError(0, "closed")
            connection = await link.get(wait)
            fresh = Consumption(
                self._lanes[queue],
                counts=is_quorum(self._specs[queue]),
                most=self._prefetch,
                idle=IDLE,
                on_idle=lambda: self._background(self._fall_idle(queue)),
            )
            await fresh.start(connection)
            self._consumptions[queue] = fresh
            return fresh

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """Copies go first, and are confirmed before their originals are acked; then acks and requeues at once."""
        spec = self._check(queue)
        consumption = self._consumptions.get(queue)
        if consumption is None or consumption.ended is not None:
            async with self._translating(queue):
                assert self._link is not None
                await self._link.get()
            return [settlement.receipt for settlement in batch]
        stale: list[Receipt] = []
        taken: list[tuple[Settlement, Delivery]] = []
        for settlement in batch:
            delivery = consumption.take(settlement.receipt)
            if delivery is None:
                stale.append(settlement.receipt)
            else:
                taken.append((settlement, delivery))
        is_done = False
        try:
            await self._settle(spec, consumption, taken)
            is_done = True
        finally:
            if not is_done and consumption.ended is None:
                consumption.held.update({settlement.receipt: delivery for settlement, delivery in taken})
        return stale

    async def _settle(
        self, spec: QueueSpec, consumption: Consumption, taken: Sequence[tuple[Settlement, Delivery]]
    ) -> None:
        acked: list[int] = []
        requeued: list[int] = []
        later: list[tuple[Delivery, float]] = []
        freed: list[Delivery] = []
        for settlement, delivery in taken:
            if type(settlement) is Ack:
                acked.append(delivery.tag)
            elif type(settlement) is Nack:
                if settlement.delay > 0 or not is_quorum(spec):
                    later.append((delivery, settlement.delay))
                else:
                    requeued.append(delivery.tag)
            else:
                freed.append(delivery)
        if later:
            await self._move(spec, later)
            acked += [delivery.tag for delivery, _ in later]
        if acked or requeued:
            async with self._translating(spec.name):
                await consumption.settle(acked, requeued)
        for delivery in freed:
            consumption.put_back(delivery)

    async def _move(self, spec: QueueSpec, moves: Sequence[tuple[Delivery, float]]) -> None:
        """Put copies that count this attempt where they wait; raises unless all are safe."""
        open_moves = [(delivery, delay) for delivery, delay in moves if not delivery.is_moved]
        parcels = [
            self._copy(spec, delivery, delivery.received.attempt, min(delay, LONGEST_DELAY))
            for delivery, delay in open_moves
        ]
        fates = await self._publish(spec.name, parcels) if parcels else []
        for (delivery, _), fate in zip(open_moves, fates, strict=True):
            delivery.is_moved = fate == "stored"
        worst = next((fate for fate in fates if fate != "stored"), None)
        if worst is not None:
            error = self._verdict(spec, worst)
            assert error is not None
            raise BrokerUnavailableError(f"cannot put off: {error}", driver=self.name, queue=spec.name) from error

    def _copy(self, spec: QueueSpec, delivery: Delivery, attempts: int, delay: float) -> Parcel:
        properties = envelope.copied(delivery.properties, delivery.received.id, attempts)
        lane = priority_lane(spec.name, delivery.priority) if spec.priorities and is_quorum(spec) else spec.name
        id = envelope.short_id(delivery.received.id)
        return Parcel(lane, id, properties, delivery.received.body, delay)

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Deliveries are bound to the connection and need no renewal; tells which are no longer held."""
        self._check(queue)
        async with self._translating(queue):
            assert self._link is not None
            await self._link.get()
        consumption = self._consumptions.get(queue)
        held = consumption.held if consumption is not None else {}
        return [receipt for receipt in batch if receipt not in held]

    # Handing back.

    async def _fall_idle(self, queue: str) -> None:
        """Nobody asks for a queue any more: consume it no longer, and let others have what lies here."""
        consumption, publisher = self._consumptions.get(queue), self._publisher
        if consumption is None or publisher is None:
            return
        try:
            await self._hand_back(publisher, queue, consumption)
        except (ClosedError, LateError, BlockedError):
            await consumption.close()  # the broker takes back what is unsettled

    async def _hand_back(self, publisher: Publisher, queue: str, consumption: Consumption) -> None:
        """Put copies of what lies unused into the lane for it, so that it is not counted as handed out; ack it then."""
        unused = await consumption.stop()
        if not unused:
            return
        spec = self._specs[queue]
        lane = next((lane.name for lane in consumption.lanes if lane.is_returned), None)
        if lane is None:
            await consumption.settle((), [delivery.tag for delivery in unused])
            return
        parcels = [
            self._copy(spec, delivery, delivery.received.attempt - 1, 0.0)._replace(queue=lane) for delivery in unused
        ]
        fates = await publisher.publish(parcels)
        safe = [delivery.tag for delivery, fate in zip(unused, fates, strict=True) if fate == "stored"]
        lost = [delivery.tag for delivery, fate in zip(unused, fates, strict=True) if fate != "stored"]
        await consumption.settle(safe, lost)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="hand back")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Looking.

    async def depth(self, queue: str) -> Depth:
        """What the broker counts as ready, and what this process holds; others' deliveries are not known."""
        self._check(queue)
        async with self._translating(queue):
            assert self._link is not None
            connection = await self._link.get()
            channel = await connection.open_channel()
            try:
                answers = await channel.ask(*(lane.look() for lane in self._lanes[queue]))
                consumers = await self._presence.count(channel, queue)
            finally:
                await channel.close()
        consumption = self._consumptions.get(queue)
        waiting, held = (len(consumption.inbox), len(consumption.held)) if consumption is not None else (0, 0)
        ready = sum(answer.message_count for answer in answers)
        return Depth(ready + waiting, held, 0, consumers=consumers)

    async def attach(self, queue: str, consumers: int) -> None:
        """Stand for so many consumers; again after each reconnect."""
        self._check(queue)
        self._attached[queue] = consumers
        async with self._translating(queue):
            assert self._link is not None
            await self._presence.set(await self._link.get(), queue, consumers)

    # Errors.

    def _check(self, queue: str) -> QueueSpec:
        if self._link is None:
            problem = f"driver {self.name!r} is not open; open it first"
            raise BrokerUnavailableError(problem, driver=self.name, queue=queue)
        spec = self._specs.get(queue)
        if spec is None:
            problem = f"queue {queue!r} was never declared on driver {self.name!r}; declare it first"
            raise QueueNotFoundError(problem, driver=self.name, queue=queue)
        return spec

    @asynccontextmanager
    async def _translating(self, queue: str) -> AsyncIterator[None]:
        try:
            yield
        except (ClosedError, LateError) as error:
            raise self._translated(error, queue, queue) from error

    def _translated(self, error: ClosedError | LateError, about: str, queue: str) -> DriverError:
        found = translated(error, driver=self.name, broker=self._settings.shown, queue=about)
        found.queue = queue
        return found
