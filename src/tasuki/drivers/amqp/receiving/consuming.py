"""Consuming: the channel of a subscription and its consumers at the broker, as the table in ``states`` says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.faults import ClosedError, LateError
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection, passively
from tasuki.drivers.amqp.receiving.states import Action, Event, State, Wants, lacks, prefetch, step
from tasuki.drivers.amqp.topology.queue_arguments import Lane, of_consumer

_SHARED, _RETURNED, _PARTITION = "s", "r", "k"
"""First letters of their tags, by the kind of lane."""


_PING = commands.Basic.Qos(prefetch_count=1)
"""A question that changes nothing: each consumer begins behind its own."""


@dataclass(slots=True)
class Consumer:
    """A consumer of a shared lane: how many unsettled deliveries it may have, and how many it has."""

    lane: Lane
    allowed: int
    taken: int = 0

    @property
    def is_full(self) -> bool:
        """Whether it gets nothing before something is settled: nothing is on its way to it either."""
        return self.taken >= self.allowed


class Consumers:
    """Of each shared lane one with its own allowance, and of each lane of keys one that gets one at a time."""

    def __init__(self) -> None:
        self.shared: dict[bytes, Consumer] = {}
        """The ones of shared lanes, by tag."""
        self._partitions: dict[str, str] = {}
        """Tag of the consumer of each lane of keys, by the lane's name."""
        self._there: set[str] = set()
        """Tags of all that the broker may have of us."""
        self._cancelled: list[str] = []
        """Tags of those that the broker has ended, and keeps until we say that we know."""
        self.left_returned = False
        """Whether the lane of returned messages may hold more than the consumers that ended last had room for."""
        self._numbers = count(1)
        self._awaited: dict[bytes, asyncio.Future[None]] = {}
        """Done when the next delivery for a consumer comes, by tag."""

    @property
    def are_keyed(self) -> bool:
        """Whether lanes of keys are consumed."""
        return bool(self._partitions)

    @property
    def taken(self) -> int:
        """The most that one of the shared lanes' consumers has."""
        return max((each.taken for each in self.shared.values()), default=0)

    @property
    def full(self) -> list[int]:
        """What those may have that have it all; 0 where there is none."""
        return [each.allowed for each in self.shared.values() if each.is_full] if self.shared else [0]

    def came(self, tag: bytes) -> None:
        """A delivery for one of them."""
        if (consumer := self.shared.get(tag)) is not None:
            consumer.taken += 1
        if (awaited := self._awaited.pop(tag, None)) is not None and not awaited.done():
            awaited.set_result(None)

    def gone(self, tag: bytes) -> None:
        """A delivery for one of them was settled."""
        if (consumer := self.shared.get(tag)) is not None:
            consumer.taken -= 1

    def room_read(self, tag: bytes) -> asyncio.Future[None] | None:
        """To be called before a delivery is settled: done when the broker has read that; None where nothing may tell.

        A consumer that has all that it is allowed gets its next delivery only when the broker has read of the room.
        """
        consumer = self.shared.get(tag)
        if consumer is None or not consumer.is_full or tag in self._awaited:
            return None
        awaited = self._awaited[tag] = asyncio.get_running_loop().create_future()
        return awaited

    def forget(self) -> None:
        """Do not count on any of the shared ones."""
        self.shared = {}
        for awaited in self._awaited.values():
            awaited.cancel()
        self._awaited.clear()

    def cancelled(self, tag: str) -> None:
        """The broker has ended one."""
        self._there.discard(tag)
        self._cancelled.append(tag)
        self.shared.pop(tag.encode(), None)
        self._partitions = {name: other for name, other in self._partitions.items() if other != tag}

    async def start(self, channel: Channel, lanes: Sequence[Lane], allowed: int, *, again: bool) -> None:
        """Consume the lanes with this allowance; ``again``: new ones in place of all. Raises ClosedError or LateError.

        The order of a lane is kept only within one consumer, so there is never a second one beside the first. A full
        one is replaced: no ack makes room meanwhile, so nothing is on its way that the broker would take back. What it
        pushed stays settleable, and goes before what the new one gets. One with room stays: its lane has no more.
        Then the lanes are asked for their counts: by the time the second answer is here, so is what they had to give.
        """
        if again:
            await self.end(channel, lanes)
        known, self._cancelled = self._cancelled, []
        await channel.ask(*(commands.Basic.Cancel(consumer_tag=tag) for tag in known))
        full = [tag for tag, each in self.shared.items() if each.is_full and each.allowed < allowed]
        for tag in full:
            del self.shared[tag]
        stand = {*self._partitions, *(each.lane.name for each in self.shared.values())}
        missing = [lane for lane in lanes if lane.name not in stand]
        keyed = self._new_tags([lane for lane in missing if lane.is_partition])
        shared = self._new_tags([lane for lane in missing if not lane.is_partition])
        self.shared |= {tag.encode(): Consumer(lane, allowed) for tag, lane in shared.items()}
        await channel.ask(
            *(commands.Basic.Cancel(consumer_tag=tag.decode()) for tag in full),
            *_with_prefetch(1, keyed),
            *_with_prefetch(allowed, shared),
            *(passively(lane.name) for lane in missing),
        )
        self._there -= {tag.decode() for tag in full}
        self._partitions |= {lane.name: tag for tag, lane in keyed.items()}
        await channel.ask(_PING)

    async def end(self, channel: Channel, lanes: Sequence[Lane]) -> None:
        """Cancel the consumers of shared lanes when no message is on its way. Raises ClosedError or LateError.

        What the broker has pushed, and the channel not seen when it cancels, the broker takes back and counts as handed
        out. So a consumer of the lowest rank is added first: when that is answered for, all that was pushed before is
        at the channel, and with the answer to one more question it is here. So it is after the cancel.

        Consumers of lanes of keys stay, and end with the channel: after a cancel the broker would give the next
        message of a key to another process at once, before the message that this one has or is about to get.
        """
        self.left_returned = any(is_of_returned(tag) and each.is_full for tag, each in self.shared.items())
        self.forget()
        old = [tag for tag in self._there if not tag.startswith(_PARTITION)]
        if not old:
            return
        probes = self._new_tags([lane for lane in lanes if not lane.is_partition])
        await channel.ask(_PING, *_consume(probes, {"x-priority": -1}))
        await channel.ask(_PING)
        await channel.ask(*(commands.Basic.Cancel(consumer_tag=tag) for tag in (*probes, *old)))
        self._there -= {*probes, *old}
        await channel.ask(_PING)

    def _new_tags(self, lanes: Sequence[Lane]) -> dict[str, Lane]:
        tags = {f"{_letter(lane)}{next(self._numbers)}": lane for lane in lanes}
        self._there |= tags.keys()
        return tags


