"""Subscription: the messages of one queue in this process: an inbox, held ones, and resting ones.

The broker pushes and the framework pulls, so the consumers are allowed as many messages as the receives want and no
more. Without a receive for a while the consumers end, and unused messages go back, for other processes. Which of this
may happen at which moment stands in ``states``; ``consuming`` has the channel and the consumers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count

from tasuki.contracts.driver import QueueSpec, Received
from tasuki.drivers.amqp.faults import TAKEN_BACK, ClosedError, LateError
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.receiving.consuming import Consuming, is_of_returned
from tasuki.drivers.amqp.receiving.deliveries import Delivery, Held, Inbox, Resting, arrived
from tasuki.drivers.amqp.receiving.records import Lookups
from tasuki.drivers.amqp.receiving.states import Idle, Wants, is_surplus, may_hand_out, when_idle
from tasuki.drivers.amqp.topology.queue_arguments import Lane, has_ranks
from tasuki.drivers.toolkit.wait_list import Waiter, WaitList


class IdleTimer:
    """Calls ``on_idle`` when ``wanted`` was not called for ``idle()`` seconds; then it stops until the next call."""

    def __init__(self, idle: Callable[[], float], on_idle: Callable[[], None]) -> None:
        self._idle = idle
        self._on_idle = on_idle
        self._timer: asyncio.TimerHandle | None = None
        self._wanted_at = 0.0
        self._is_over = False

    @property
    def is_on(self) -> bool:
        """Whether it watches."""
        return self._timer is not None

    def wanted(self) -> None:
        """A receive asks. This costs nearly nothing: the timer is not moved, it checks the time when it is due."""
        loop = asyncio.get_running_loop()
        self._wanted_at = loop.time()
        if self._timer is None and not self._is_over:
            self._timer = loop.call_later(self._idle(), self._check)

    def end(self) -> None:
        """Watch no more."""
        self._is_over = True
        self.pause()

    def pause(self) -> None:
        """Watch again from the next receive on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        left = self._wanted_at + self._idle() - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._check)
        else:
            self._on_idle()


