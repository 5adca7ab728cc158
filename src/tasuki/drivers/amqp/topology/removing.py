"""Removing: purges and deletes a queue with all its parts, its messages in the delay queues too.

A sweep consumes a whole delay queue, acks the messages of the removed queue and requeues the others in their order,
with the time that they had. So nothing is published again, and other messages are at most late by the time that a sweep
takes. Sweeps go from the shortest time to the longest, as the messages do; and twice, because a message that the broker
is just moving is in neither queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pamqp import commands

from tasuki.drivers.amqp.faults import NOT_FOUND, RESOURCE_LOCKED, ClosedError, LateError
from tasuki.drivers.amqp.limits import STEP, TIMES
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection, are_there, passively, ready_counts, up_to_missing
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.publishing import delay_queues
from tasuki.drivers.amqp.receiving.subscription import Subscription
from tasuki.drivers.amqp.topology.queue_arguments import Lane, active_queue_name
from tasuki.system.tasks import OnFailure

if TYPE_CHECKING:
    from tasuki.drivers.amqp.session import Session


_TURN = f"{delay_queues.NAME}.sweep"
"""A queue of the connection that sweeps: of two sweepers each would see only a part."""
_TURN_PAUSE = 0.05
_MOST = 65_535
"""Most that one consumer can have unsettled."""

Place = tuple[int, int]
"""Time and shard of a delay queue."""


@dataclass(slots=True)
class Part:
    """What one consumer was given, in the order in which it lay in the delay queue."""

    ours: list[int] = field(default_factory=list)
    """Tags."""
    others: int = 0
    last: int = 0
    """The last tag of the others."""

    def settlement(self, number: int) -> bytes:
        """Ack ours, and requeue the others as a whole. One ack for all where there are no others."""
        if not self.others:
            return frames.ack(number, self.ours[-1], multiple=True)
        acks = [frames.ack(number, tag) for tag in self.ours]
        return b"".join([*acks, frames.requeue(number, self.last, multiple=True)])


class Fetched:
    """The messages taken from one delay queue."""

    def __init__(self, wanted: Collection[str]) -> None:
        self._wanted = wanted
        self.seen = 0
        self.parts: dict[bytes, Part] = {}
        """By consumer, in the order of their tags."""

    def came(self, deliver: Deliver, properties: bytes, body: bytes) -> None:
        """A delivery; only its routing key matters."""
        self.seen += 1
        part = self.parts.setdefault(deliver.consumer, Part())
        if frames.address_of(deliver.payload)[1] in self._wanted:
            part.ours.append(deliver.tag)
        else:
            part.others += 1
            part.last = deliver.tag


async def remove(connection: Connection, queue: str, lanes: Collection[str], turn: asyncio.Lock) -> int:
    """Remove the delayed messages for the lanes of a queue; returns how many. Raises ClosedError or LateError.

    Sweeps run one after the other over all processes, and the ones with the same ``turn`` do not ask the broker for it.
    A queue of which no message was ever delayed, as its mark says, needs none.
    """
    if not await are_there(connection, delay_queues.mark(queue, passive=True)):
        return 0
    async with turn:
        found = await _existing(connection)
        if not found:
            return 0
        async with _alone(connection):
            return await _passes(connection, lanes, found)


async def _existing(connection: Connection) -> list[Place]:
    """The delay queues that exist, shortest times first; the shards of a time are made from the first one up."""
    firsts = [0]
    if await are_there(connection, delay_queues.entry_exchange(delay_queues.SHARDS, passive=True)):
        firsts.append(delay_queues.SHARDS)  # some messages had a high priority
    wanted = [(time, first) for time in range(len(TIMES)) for first in firsts]
    found = await asyncio.gather(*(_shards(connection, *place) for place in wanted))
    return [place for places in found for place in places]


async def _shards(connection: Connection, time: int, first: int) -> list[Place]:
    """The shards of a time from the first one up."""
    places = [(time, shard) for shard in range(first, first + delay_queues.SHARDS)]
    there = await up_to_missing(connection, (passively(delay_queues.queue_name(*place)) for place in places))
    return places[: len(there)]


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    """Keep other processes from sweeping meanwhile. Raises LateError if another one sweeps for long."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + connection.settings.request_timeout
    while not await _begin(connection):
        if loop.time() > deadline:
            raise LateError
        await asyncio.sleep(_TURN_PAUSE)
    try:
        yield
    finally:
        async with connection.borrow() as channel:
            await channel.ask(commands.Queue.Delete(queue=_TURN))


async def _begin(connection: Connection) -> bool:
    try:
        async with connection.borrow() as channel:
            await channel.ask(commands.Queue.Declare(queue=_TURN, exclusive=True))
    except ClosedError as error:
        if error.code != RESOURCE_LOCKED:
            raise
        return False
    return True


