"""Session: the driver's state between one ``open`` and the next ``close``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError, Errors, LateError
from tasuki.drivers.amqp.protocol import envelope
from tasuki.drivers.amqp.protocol.connecting import Links
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.publishing.publishing import BlockedError, Parcel, Publishing
from tasuki.drivers.amqp.receiving import records
from tasuki.drivers.amqp.receiving.active_turn import ActiveTurn, takes_turns
from tasuki.drivers.amqp.receiving.deliveries import Delivery
from tasuki.drivers.amqp.receiving.settling import Settling, starts_of
from tasuki.drivers.amqp.receiving.subscription import Subscription
from tasuki.drivers.amqp.topology import declaring
from tasuki.drivers.amqp.topology.declaring import Marks
from tasuki.drivers.amqp.topology.queue_arguments import KEPT, Defaults, KnownQueue, Lane
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.drivers.toolkit.reconnecting import Reconnecting
from tasuki.errors import DriverError
from tasuki.system.tasks import OnFailure, Tasks

_IDLE = 0.5
_IDLE_OF_EACH = 0.005
_PARTING = 5.0
"""Seconds for returning unused messages at the end."""


def idle_after(queues: int) -> float:
    """Seconds without a receive after which a queue is no longer consumed, where a process consumes this many.

    A busy process gets round to each of thousands of queues more rarely. To end and begin consumers costs more than
    what they do, so a process that is late would get ever later.
    """
    return max(_IDLE, queues * _IDLE_OF_EACH)


class Session:
    """The connections, and what runs on them."""

    def __init__(self, links: Links, publishing: Publishing, errors: Errors) -> None:
        self.links = links
        """To consume."""
        self.marks = Marks()
        self.publishing = publishing
        self.settling = Settling(publishing, errors)
        self.sweeping = asyncio.Lock()
        """Held while delayed messages are removed."""
        self.was_prepared = False
        """Whether there was a connection on which all queues were declared."""
        self.subscriptions: dict[str, Subscription] = {}
        self.active_turns: dict[str, ActiveTurn] = {}
        self.left: set[str] = set()
        """Undeclared queues with open deliveries."""
        self._starting: dict[str, asyncio.Lock] = {}
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks = Tasks()
        self._unjust: set[str] = set()
        """Records of starts that must not count, to be deleted when there is a connection."""
        self._is_ending = False

    @property
    def link(self) -> Reconnecting[Connection]:
        """To declare and to ask."""
        return self.links.main

    def live(self, queue: str) -> Subscription | None:
        """The subscription of a queue whose channel has not ended; None: there is none."""
        subscription = self.subscriptions.get(queue)
        return subscription if subscription is not None and subscription.ended is None else None

    async def connection(self, spec: QueueSpec, wait: float = 0.0) -> Connection:
        """The connection that consumes a queue. Raises ClosedError, or what made the last attempt fail."""
        channels = 2 if takes_turns(spec) else 1  # of its consumers, and of its turn
        return await self.links.of(spec.name, wait, channels=channels, is_exclusive=bool(spec.options.get("exclusive")))

    async def subscription(self, spec: QueueSpec, lanes: Sequence[Lane], most: int, wait: float) -> Subscription | None:
        """The live one of a queue, made if there is none; None: another process has the turn.

        Raises ClosedError or LateError.
        """
        queue = spec.name
        if takes_turns(spec) and not await self._active_turn(queue).wait(await self.connection(spec, wait), wait):
            return None
        async with self._starting.setdefault(queue, asyncio.Lock()):
            found = self.subscriptions.get(queue)
            if found is not None and found.notice is not None:
                notice, found.notice = found.notice, None
                raise notice
            if (live := self.live(queue)) is not None:
                return live
            connection = await self.connection(spec, wait)
            fresh = Subscription(
                spec,
                lanes,
                most=most,
                idle=lambda: idle_after(len(self.subscriptions)),
                on_idle=lambda: self.background(self._hand_back(queue)),
                on_lost=lambda lost: self._lost(fresh, lost),
            )
            await fresh.start(connection)
            self.subscriptions[queue] = fresh
            return fresh

    def _lost(self, subscription: Subscription, lost: Sequence[Delivery]) -> None:
        """The broker has taken deliveries back though this process lives: their handlers have not killed it."""
        connection = subscription.connection
        if connection.is_alive:
            self.background(self.settling.take_back(subscription, lost))
        elif connection.was_kept and not self._is_ending:
            self._unjust |= starts_of(subscription, lost)

    async def take_back(self, connection: Connection) -> None:
        """Unrecord the starts of messages lost with a connection, before they are looked up. Raises ClosedError."""
        names, self._unjust = self._unjust, set()
        with OnFailure(lambda: self._unjust.update(names)), suppress(LateError):  # they expire
            await records.drop(connection, names)

    def known(self, spec: QueueSpec, lanes: Sequence[Lane]) -> None:
        """A queue was declared or inspected, perhaps with other lanes."""
        self.left.discard(spec.name)
        if (subscription := self.subscriptions.get(spec.name)) is not None:
            subscription.reshape(spec, lanes)

    async def leave(self, queue: str) -> None:
        """Free what a queue uses here, but for its open deliveries: they end when they are settled."""
        subscription = self.live(queue)
        if subscription is not None:
            self.left.add(queue)
            subscription.dismiss(ClosedError(NOT_FOUND, "it was undeclared"))
            await self._hand_back(queue)
        else:
            await self._let_go(queue)
        self.publishing.forget(queue)
        await self.settled(queue)

    async def settled(self, queue: str) -> None:
        """Free the rest of a queue that was left, once nothing of it is held."""
        if queue not in self.left:
            return
        subscription = self.subscriptions.get(queue)
        if subscription is None or not subscription.held.is_in_use:
            await self._let_go(queue)
            if subscription is not None:
                await subscription.close(ClosedError(NOT_FOUND, "it was undeclared"))

    async def _let_go(self, queue: str) -> None:
        """Forget an undeclared queue, and let another process have the turn."""
        self.forget(queue)
        if (turn := self.active_turns.pop(queue, None)) is not None:
            await turn.give_up()

    def forget(self, queue: str) -> None:
        """Nothing of it is used here any more."""
        self.subscriptions.pop(queue, None)
        self._starting.pop(queue, None)
        self.left.discard(queue)
        self.links.forget(queue)

    def _active_turn(self, queue: str) -> ActiveTurn:
        def lost() -> None:
            if (subscription := self.subscriptions.get(queue)) is not None:
                self.background(subscription.close())  # the process with the turn handles these messages now

        async def publish(name: str) -> bool:
            with suppress(ClosedError, LateError, BlockedError):
                return await self.publishing.publisher.publish([Parcel(name, b"", envelope.EMPTY, b"")]) == ["stored"]
            return False

        return self.active_turns.setdefault(queue, ActiveTurn(queue, publish, lost))

    def turn(self, queue: str) -> asyncio.Lock:
        """One at a time may move unused messages of a queue: a second one would miss the messages of the first."""
        return self._turns.setdefault(queue, asyncio.Lock())

    async def end(self) -> None:
        """Return unused messages to the broker, and end all connections."""
        self._is_ending = True
        try:
            await self._end()
        finally:  # also where the end is cancelled: the broker must not take us for a consumer that lives
            self.links.abort()
            self.publishing.publisher.abort()

    async def _end(self) -> None:
        if self.link.connection is not None:
            with suppress(TimeoutError):  # the broker takes it back by itself then, and counts it as handed out
                async with asyncio.timeout(_PARTING):
                    for subscription in self.subscriptions.values():
                        subscription.wake()
                    await asyncio.gather(*map(self._hand_back, list(self.subscriptions)))
        self._tasks.cancel()
        await self._tasks.wait()
        await self.links.close()  # with all channels, and held messages return
        await self.publishing.publisher.close()

    async def _hand_back(self, queue: str) -> None:
        """Consume a queue no longer, and let others have what lies here."""
        # If it fails, it lies here still, and is checked again; or the channel is gone, and the broker has it.
        with suppress(ClosedError, LateError, BlockedError):
            async with self.turn(queue):
                if (subscription := self.live(queue)) is None:
                    return
                await self.settling.hand_back(subscription)
                if subscription.is_done or (queue in self.active_turns and subscription.is_unused):
                    self.subscriptions.pop(queue, None)  # the next receive begins again
                    await subscription.close()
                    if queue in self.active_turns:
                        await self.active_turns[queue].give_up()
                else:
                    subscription.stay()

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Let it run until the end of the session."""
        self._tasks.start(work, "work of the RabbitMQ driver")


SIGNS = 4
"""Declarations in the time for which the broker keeps an unused queue."""


async def keep(session: Session, known: KnownQueues[KnownQueue], errors: Errors, defaults: Defaults) -> None:
    """Declare the temporary queues of this process now and again, until cancelled.

    The broker removes a temporary queue that nothing uses; another declaration is a use
    (rabbitmq.com/docs/ttl#queue-ttl).
    """
    while True:
        await asyncio.sleep(min(defaults.queue_expiry or KEPT, KEPT) / SIGNS)
        connection = session.link.connection
        for queue in known.declared():
            name = queue.spec.name
            if connection is not None and queue.spec.temporary and known.is_kept(name):
                with suppress(ClosedError, LateError, DriverError):  # the next connection declares it, too
                    await declaring.declare(connection, errors, session.marks, *queue)
