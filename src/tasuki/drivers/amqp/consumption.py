"""Consumption: what this process receives of one queue: consumers at the broker, an inbox, and what is held.

The broker pushes and the framework pulls, so the consumers are allowed as many messages as were asked for and no more.
When nobody has asked for a while they end, and what lies unused goes back, so that nobody else is kept waiting for it.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import count

import msgspec
from pamqp import commands

from tasuki.contracts.driver import Received
from tasuki.drivers.amqp import frames
from tasuki.drivers.amqp.channel import Channel
from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.envelope import Parsed, decode
from tasuki.drivers.amqp.faults import ClosedError, LateError
from tasuki.drivers.amqp.frames import Deliver
from tasuki.drivers.amqp.inbox import Delivery, Inbox
from tasuki.drivers.amqp.topology import Lane
from tasuki.message import new_id

MOST = 65_535
"""The largest prefetch that the protocol can say."""
_RETURNED = "r"
"""First letter of the tags of consumers of a lane of returned messages."""
_PARTITION = "k"
"""That of consumers of a lane of keys."""
_receipts = count(1)


class Waiter:
    """A ``receive`` that waits."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.done: asyncio.Future[list[Received]] = asyncio.get_running_loop().create_future()


class Consumption:
    """One channel with the consumers of one queue; a new one is made when the channel has ended."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        is_keyed: bool,
        counts: bool,
        most: int,
        idle: float,
        on_idle: Callable[[], None],
    ) -> None:
        self.lanes = lanes
        self.is_keyed = is_keyed
        """Whether of each key one delivery at a time is handed out."""
        self.inbox = Inbox()
        self.held: dict[int, Delivery] = {}
        """What was handed out and is not settled, by receipt."""
        self.channel: Channel | None = None
        self.ended: ClosedError | None = None
        self._counts = counts
        self._most = min(most or MOST, MOST)
        self._idle = idle
        self._on_idle = on_idle
        self._waiters: deque[Waiter] = deque()
        self._consumers: dict[bytes, int] = {}
        """How many unsettled deliveries each consumer has, by tag."""
        self._there: set[str] = set()
        """Tags of all consumers that the broker may have of us."""
        self._tags = count(1)
        self._arrivals = count()
        self._allowed = 0
        self._unsettled: dict[int, bytes] = {}
        """Consumer of each unsettled delivery, by tag, oldest first."""
        self._filling = False
        self._adjusting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._wanted_at = 0.0
        self._dispatching = False
        self._is_outdated = False
        self._is_ending = False
        self._partitions: dict[str, str] = {}
        """Tag of the consumer of each lane of keys."""
        self._resting: dict[Delivery, asyncio.TimerHandle] = {}
        """What was nacked and keeps its place, until its time is over."""

    @property
    def _has_ranks(self) -> bool:
        shared = [lane for lane in self.lanes if not lane.is_partition]
        return len(shared) > 2 or any("x-max-priority" in lane.arguments for lane in shared)

    def reshape(self, lanes: Sequence[Lane], *, is_keyed: bool) -> None:
        """The queue was declared anew: the next receive consumes the lanes that there are now."""
        self._is_outdated = self._is_outdated or self.lanes != lanes
        self.lanes, self.is_keyed = lanes, is_keyed

    async def start(self, connection: Connection) -> None:
        """Open the channel. Raises ClosedError or LateError."""
        channel = await connection.open_channel()
        channel.on_delivery, channel.on_cancel, channel.on_end = self._came, self._cancelled, self._end
        self.channel = channel

    async def receive(self, limit: int, wait: float) -> list[Received]:
        """Up to ``limit`` deliveries as soon as there is one. Raises ClosedError or LateError."""
        if self.ended is not None:
            raise self.ended
        self._wanted()
        if len(self.inbox) and not (self._waiters or self._filling or self._is_ending):
            if self._has_ranks and self.channel is not None:
                # With the answer to any question is here what was confirmed before: perhaps of a higher priority.
                await self.channel.ask(commands.Basic.Qos(prefetch_count=max(self._allowed, 1)))
            if given := self._hand_out(limit):
                return given
        waiter = Waiter(limit)
        self._waiters.append(waiter)
        is_over = False
        try:
            self._adjust()
            await asyncio.wait((waiter.done,), timeout=max(wait, 0.0))
            if not waiter.done.done() and self._adjusting is not None:
                # The broker has not said yet what there is.
                await asyncio.wait((waiter.done, self._adjusting), return_when=asyncio.FIRST_COMPLETED)
            is_over = True
            return waiter.done.result() if waiter.done.done() else []
        finally:
            self._leave(waiter, is_over=is_over)

    def _leave(self, waiter: Waiter, *, is_over: bool) -> None:
        """A waiter goes; one that was cancelled gives back what it got."""
        if not waiter.done.done():
            self._waiters.remove(waiter)
            waiter.done.cancel()
        elif not is_over and waiter.done.exception() is None:
            for received in waiter.done.result():
                self.release(received.receipt)
        self._wanted()

    def take(self, receipt: object) -> Delivery | None:
        """The held delivery of a receipt, which is not held any more."""
        return self.held.pop(receipt, None) if isinstance(receipt, int) else None

    def release(self, receipt: object) -> None:
        """Put a held delivery back at its place."""
        delivery = self.take(receipt)
        if delivery is not None:
            self.put_back(delivery)

    def put_back(self, delivery: Delivery) -> None:
        """A delivery is to be handed out again, by whoever asks first."""
        self.inbox.put(delivery)
        self._dispatch_soon()
        self._wanted()

    async def settle(self, acked: Collection[int], requeued: Collection[int]) -> None:
        """Ack and requeue deliveries by tag, and wait until the broker has read it. Raises ClosedError or LateError.

        What was sent before, and only not answered in time, is not sent again: a second ack costs the whole channel.
        """
        channel = self.channel
        if channel is None or channel.closed is not None:
            raise self.ended or ClosedError(0, "no channel")
        fresh = [[tag for tag in tags if tag in self._unsettled] for tags in (acked, requeued)]
        channel.connection.write(self._frames(channel.number, *fresh))
        await channel.ask(commands.Basic.Qos(prefetch_count=max(self._allowed, 1)))
        if self.is_keyed:
            self._dispatch_soon()  # the next of their keys

    def _frames(self, number: int, acked: Collection[int], requeued: Collection[int]) -> bytes:
        """One ack for all up to the first tag that stays; one frame each for the rest."""
        left = set(acked)
        last = 0
        for tag in self._unsettled:
            if tag not in left:
                break
            last = tag
        parts = [frames.ack(number, last, multiple=True)] if last else []
        for tag in acked:
            self._forget(tag)
            if tag > last:
                parts.append(frames.ack(number, tag))
        for tag in requeued:
            self._forget(tag)
            parts.append(frames.requeue(number, tag))
        return b"".join(parts)

    def _forget(self, tag: int) -> None:
        consumer = self._unsettled.pop(tag, b"")
        if consumer in self._consumers:
            self._consumers[consumer] -= 1

    async def stop(self) -> list[Delivery]:
        """End the consumers; what lies unused, in order. What is held stays held. Raises ClosedError or LateError.

        Not those of lanes of keys: a message that one of them has got, or is about to get, would be passed by the next
        one, which the broker gives to somebody else at once. Those end with the channel, see ``is_done``.
        """
        self._stop_timer()
        if self._adjusting is not None:
            await asyncio.wait((self._adjusting,))
        channel = self.channel
        if channel is None or channel.closed is not None:
            return []
        self._consumers, self._allowed, self._is_ending = {}, 0, True
        try:
            await self._end_consumers(channel, [tag for tag in self._there if not tag.startswith(_PARTITION)])
            return self.inbox.take_shared()
        finally:
            self._is_ending = False
            self._adjust()

    @property
    def is_done(self) -> bool:
        """Whether its channel can be closed: nobody waits, and nothing is held that somebody works on."""
        return bool(self._partitions) and not (self._waiters or self.held or self._resting or self._consumers)

    def stay(self) -> None:
        """Look again in a while."""
        self._wanted()

    async def close(self) -> None:
        """Close the channel: what is unsettled goes back to its queue, and counts as handed out."""
        self._stop_timer()
        if self.channel is not None:
            await self.channel.close()
        self._end(ClosedError(0, "closed"))

    # Consumers.

    def _adjust(self) -> None:
        """See to it that the broker may push what the waiters want."""
        if self._adjusting is None and not self._is_ending and self._lacks():
            self._filling = True
            self._adjusting = asyncio.get_running_loop().create_task(self._consume(), name="consume")
            self._adjusting.add_done_callback(self._adjusted)

    def _lacks(self) -> bool:
        """Whether the waiters want more than the broker may push: each lane's consumer has an allowance of its own."""
        if self._is_outdated and self._waiters:
            return True
        taken = max(self._consumers.values(), default=0)
        wanted = min(sum(waiter.limit for waiter in self._waiters), self._most - taken)
        return bool(self._waiters) and self._allowed - taken + len(self.inbox) < wanted

    async def _consume(self) -> None:
        """Start consumers that may hold what is wanted now, in place of those there are.

        The order of a queue is kept only within one consumer, so there is never a second one beside the first. What
        the old ones pushed stays settleable; it only does not make room for more. Afterwards the lanes are asked for
        their counts: by the time the second answer is here, so is what they had to give, and the waiters get the first
        of it and not what happened to come first.
        """
        channel = self.channel
        assert channel is not None
        self._consumers, self._allowed = {}, 0
        await self._end_consumers(channel, [tag for tag in self._there if not tag.startswith(_PARTITION)])
        self._allowed = max(min(sum(waiter.limit for waiter in self._waiters), self._most), 1)
        self._is_outdated = False
        partitions = self._new_tags(
            [lane for lane in self.lanes if lane.is_partition and lane.name not in self._partitions]
        )
        shared = self._new_tags([lane for lane in self.lanes if not lane.is_partition])
        self._consumers = {tag.encode(): 0 for tag in shared}
        await channel.ask(
            commands.Basic.Qos(prefetch_count=1),
            *(_consume(lane, tag) for tag, lane in partitions.items()),
            commands.Basic.Qos(prefetch_count=self._allowed),
            *(_consume(lane, tag) for tag, lane in shared.items()),
            *(lane.look() for lane in self.lanes),
        )
        self._partitions |= {lane.name: tag for tag, lane in partitions.items()}
        await channel.ask(commands.Basic.Qos(prefetch_count=self._allowed))

    async def _end_consumers(self, channel: Channel, old: Sequence[str]) -> None:
        """Cancel consumers when nothing is on its way to them.

        What the broker has pushed, and the channel not seen when it cancels, the broker takes back and counts as handed
        out. So a consumer of the lowest rank is added first: when that is answered for, all that was pushed before is
        at the channel, and with the answer to one more question it is here. So it is after the cancel.
        """
        if not old:
            return
        probes = self._new_tags([lane for lane in self.lanes if not lane.is_partition])
        await channel.ask(
            commands.Basic.Qos(prefetch_count=1),
            *(
                commands.Basic.Consume(queue=lane.name, consumer_tag=tag, arguments={"x-priority": -1})
                for tag, lane in probes.items()
            ),
        )
        await channel.ask(commands.Basic.Qos(prefetch_count=1))
        tags = [*probes, *old]
        await channel.ask(*(commands.Basic.Cancel(consumer_tag=tag) for tag in tags))
        self._there -= set(tags)
        await channel.ask(commands.Basic.Qos(prefetch_count=1))

    def _new_tags(self, lanes: Sequence[Lane]) -> dict[str, Lane]:
        tags = {f"{_letter(lane)}{next(self._tags)}": lane for lane in lanes}
        self._there |= tags.keys()
        return tags

    def _adjusted(self, task: asyncio.Task[None]) -> None:
        self._adjusting, self._filling = None, False
        error = None if task.cancelled() else task.exception()
        if error is not None:  # what was asked may still come about; who asks next begins anew
            self._consumers, self._allowed = {}, 0
            self._fail(error if isinstance(error, ClosedError | LateError) else ClosedError(0, repr(error)))
        self._dispatch()
        self._adjust()

    def _cancelled(self, tag: str) -> None:
        """The broker has ended a consumer: its queue was deleted, or moved to another node."""
        self._there.discard(tag)
        if tag.encode() in self._consumers:
            del self._consumers[tag.encode()]
        self._partitions = {name: other for name, other in self._partitions.items() if other != tag}
        self._is_outdated = True
        self._adjust()

    # Deliveries.

    def _came(self, deliver: Deliver, properties: bytes, body: bytes) -> None:
        try:
            parsed = decode(properties, deliver.payload, counts=self._counts, redelivered=deliver.redelivered)
        except (ValueError, IndexError, struct.error, msgspec.DecodeError):
            parsed = Parsed(new_id(), {}, int(deliver.redelivered), 0)  # from a stranger: what can be read is the body
        if self._timer is None:
            self._wanted()  # nobody may be waiting any more
        self._unsettled[deliver.tag] = deliver.consumer
        if deliver.consumer in self._consumers:
            self._consumers[deliver.consumer] += 1
        is_returned = deliver.consumer.startswith(_RETURNED.encode())
        place = (-parsed.priority, 0 if is_returned else 1, next(self._arrivals))
        received = Received(parsed.id, body, parsed.headers, attempt=parsed.attempts + 1)
        self.inbox.put(
            Delivery(
                place,
                deliver.tag,
                deliver.consumer,
                received,
                properties,
                parsed.priority,
                parsed.key,
                is_partitioned=deliver.consumer.startswith(_PARTITION.encode()),
            )
        )
        self._dispatch_soon()

    def _dispatch_soon(self) -> None:
        """Once for all that came in one piece."""
        if self._waiters and not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        while self._waiters and len(self.inbox) and not (self._filling or self._is_ending):
            waiter = self._waiters[0]
            if not waiter.done.done():
                given = self._hand_out(waiter.limit)
                if not given:
                    return
                waiter.done.set_result(given)
            self._waiters.popleft()

    def _hand_out(self, limit: int) -> list[Received]:
        given = []
        for delivery in self.inbox.pick(limit, self._busy()) if self.is_keyed else self.inbox.take(limit):
            receipt = next(_receipts)
            self.held[receipt] = delivery
            old = delivery.received
            given.append(Received(old.id, old.body, dict(old.headers), receipt=receipt, attempt=old.attempt))
        return given

    # Keys.

    def keeps(self, delivery: Delivery) -> bool:
        """Whether a delivery that failed must keep its place among those of its key."""
        return delivery.is_partitioned or (self.is_keyed and delivery.key is not None)

    def rest(self, delivery: Delivery, delay: float) -> None:
        """Show a delivery again after a time, one attempt older; nothing of its key is shown until then."""
        if self.ended is None:
            timer = asyncio.get_running_loop().call_later(delay, self._rested, delivery)
            self._resting[delivery] = timer

    def _rested(self, delivery: Delivery) -> None:
        del self._resting[delivery]
        if self.channel is None:
            return
        if delivery.is_partitioned:  # the broker counts it, and gives it again before all others of its lane
            self.channel.connection.write(self._frames(self.channel.number, (), (delivery.tag,)))
        else:
            delivery.received.attempt += 1
            self.put_back(delivery)

    def _busy(self) -> set[str]:
        """Keys of which a delivery is held, or rests."""
        return {
            delivery.key
            for each in (self.held.values(), self._resting)
            for delivery in each
            if delivery.key is not None
        }

    # The end.

    def _end(self, reason: ClosedError) -> None:
        """The channel is gone, and all that was unsettled on it is the broker's again."""
        if self.ended is not None:
            return
        self.ended = reason
        self._stop_timer()
        for timer in self._resting.values():
            timer.cancel()
        self._resting.clear()
        self.inbox.clear()
        self.held.clear()
        self._unsettled.clear()
        self._consumers.clear()
        self._fail(reason)

    def _fail(self, reason: ClosedError | LateError) -> None:
        for waiter in self._waiters:
            if not waiter.done.done():
                waiter.done.set_exception(reason)
        self._waiters.clear()

    def _wanted(self) -> None:
        """Somebody asks, or something lies here: look in a while whether still anybody does."""
        loop = asyncio.get_running_loop()
        self._wanted_at = loop.time()
        if self._timer is None and self.ended is None:
            self._timer = loop.call_later(self._idle, self._look)

    def _look(self) -> None:
        self._timer = None
        left = self._wanted_at + self._idle - asyncio.get_running_loop().time()
        if self._waiters or left > 0:
            self._timer = asyncio.get_running_loop().call_later(max(left, self._idle / 2), self._look)
        elif self._consumers or len(self.inbox) or self._partitions:
            self._on_idle()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _letter(lane: Lane) -> str:
    return _RETURNED if lane.is_returned else _PARTITION if lane.is_partition else "t"


def _consume(lane: Lane, tag: str) -> commands.Basic.Consume:
    return commands.Basic.Consume(queue=lane.name, consumer_tag=tag)
