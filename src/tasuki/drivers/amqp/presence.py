"""Presence: consumers that never get anything, on a queue that stays empty; the broker counts them for all processes.

They go with their connection, so a dead process is not counted.

If the broker answers nothing for them, their queue is made again where it has no leader (see ``leaderless``); it is
empty. If the broker is still silent, consuming goes on uncounted, for it must not depend on a count.
"""

from __future__ import annotations

import asyncio
from functools import partial

from pamqp import commands

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp import leaderless
from tasuki.drivers.amqp.channel import Channel
from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.faults import INTERNAL_ERROR, NOT_FOUND, ClosedError, LateError
from tasuki.drivers.amqp.topology import presence, presence_name


class Presence:
    """What this process has told the broker, on the connection that it has now."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self._numbers: dict[str, int] = {}
        self._silent: dict[str, int] = {}
        """How many times in a row the broker did not answer for the consumers of a queue."""

    async def set(self, connection: Connection, spec: QueueSpec, number: int) -> None:
        """Register this many consumers of a queue. Raises ClosedError or LateError."""
        async with connection.beginning:
            await self._set(connection, spec, number)

    async def _set(self, connection: Connection, spec: QueueSpec, number: int) -> None:
        queue = spec.name
        if number and queue in self._silent and not await self._mend(connection, queue):
            return
        channel = self._channels.get(queue)
        if channel is None or not channel.is_alive or channel.connection is not connection:
            if not number:
                return
            channel = self._channels[queue] = await connection.open_channel()
            channel.on_cancel = partial(self._cancelled, queue, channel)
            self._numbers[queue] = 0
        name = presence_name(queue)
        now = self._numbers[queue]
        self._numbers[queue] = number
        if number > now:
            fresh = [commands.Basic.Consume(queue=name, consumer_tag=f"c{index}") for index in range(now, number)]
            try:
                await channel.ask_within(connection.settings.request_timeout, presence(spec), *fresh)
            except (LateError, ClosedError, asyncio.CancelledError) as error:
                if not isinstance(error, ClosedError) or error.code == INTERNAL_ERROR:
                    self._silent[queue] = self._silent.get(queue, 0) + 1
                raise
            self._silent.pop(queue, None)
        elif number < now:
            await channel.ask(*(commands.Basic.Cancel(consumer_tag=f"c{index}") for index in range(number, now)))

    def _cancelled(self, queue: str, channel: Channel, _: str) -> None:
        """All of them are: somebody has deleted their queue, perhaps we."""
        if self._channels.get(queue) is channel:
            self._numbers[queue] = 0

    async def _mend(self, connection: Connection, queue: str) -> bool:
        """See to a queue that did not answer; False: go on without registering. Raises ClosedError."""
        if self._silent[queue] > 1:
            del self._silent[queue]  # the next connection tries again
            return False
        try:
            await leaderless.remove_if_leaderless(connection, presence_name(queue))
        except LateError:
            return False  # the next call looks again
        return True

    async def forget(self, queue: str) -> None:
        """The queue is gone."""
        self._silent.pop(queue, None)
        self._numbers.pop(queue, None)
        if (channel := self._channels.pop(queue, None)) is not None:
            await channel.close()

    async def count(self, connection: Connection, queue: str) -> int:
        """How many there are in all processes. Raises ClosedError or LateError."""
        try:
            async with connection.borrow() as channel:
                (answer,) = await channel.ask(commands.Queue.Declare(queue=presence_name(queue), passive=True))
        except ClosedError as error:
            if error.code != NOT_FOUND:
                raise
            return 0  # nobody has attached one, or not since the last ones went
        return int(answer.consumer_count)