def is_of_returned(tag: bytes) -> bool:
    """Whether a consumer's lane holds what came back."""
    return tag.startswith(_RETURNED.encode())


def is_of_keys(tag: bytes) -> bool:
    """Whether a consumer's lane is one of keys."""
    return tag.startswith(_PARTITION.encode())


def _letter(lane: Lane) -> str:
    return _RETURNED if lane.is_returned else _PARTITION if lane.is_partition else _SHARED


def _with_prefetch(count: int, tags: Mapping[str, Lane]) -> list[Method]:
    """Consume with an allowance for each; it holds for the consumers that begin after it."""
    return [commands.Basic.Qos(prefetch_count=count), *_consume(tags)] if tags else []


def _consume(tags: Mapping[str, Lane], arguments: Mapping[str, int] | None = None) -> list[commands.Basic.Consume]:
    return [
        commands.Basic.Consume(queue=lane.name, consumer_tag=tag, arguments={**of_consumer(lane), **(arguments or {})})
        for tag, lane in tags.items()
    ]


_NEXT = 0.05
"""Seconds in which the broker pushes the next message, if there is one."""


class Unsettled:
    """The unsettled tags of one channel, counted for the consumers, and the frames that settle them."""

    def __init__(self, consumers: Consumers) -> None:
        self._consumers = consumers
        self._tags: dict[int, bytes] = {}
        """The consumer of each, by tag, oldest first."""

    def add(self, tag: int, consumer: bytes) -> None:
        """A delivery has come."""
        self._tags[tag] = consumer
        self._consumers.came(consumer)

    def clear(self) -> None:
        """The channel is gone."""
        self._tags.clear()

    async def settle_surely(self, channel: Channel, acked: Collection[int], requeued: Collection[int]) -> None:
        """The same, and wait until the broker has read it. Raises ClosedError or LateError.

        One ack at a time, as with slow handlers, costs no question while messages wait: the next delivery tells.
        """
        only = self._tags.get(next(iter(acked))) if len(acked) == 1 and not requeued else None
        is_read = self._consumers.room_read(only) if only is not None else None
        channel.connection.write(self.settle(channel.number, acked, requeued))
        if is_read is not None:
            await asyncio.wait((is_read,), timeout=_NEXT)
            if is_read.done() and not is_read.cancelled():
                return
        await channel.ask(_PING)

    def settle(self, channel: int, acked: Collection[int], requeued: Collection[int]) -> bytes:
        """The frames that settle deliveries: one ack for all up to the first tag that stays, one frame for each other.

        A tag that was sent before, and only not answered in time, is not sent again: a second ack costs the whole
        channel.
        """
        acked, requeued = ([tag for tag in tags if tag in self._tags] for tags in (acked, requeued))
        left = set(acked)
        last = 0
        for tag in self._tags:
            if tag not in left:
                break
            last = tag
        parts = [frames.ack(channel, last, multiple=True)] if last else []
        for tag in acked:
            self._forget(tag)
            if tag > last:
                parts.append(frames.ack(channel, tag))
        for tag in requeued:
            self._forget(tag)
            parts.append(frames.requeue(channel, tag))
        return b"".join(parts)

    def _forget(self, tag: int) -> None:
        self._consumers.gone(self._tags.pop(tag))


MOST = 65_535
"""The largest prefetch that the protocol can say."""


