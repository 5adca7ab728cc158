"""Consumption: what this process receives of one queue: consumers at the broker, an inbox, and what is held.

The broker pushes and the framework pulls, so the consumers are allowed as many messages as were asked for and no more.
When nobody has asked for a while they end, and what lies unused goes back, so that nobody else is kept waiting for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from pamqp import commands

from tasuki.contracts.driver import Received
from tasuki.drivers.amqp.faults import TAKEN_BACK, ClosedError, LateError
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.receiving.arrivals import arrived
from tasuki.drivers.amqp.receiving.consumers import Consumers, is_of_returned
from tasuki.drivers.amqp.receiving.idle_timer import Watch
from tasuki.drivers.amqp.receiving.inbox import Delivery, Inbox
from tasuki.drivers.amqp.settling.held import Held
from tasuki.drivers.amqp.settling.lookups import Lookups
from tasuki.drivers.amqp.settling.resting import Resting
from tasuki.drivers.amqp.settling.unsettled import Unsettled
from tasuki.drivers.amqp.topology.queue_arguments import Lane, has_ranks
from tasuki.drivers.toolkit.wait_list import Waiter, WaitList

MOST = 65_535
"""The largest prefetch that the protocol can say."""


class Consumption:
    """One channel with the consumers of one queue; a new one is made when the channel has ended."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        is_keyed: bool,
        most: int,
        idle: Callable[[], float],
        on_idle: Callable[[], None],
        on_lost: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self.lanes = lanes
        self.is_keyed = is_keyed
        """Whether of each key one delivery at a time is handed out."""
        self.inbox = Inbox()
        self.held = Held()
        self.channel: Channel | None = None
        self.ended: ClosedError | None = None
        self.notice: ClosedError | None = None
        """Why the broker has taken deliveries back, if no receive was told yet."""
        self._most = min(most or MOST, MOST)
        self._on_idle, self._on_lost = on_idle, on_lost
        self._watch = Watch(idle, self._look)
        self._waiters: WaitList[list[Received]] = WaitList()
        self._consumers = Consumers()
        self._arrivals = count()
        self._unsettled = Unsettled(self._consumers)
        self._filling = False
        self._adjusting: asyncio.Task[None] | None = None
        self._dispatching = False
        self._is_outdated = False
        self._is_ending = False
        self._resting = Resting(self._requeue, self.put_back)
        """What was nacked and keeps its place, until its time is over."""
        self._lookups = Lookups(lanes[0].name, self._looked_up)

    @property
    def connection(self) -> Connection:
        """That of its channel. Raises ClosedError where there is none."""
        if self.channel is None:
            raise self.ended or ClosedError(0, "no channel")
        return self.channel.connection

    @property
    def _is_holding_back(self) -> bool:
        """Whether what is here may be only a part of what must be handed out first."""
        return self._filling or self._is_ending or self._lookups.task is not None

    def reshape(self, lanes: Sequence[Lane], *, is_keyed: bool) -> None:
        """The queue was declared anew: the next receive consumes the lanes that there are now."""
        self._is_outdated = self._is_outdated or self.lanes != lanes
        self.lanes, self.is_keyed = lanes, is_keyed

    async def start(self, connection: Connection) -> None:
        """Open the channel. Raises ClosedError or LateError."""
        async with connection.beginning:
            channel = await connection.open_channel()
        channel.on_delivery, channel.on_cancel, channel.on_end = self._came, self._cancelled, self._end
        self.channel = channel

    async def receive(self, limit: int, wait: float) -> list[Received]:
        """Up to ``limit`` deliveries as soon as there is one. Raises ClosedError or LateError."""
        if self.ended is not None:
            raise self.ended
        self._watch.wanted()
        await self.check()
        if len(self.inbox) and not (self._waiters or self._is_holding_back):
            if has_ranks(self.lanes) and self.channel is not None:
                # With the answer to any question is here what was confirmed before: perhaps of a higher priority.
                await self.channel.ask(commands.Basic.Qos(prefetch_count=max(self._consumers.allowed, 1)))
            if given := self._hand_out(limit):
                return given
        waiter = self._waiters.add(limit)
        is_over = False
        try:
            self._adjust()
            await asyncio.wait((waiter.done,), timeout=max(wait, 0.0))
            if not waiter.done.done() and (asked := self._adjusting or self._lookups.task) is not None:
                # The broker has not said yet what there is.
                await asyncio.wait((waiter.done, asked), return_when=asyncio.FIRST_COMPLETED)
            is_over = True
            return (waiter.done.result() or []) if waiter.done.done() else []
        finally:
            self._leave(waiter, is_over=is_over)

    def _leave(self, waiter: Waiter[list[Received]], *, is_over: bool) -> None:
        """A waiter goes; one that was cancelled gives back what it got."""
        given = self._waiters.leave(waiter)
        if given is not None and not is_over:
            for received in given:
                self.release(received.receipt)
        self._watch.wanted()

    async def check(self) -> None:
        """Make sure that deliveries are still ours, where that is in doubt. Raises ClosedError or LateError."""
        await self.connection.check()
        if self.ended is not None:
            raise self.ended

    def take(self, receipt: object) -> Delivery | None:
        """The held delivery of a receipt, which is not held any more."""
        return self.held.take(receipt)

    def release(self, receipt: object) -> None:
        """Put a held delivery back at its place."""
        delivery = self.take(receipt)
        if delivery is not None:
            self.put_back(delivery)

    def put_back(self, delivery: Delivery) -> None:
        """A delivery is to be handed out again, by whoever asks first."""
        self.inbox.put(delivery)
        self._dispatch_soon()
        self._watch.wanted()

    @contextmanager
    def settling(self, deliveries: Sequence[Delivery]) -> Iterator[None]:
        """Deliveries are being settled: their channel stays, and no other message of their keys is handed out."""
        try:
            with self.held.settling(deliveries):
                yield
        finally:
            if self.is_keyed:
                self._dispatch_soon()  # the next of their keys

    async def settle(self, acked: Collection[int], requeued: Collection[int]) -> None:
        """Ack and requeue deliveries by tag, and wait until the broker has read it. Raises ClosedError or LateError."""
        channel = self.channel
        if channel is None or channel.closed is not None:
            raise self.ended or ClosedError(0, "no channel")
        await self._unsettled.settle_surely(channel, acked, requeued)

    async def stop(self) -> list[Delivery]:
        """End the consumers; what lies unused, in order. What is held stays held. Raises ClosedError or LateError.

        Those of lanes of keys go on, and end with the channel; see ``is_done``.
        """
        self._watch.pause()
        if self._adjusting is not None:
            await asyncio.wait((self._adjusting,))
        channel = self.channel
        if channel is None or channel.closed is not None:
            return []
        self._is_ending = True
        try:
            await self._consumers.end(channel, self.lanes)
            return self.inbox.take_shared()
        finally:
            self._is_ending = False
            self._dispatch()  # what has come meanwhile
            self._adjust()

    def must_go_back(self, delivery: Delivery) -> bool:
        """Whether an unused delivery can keep its place only in its own lane: others of the lane are behind it."""
        return self._consumers.left_returned and is_of_returned(delivery.consumer)

    @property
    def is_done(self) -> bool:
        """Whether its channel can be closed: nobody waits, and nothing is held that somebody works on."""
        return self._consumers.are_keyed and self.is_unused

    @property
    def is_unused(self) -> bool:
        """Whether nobody waits, nothing is held, and no shared lane is consumed."""
        return not (self._waiters or self.held.is_in_use or self._resting or self._consumers.are_shared)

    def stay(self) -> None:
        """Look again in a while."""
        self._watch.wanted()

    async def catch_up(self) -> None:
        """Return when here is what the broker has pushed so far. Raises ClosedError or LateError."""
        if self.channel is not None and self.channel.closed is None:
            await self.channel.ask(commands.Basic.Qos(prefetch_count=max(self._consumers.allowed, 1)))

    async def take_waiting(self) -> tuple[list[Delivery], list[Delivery]]:
        """What lies unused, and what rests, both taken out. Raises ClosedError or LateError."""
        if self.channel is None:
            return [], []
        for _ in range(2):  # with the answers is here what was on its way
            await self.channel.ask(commands.Basic.Qos(prefetch_count=max(self._consumers.allowed, 1)))
        return self.inbox.take(len(self.inbox)), self._resting.take()

    def dismiss(self, reason: ClosedError) -> None:
        """End every waiting receive."""
        self._waiters.fail(reason)

    async def close(self, reason: ClosedError | None = None) -> None:
        """Close the channel: what is unsettled goes back to its queue, and counts as handed out."""
        self._end(reason or ClosedError(0, "closed"))
        if self.channel is not None:
            await self.channel.close()

    def _adjust(self) -> None:
        """See to it that the broker may push what the waiters want."""
        if self._adjusting is None and not self._is_ending and self._lacks():
            self._filling = True
            self._adjusting = asyncio.get_running_loop().create_task(self._consume(), name="consume")
            self._adjusting.add_done_callback(self._adjusted)

    def _lacks(self) -> bool:
        """Whether the waiters want more than the broker may push: each lane's consumer has an allowance of its own."""
        if self._is_outdated and len(self._waiters):
            return True
        taken = self._consumers.taken
        wanted = min(self._waiters.wanted, self._most - taken)
        return len(self._waiters) > 0 and self._consumers.allowed - taken + len(self.inbox) < wanted

    async def _consume(self) -> None:
        """Let the broker push what the waiters want; they get the first of it, and not what happened to come first.

        New consumers are allowed as many messages as are held here beside: they stand then, and push the next one for
        each that is settled, and are not replaced each time that the caller has room for one more.
        """
        assert self.channel is not None
        async with self.channel.connection.beginning:
            self._is_outdated = False
            wanted = self._waiters.wanted + len(self.held)
            await self._consumers.start(self.channel, self.lanes, max(min(wanted, self._most), 1))

    def _adjusted(self, task: asyncio.Task[None]) -> None:
        self._adjusting, self._filling = None, False
        error = None if task.cancelled() else task.exception()
        if error is not None:  # what was asked may still come about; who asks next begins anew
            self._consumers.forget()
            self._waiters.fail(error if isinstance(error, ClosedError | LateError) else ClosedError(0, repr(error)))
        self._dispatch()
        self._adjust()

    def _cancelled(self, tag: str) -> None:
        """The broker has ended a consumer: its queue was deleted, or moved, or a delivery was held for too long (4.3).

        What it has pushed may be with others now. The broker takes no more of it, and waits until all is settled.
        """
        consumer = tag.encode()
        self._consumers.cancelled(tag)
        self._is_outdated = True
        lost = [
            *self.held.take_of(consumer),
            *self.inbox.take_of(consumer),
            *self._resting.take_where(lambda delivery: delivery.consumer == consumer),
        ]
        if lost and self.channel is not None:
            self.channel.connection.write(
                self._unsettled.settle(self.channel.number, (), [delivery.tag for delivery in lost])
            )
            self.notice = ClosedError(0, TAKEN_BACK)
            self._on_lost(lost)
        self._adjust()

    def _came(self, deliver: Deliver, properties: bytes, body: bytes) -> None:
        delivery = arrived(deliver, properties, body, next(self._arrivals))
        if not self._watch.is_on:
            self._watch.wanted()  # nobody may be waiting any more
        self._unsettled.add(delivery.tag, delivery.consumer)
        if deliver.redelivered:
            self._came_again(delivery)
        else:
            self.inbox.put(delivery)
            self._dispatch_soon()

    def _came_again(self, delivery: Delivery) -> None:
        """A delivery that was one before: it rested here, or its failures are recorded at the broker."""
        if delivery.is_partitioned and self._resting.resume(delivery):
            return
        assert self.channel is not None
        self.inbox.put(delivery)
        self._lookups.add(self.channel.connection, delivery)

    def _looked_up(self, error: ClosedError | LateError | None) -> None:
        if error is None:
            self._dispatch()
        elif self.ended is None and self.channel is not None:  # what is here cannot be handed out: the broker has it
            self._end(error if isinstance(error, ClosedError) else ClosedError(0, "no answer within the deadline"))
            self.channel.give_up()

    def _dispatch_soon(self) -> None:
        """Once for all that came in one piece."""
        if self._waiters and not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        if self._waiters and len(self.inbox) and self.connection.is_doubtful:
            self._lookups.start(self.connection)  # which checks it
            return
        while self._waiters and len(self.inbox) and not self._is_holding_back:
            if not self._waiters.serve(self._hand_out):
                return

    def _hand_out(self, limit: int) -> list[Received]:
        if not self.is_keyed:
            return self.held.hand_out(self.inbox.take(limit))
        resting = {delivery.key for delivery in self._resting if delivery.key is not None}
        return self.held.hand_out(self.inbox.pick(limit, self.held.busy_keys() | resting))

    def keeps(self, delivery: Delivery) -> bool:
        """Whether a delivery that failed must keep its place among those of its key."""
        return delivery.is_partitioned or (self.is_keyed and delivery.key is not None)

    def rest(self, delivery: Delivery, delay: float, *, counts: bool = True) -> None:
        """Show a delivery again after a time, one attempt older if it ``counts``; until then nothing of its key."""
        if self.ended is None:
            if counts:
                delivery.received.attempt += 1
                delivery.received.suspect = delivery.is_started = False
            self._resting.add(delivery, delay)

    def rest_again(self, delivery: Delivery) -> None:
        """A delivery that rested, and was taken out, shows at once."""
        if self.ended is None:
            self._resting.add(delivery, 0.0)

    def wake(self) -> None:
        """Put back what rests here, but for lanes of keys: a closing process hands it back with its count."""
        for delivery in self._resting.take_where(lambda delivery: not delivery.is_partitioned):
            self.put_back(delivery)

    def _requeue(self, delivery: Delivery) -> None:
        if self.channel is not None:
            self.channel.connection.write(self._unsettled.settle(self.channel.number, (), (delivery.tag,)))

    def _end(self, reason: ClosedError) -> None:
        """The channel is gone, and all that was unsettled on it is the broker's again."""
        if self.ended is not None:
            return
        self.ended = reason
        if reason.is_for_time:
            self.notice = None if self._waiters else reason
        if reason.is_for_time or (self.channel is not None and not self.channel.connection.is_alive):
            self._on_lost(list(self.held.values()))
        self._watch.end()
        self._resting.take()
        self._lookups.end()
        self.inbox.clear()
        self.held.clear()
        self._unsettled.clear()
        self._consumers.forget()
        self._waiters.fail(reason)

    def _look(self) -> None:
        """No receive for a while: stop consuming, unless one waits, or what is pushed here is in use."""
        # Consumers that are full, or have room and nothing unused, take nothing from other processes.
        if self._waiters or (self.held.is_in_use and not len(self.inbox)):
            self._watch.wanted()
        elif self._consumers.are_shared or self._consumers.are_keyed or len(self.inbox):
            self._on_idle()