class Subscription:
    """One channel with the consumers of one queue; a new one is made when the channel has ended."""

    def __init__(
        self,
        spec: QueueSpec,
        lanes: Sequence[Lane],
        *,
        most: int,
        idle: Callable[[], float],
        on_idle: Callable[[], None],
        on_lost: Callable[[Sequence[Delivery]], None],
    ) -> None:
        self.spec = spec
        self.inbox = Inbox()
        self.held = Held()
        self.notice: ClosedError | None = None
        """Why the broker has taken deliveries back, until a receive reports it."""
        self._on_idle, self._on_lost = on_idle, on_lost
        self._idle_timer = IdleTimer(idle, self._when_idle)
        self._waiters: WaitList[list[Received]] = WaitList()
        self._arrivals = count()
        self._dispatching: asyncio.Handle | None = None
        """The hand-out of all that arrived in one piece."""
        self._consuming = Consuming(lanes, most=most, wants=self._wants, hand_out=self._serve, fail=self._waiters.fail)
        self._resting = Resting(lambda delivery: self._consuming.requeue((delivery.tag,)), self.put_back)
        """Nacked deliveries that keep their place, until their delay is over."""
        self._connection: Connection | None = None
        self._lookups = Lookups(spec.name, self._lookups_ended)

    @property
    def channel(self) -> Channel | None:
        """The channel of its consumers; None before ``start``."""
        return self._consuming.channel

    @property
    def ended(self) -> ClosedError | None:
        """Why its channel has ended, if it has."""
        return self._consuming.ended

    @property
    def connection(self) -> Connection:
        """The connection of its channel. Raises ClosedError if there is no channel."""
        if self.channel is None or self._connection is None:
            raise self.ended or ClosedError(0, "no channel")
        return self._connection

    @property
    def unsettled(self) -> int:
        """The messages that the broker has delivered here: held, resting, and still to be handed out."""
        return self.held.unsettled + len(self._resting) + len(self.inbox)

    @property
    def is_keyed(self) -> bool:
        """Whether of each key one delivery at a time is handed out."""
        return self.spec.ordering == "key"

    def reshape(self, spec: QueueSpec, lanes: Sequence[Lane]) -> None:
        """The queue was declared again: the next receive consumes its new lanes."""
        self.spec, self._consuming.lanes = spec, lanes

    async def start(self, connection: Connection) -> None:
        """Open the channel. Raises ClosedError or LateError."""
        self._connection = connection
        channel = await self._consuming.open(connection)
        channel.on_delivery, channel.on_cancel, channel.on_end = self._came, self._cancelled, self._end

    async def receive(self, limit: int, wait: float) -> list[Received]:
        """Up to ``limit`` deliveries as soon as there is one. Raises ClosedError or LateError."""
        if self.ended is not None:
            raise self.ended
        taken = self._consuming.consumers.taken
        if not (self._idle_timer.is_on and is_surplus(self._wants()._replace(wanted=limit), taken)):
            self._idle_timer.wanted()
        await self.check()
        if len(self.inbox) and not self._waiters and self._may_hand_out:
            if has_ranks(self._consuming.lanes):
                await self._consuming.catch_up()  # to messages that were confirmed before, perhaps of a higher priority
            if given := self._hand_out(limit):
                return given
        waiter = self._waiters.add(limit)
        is_over = False
        try:
            self._consuming.check_wants()
            await asyncio.wait((waiter.done,), timeout=max(wait, 0.0))
            if not waiter.done.done() and (asked := self._consuming.task or self._lookups.task) is not None:
                # The broker has not said yet what there is.
                await asyncio.wait((waiter.done, asked), return_when=asyncio.FIRST_COMPLETED)
            is_over = True
            return (waiter.done.result() or []) if waiter.done.done() else []
        finally:
            self._leave(waiter, is_over=is_over)

    def _leave(self, waiter: Waiter[list[Received]], *, is_over: bool) -> None:
        """A waiter goes; a cancelled one releases its messages."""
        given = self._waiters.leave(waiter)
        if given is not None and not is_over:
            for received in given:
                self._release(received.receipt)
        self._idle_timer.wanted()

    async def check(self) -> None:
        """Make sure that deliveries are still ours, where that is in doubt. Raises ClosedError or LateError."""
        await self.connection.check()
        if self.ended is not None:
            raise self.ended

    def _release(self, receipt: object) -> None:
        """Put a held delivery back at its place."""
        delivery = self.held.take(receipt)
        if delivery is not None:
            self.put_back(delivery)

    def put_back(self, delivery: Delivery) -> None:
        """Hand a delivery out again, to the next receive; not if the channel is gone, and the broker has it."""
        if self.ended is not None:
            return
        self.inbox.put(delivery)
        self._dispatch_soon()
        self._idle_timer.wanted()

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
        await self._consuming.settle(acked, requeued)

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[list[Delivery]]:
        """End the consumers, and let none begin yet; gives the unused deliveries, in order. Held ones stay held.

        The consumers of lanes of keys go on, and end with the channel; see ``is_done``.

        Raises ClosedError or LateError.
        """
        self._idle_timer.pause()
        async with self._consuming.stopped():
            yield self.inbox.take_where(_is_shared)

    def must_go_back(self, delivery: Delivery) -> bool:
        """Whether an unused delivery can keep its place only in its own lane: others of the lane are behind it."""
        return self._consuming.consumers.left_returned and is_of_returned(delivery.consumer)

    @property
    def is_done(self) -> bool:
        """Whether its channel can be closed: no receive waits, and no message is held."""
        return self._consuming.consumers.are_keyed and self.is_unused

    @property
    def is_unused(self) -> bool:
        """Whether no receive waits, nothing is held, and no shared lane is consumed."""
        is_used = self._waiters or self.held.is_in_use or self._resting or self._consuming.consumers.shared
        return not is_used

    def stay(self) -> None:
        """Check again in a while."""
        self._idle_timer.wanted()

    async def catch_up(self) -> None:
        """Return when all that the broker has pushed so far is here. Raises ClosedError or LateError."""
        if self.channel is not None and self.channel.closed is None:
            await self._consuming.catch_up()

    async def take_waiting(self) -> tuple[list[Delivery], list[Delivery]]:
        """Take out the unused deliveries and the resting ones. Raises ClosedError or LateError."""
        if self.channel is None:
            return [], []
        for _ in range(2):  # the second answer comes after the messages that were on their way
            await self._consuming.catch_up()
        return self.inbox.take(len(self.inbox)), self._resting.take()

    def dismiss(self, reason: ClosedError) -> None:
        """End every waiting receive."""
        self._waiters.fail(reason)

    async def close(self, reason: ClosedError | None = None) -> None:
        """Close the channel: unsettled messages return to their queue, and count as delivered."""
        self._end(reason or ClosedError(0, "closed"))
        if self.channel is not None:
            await self.channel.close()

    def _wants(self) -> Wants:
        unused = len(self.inbox)
        return Wants(len(self._waiters), self._waiters.wanted, unused, self.unsettled - unused)

    def _cancelled(self, tag: str) -> None:
        """The broker has ended a consumer: its queue was deleted, or moved, or a delivery was held for too long (4.3).

        Another process may have its deliveries now. The broker takes no more of it, and waits until all is settled.
        """
        consumer = tag.encode()
        self._consuming.cancelled(tag)
        lost: list[Delivery] = []
        for each in (self.held, self.inbox, self._resting):
            lost += each.take_where(lambda delivery: delivery.consumer == consumer)
        if lost:
            self._consuming.requeue([delivery.tag for delivery in lost])
            self.notice = ClosedError(0, TAKEN_BACK)
            self._on_lost(lost)
        self._consuming.check_wants()

    def _came(self, deliver: Deliver, properties: bytes, body: bytes) -> None:
        delivery = arrived(deliver, properties, body, next(self._arrivals))
        if not self._idle_timer.is_on:
            self._idle_timer.wanted()  # perhaps no receive waits any more
        self._consuming.unsettled.add(delivery.tag, delivery.consumer)
        if deliver.redelivered:
            self._came_again(delivery)
        else:
            self.inbox.put(delivery)
            self._dispatch_soon()

    def _came_again(self, delivery: Delivery) -> None:
        """A delivery that was one before: it rested here, or its failures are recorded at the broker."""
        if delivery.is_partitioned and self._resting.resume(delivery):
            return
        self.inbox.put(delivery)
        self._lookups.add(self.connection, delivery)

    def _lookups_ended(self, error: ClosedError | LateError | None) -> None:
        if error is None:
            self._dispatch()
        elif self.ended is None and self.channel is not None:  # the broker has the messages back: do not deliver them
            self._end(error if isinstance(error, ClosedError) else ClosedError(0, "no answer within the deadline"))
            self.channel.give_up()

    def _dispatch_soon(self) -> None:
        """Once for all that came in one piece."""
        if self._waiters and self._dispatching is None:
            self._dispatching = asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = None
        if self._may_hand_out:
            self._serve()
            self._consuming.check_wants()  # for those that are left

    @property
    def _may_hand_out(self) -> bool:
        return may_hand_out(self._consuming.state, is_looking_up=self._lookups.task is not None)

    def _serve(self) -> None:
        """Serve the waiting receives from the inbox."""
        if self._waiters and len(self.inbox) and self.connection.is_doubtful:
            self._lookups.start(self.connection)  # which checks the connection
        while self._waiters and len(self.inbox) and self._lookups.task is None:
            if not self._waiters.serve(self._hand_out):
                return

    def _hand_out(self, limit: int) -> list[Received]:
        if not self.is_keyed:
            return self.held.hand_out(self.inbox.take(limit))
        resting = {delivery.key for delivery in self._resting if delivery.key is not None}
        return self.held.hand_out(self.inbox.pick(limit, self.held.busy_keys() | resting))

    def keeps(self, delivery: Delivery) -> bool:
        """Whether a failed delivery must keep its place among the messages of its key."""
        return delivery.is_partitioned or (self.is_keyed and delivery.key is not None)

    def rest(self, delivery: Delivery, delay: float, *, counts: bool = True) -> None:
        """Show a delivery again after a time, one attempt older if it ``counts``; until then nothing of its key."""
        if self.ended is None:
            if counts:
                delivery.received.attempt += 1
                delivery.received.suspect = delivery.is_started = False
            self._resting.add(delivery, delay)

    def wake(self) -> None:
        """Put back what rests here, but for lanes of keys: a closing process hands it back with its count."""
        for delivery in self._resting.take_where(_is_shared):
            self.put_back(delivery)

    def _end(self, reason: ClosedError) -> None:
        """The channel is gone, and all that was unsettled on it is the broker's again."""
        if self.ended is not None:
            return
        if reason.is_for_time:
            self.notice = None if self._waiters else reason
        if reason.is_for_time or (self.channel is not None and not self.channel.connection.is_alive):
            self._on_lost(list(self.held.values()))
        self._idle_timer.end()
        self._resting.take()
        self._lookups.end()
        self.inbox.clear()
        self.held.clear()
        self._consuming.end(reason)

    def _when_idle(self) -> None:
        """No receive for a while."""
        consumers = self._consuming.consumers
        match when_idle(
            is_waiting=len(self._waiters) > 0,
            is_held=self.held.is_in_use,
            unused=len(self.inbox),
            is_consuming=bool(consumers.shared) or consumers.are_keyed,
        ):
            case Idle.WATCH:
                self._idle_timer.wanted()
            case Idle.STOP:
                self._on_idle()


def _is_shared(delivery: Delivery) -> bool:
    return not delivery.is_partitioned