class Consuming:
    """One channel with the consumers of one queue.

    ``wants`` says what the waiting receives want, ``hand_out`` serves them, and ``fail`` ends them.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        most: int,
        wants: Callable[[], Wants],
        hand_out: Callable[[], None],
        fail: Callable[[ClosedError | LateError], None],
    ) -> None:
        self.lanes = lanes
        """The next receive consumes these."""
        self.state = State.NEW
        self.channel: Channel | None = None
        self.ended: ClosedError | None = None
        """Why it is over."""
        self.consumers = Consumers()
        self.unsettled = Unsettled(self.consumers)
        self._may_settle = asyncio.Event()
        """Not while consumers begin or end: an ack makes room, and what the broker pushes into it would come back."""
        self._may_settle.set()
        self.task: asyncio.Task[None] | None = None
        """Begins consumers; runs while the state says that they begin, and may outlive the channel for a moment."""
        self._consumed: Sequence[Lane] | None = None
        """The lanes whose consumers were begun last; None: there were none."""
        self._most = min(most or MOST, MOST)
        self._wants, self._hand_out, self._fail = wants, hand_out, fail

    @property
    def live_channel(self) -> Channel:
        """The channel. Raises ClosedError if there is none."""
        if self.channel is None or self.channel.closed is not None:
            raise self.ended or ClosedError(0, "no channel")
        return self.channel

    async def open(self, connection: Connection) -> Channel:
        """Open the channel. Raises ClosedError or LateError."""
        async with connection.beginning:
            self.channel = await connection.open_channel()
        self._happened(Event.OPENED)
        return self.channel

    def check_wants(self) -> None:
        """Let the broker push what the waiting receives want."""
        if lacks(self._wants(), full=self.consumers.full, most=self._most, is_outdated=self._is_outdated):
            self._happened(Event.WANTED)

    @property
    def _is_outdated(self) -> bool:
        return self._consumed is not None and self._consumed != self.lanes

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """End the consumers of the shared lanes; none begins, and nothing is handed out, while the body runs.

        Raises ClosedError or LateError.
        """
        self._happened(Event.STOP)
        try:
            if self.task is not None:
                await asyncio.wait((self.task,))
            if self.state is State.ENDING:
                self._may_settle.clear()
                try:
                    await self.consumers.end(self.live_channel, self.lanes)
                finally:
                    self._may_settle.set()
            yield
        finally:
            self._happened(Event.STOPPED)

    def cancelled(self, tag: str) -> None:
        """The broker has ended a consumer: the next receive begins a new one."""
        self.consumers.cancelled(tag)
        self._consumed = ()

    async def settle(self, acked: Collection[int], requeued: Collection[int]) -> None:
        """Ack and requeue deliveries by tag, and wait until the broker has read it. Raises ClosedError or LateError."""
        while not self._may_settle.is_set():
            await self._may_settle.wait()
        await self.unsettled.settle_surely(self.live_channel, acked, requeued)

    def requeue(self, tags: Collection[int]) -> None:
        """Requeue deliveries by tag, without waiting."""
        if self.channel is not None:
            self.channel.connection.write(self.unsettled.settle(self.channel.number, (), tags))

    async def catch_up(self) -> None:
        """Return when all that the broker has pushed so far is here. Raises ClosedError or LateError.

        Any reply on this channel proves that earlier messages have arrived.
        """
        channel = self.live_channel
        await channel.ask(_PING)

    def end(self, reason: ClosedError) -> None:
        """The channel is gone."""
        self.ended = reason
        self.unsettled.clear()
        self._happened(Event.LOST, reason)

    def _happened(self, event: Event, reason: ClosedError | LateError | None = None) -> None:
        self.state, actions = step(self.state, event)
        for action in actions:
            self._do(action, reason or self.ended or ClosedError(0, "no channel"))

    def _do(self, action: Action, reason: ClosedError | LateError) -> None:
        match action:
            case Action.BEGIN:
                self._may_settle.clear()
                self.task = asyncio.get_running_loop().create_task(self._begin(), name="consume")
                self.task.add_done_callback(self._begun)
            case Action.HAND_OUT:
                self._hand_out()
            case Action.CHECK:
                self.check_wants()
            case Action.FORGET:
                self.consumers.forget()
            case Action.FAIL:
                self._fail(reason)

    async def _begin(self) -> None:
        """Begin consumers for what the receives want.

        The receives get the first messages, and not the ones that happened to come first: none is handed out until the
        consumers stand.
        """
        channel = self.live_channel
        async with channel.connection.beginning:
            again, self._consumed = self._is_outdated, self.lanes
            await self.consumers.start(channel, self.lanes, prefetch(self._wants(), self._most), again=again)

    def _begun(self, task: asyncio.Task[None]) -> None:
        self.task = None
        self._may_settle.set()
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._happened(Event.BEGUN)
        elif isinstance(error, ClosedError | LateError):
            self._happened(Event.FAILED, error)
        else:
            self._happened(Event.FAILED, ClosedError(0, repr(error)))
