"""Consuming: the channel of a subscription and its consumers at the broker, as the table in ``states`` says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from pamqp import commands

from tasuki.drivers.amqp.faults import ClosedError, LateError
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.receiving.consumers import Consumers, Unsettled
from tasuki.drivers.amqp.receiving.states import Action, Event, State, Wants, lacks, prefetch, step
from tasuki.drivers.amqp.topology.queue_arguments import Lane

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
        consumers = self.consumers
        is_outdated = self._consumed is not None and self._consumed != self.lanes
        if lacks(
            self._wants(), allowed=consumers.allowed, taken=consumers.taken, most=self._most, is_outdated=is_outdated
        ):
            self._happened(Event.WANTED)

    async def stop(self, take_unused: Callable[[], None]) -> None:
        """End the consumers of the shared lanes, and then call ``take_unused``. Raises ClosedError or LateError.

        Messages that come meanwhile are handed out after that.
        """
        self._happened(Event.STOP)
        try:
            if self.task is not None:
                await asyncio.wait((self.task,))
            if self.state is State.ENDING:
                await self.consumers.end(self.live_channel, self.lanes)
                take_unused()
        finally:
            self._happened(Event.STOPPED)

    def cancelled(self, tag: str) -> None:
        """The broker has ended a consumer: the next receive begins a new one."""
        self.consumers.cancelled(tag)
        self._consumed = ()

    async def settle(self, acked: Collection[int], requeued: Collection[int]) -> None:
        """Ack and requeue deliveries by tag, and wait until the broker has read it. Raises ClosedError or LateError."""
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
        await channel.ask(commands.Basic.Qos(prefetch_count=max(self.consumers.allowed, 1)))

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
            self._consumed = self.lanes
            await self.consumers.start(channel, self.lanes, prefetch(self._wants(), self._most))

    def _begun(self, task: asyncio.Task[None]) -> None:
        self.task = None
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._happened(Event.BEGUN)
        elif isinstance(error, ClosedError | LateError):
            self._happened(Event.FAILED, error)
        else:
            self._happened(Event.FAILED, ClosedError(0, repr(error)))