async def _passes(connection: Connection, queues: Collection[str], found: Sequence[Place]) -> int:
    """Search twice on one channel.

    The channel holds many acks back until the queue has answered for earlier ones, and loses them when it closes. So it
    stays open for a moment longer than the broker takes to settle or to move a message.
    """
    removed = 0
    channel = await connection.open_channel()
    try:
        for _ in range(2):
            for place in found:
                removed += await _sweep(channel, place, queues)
            await asyncio.sleep(STEP)
    finally:
        await channel.close()  # unsettled messages return
    return removed


async def _sweep(channel: Channel, place: Place, queues: Collection[str]) -> int:
    """One delay queue, until it is empty: what arrived behind held messages could expire, and leave, before them."""
    queue = delay_queues.queue_name(*place)
    (there,) = await ready_counts(channel, [queue])
    if not there:
        return 0
    fetched = Fetched(queues)
    channel.on_delivery = fetched.came
    tags: list[str] = []
    is_empty = False
    while not is_empty:
        tags.append(f"sweep.{len(tags)}")
        consume = commands.Basic.Consume(queue=queue, consumer_tag=tags[-1])
        await channel.ask(commands.Basic.Qos(prefetch_count=_MOST), consume)
        is_empty = await _fill(channel, queue, fetched, len(tags) * _MOST)
    await channel.ask(*(commands.Basic.Cancel(consumer_tag=tag) for tag in tags))
    await _flush(channel)
    parts = list(fetched.parts.values())
    for part in parts[:-1]:
        await _put_back(channel, queue, part)
    for part in parts[-1:]:
        channel.connection.write(part.settlement(channel.number))
    await _flush(channel)
    return sum(len(part.ours) for part in parts)


async def _put_back(channel: Channel, queue: str, part: Part) -> None:
    """Settle a part, and wait until it lies there again: the broker does not keep the order of two consumers' parts.

    It comes back at once, but what has expired meanwhile leaves at once too. Half is a sign; and there is an end to
    waiting.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + channel.connection.settings.request_timeout
    (before,) = await ready_counts(channel, [queue])
    channel.connection.write(part.settlement(channel.number))
    await _flush(channel)
    while loop.time() < deadline:
        (now,) = await ready_counts(channel, [queue])
        if now >= before + part.others / 2:
            break


async def _fill(channel: Channel, queue: str, fetched: Fetched, most: int) -> bool:
    """Wait until all are here (True), or this number. Raises LateError when no more come although there are."""
    loop = asyncio.get_running_loop()
    seen, deadline = fetched.seen, loop.time() + channel.connection.settings.request_timeout
    while fetched.seen < most:
        (there,) = await ready_counts(channel, [queue])
        await _flush(channel)
        if not there:
            return True
        if fetched.seen > seen:
            seen, deadline = fetched.seen, loop.time() + channel.connection.settings.request_timeout
        elif loop.time() > deadline:
            raise LateError
    return False


async def _flush(channel: Channel) -> None:
    """Any reply proves that earlier messages have arrived, and earlier settlements were carried out."""
    await channel.ask(commands.Basic.Qos(prefetch_count=_MOST))


async def purge(session: Session, queue: str, lanes: Sequence[Lane]) -> int:
    """Remove all messages that no process holds; returns how many. Raises ClosedError or LateError.

    First from the delay queues, last the messages pushed here: in the order in which messages travel.
    """
    async with session.turn(queue):
        connection = await session.link.get()
        removed = await remove(connection, queue, {lane.name for lane in lanes}, session.sweeping)
        session.publishing.forget(queue)
        async with connection.borrow() as channel:
            answers = await channel.ask(*(commands.Queue.Purge(queue=lane.name) for lane in lanes))
        removed += sum(int(answer.message_count) for answer in answers)
        if (subscription := session.live(queue)) is not None:
            removed += await _empty(subscription)
        return removed


async def _empty(subscription: Subscription) -> int:
    """Remove messages pushed here and not delivered, and resting ones; they stay here if that fails."""
    unused, resting = await subscription.take_waiting()

    def undo() -> None:
        for delivery in unused:
            subscription.put_back(delivery)
        for delivery in resting:
            subscription.rest(delivery, 0.0, counts=False)

    with OnFailure(undo):
        await subscription.settle([delivery.tag for delivery in (*unused, *resting)], ())
    return sum(not delivery.is_moved for delivery in (*unused, *resting))  # of those the copy was counted


async def delete(session: Session, queue: str, lanes: Sequence[Lane], *, is_swept: bool) -> None:
    """Delete its queues at the broker, and end what runs on them here. Raises ClosedError or LateError."""
    async with session.turn(queue):
        subscription = session.subscriptions.pop(queue, None)
        if subscription is not None:
            await subscription.close(ClosedError(NOT_FOUND, "it was deleted"))
        if (turn := session.active_turns.pop(queue, None)) is not None:
            await turn.give_up()
        connection = await session.link.get()
        if is_swept:
            await remove(connection, queue, {lane.name for lane in lanes}, session.sweeping)
        names = [*(lane.name for lane in lanes), active_queue_name(queue)]
        async with connection.borrow() as channel:
            await channel.ask(*(commands.Queue.Delete(queue=name) for name in names))
        session.publishing.forget(queue)
