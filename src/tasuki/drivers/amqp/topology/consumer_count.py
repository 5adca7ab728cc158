"""ConsumerCount: consumers on a queue that stays empty, so that the broker counts them for all processes.

They go with their connection, so a dead process is not counted. Many queues share a channel, because a channel costs
the broker more than anything else here. A channel is used for one queue at a time, so one whose broker does not answer
keeps no other waiting; when its channel ends for that, the others on it are registered again on other channels.

If the broker answers nothing for them, their queue is made again where it has no leader (see ``leaderless``); it is
empty. If the broker is still silent, consuming goes on uncounted, for it must not depend on a count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any

from pamqp import commands

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.faults import INTERNAL_ERROR, ClosedError, LateError
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.existing import passively, up_to_missing
from tasuki.drivers.amqp.topology import leaderless
from tasuki.drivers.amqp.topology.queue_arguments import counting_name, presence


@dataclass(eq=False, slots=True)
class _Entry:
    """How many consumers of a queue are to be counted, and which are."""

    spec: QueueSpec
    wanted: int = 0
    counted: dict[str, Channel] = field(default_factory=dict)
    """The channel of each consumer that the broker has confirmed, by tag."""
    silences: int = 0
    """How many times in a row the broker did not answer for them."""
    has_failed: bool = False
    """Whether the last attempt failed: the next one has a channel to itself, for a refusal ends the channel."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)


class ConsumerCount:
    """What this process has told the broker; ``background`` runs work without a caller that waits."""

    def __init__(self, background: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._background = background
        self._entries: dict[str, _Entry] = {}
        self._asked: dict[Channel, dict[str, _Entry]] = {}
        """Whose consumers each channel has, or will have when the broker answers, by tag."""
        self._numbers = count(1)

    async def set(self, connection: Connection, spec: QueueSpec, number: int) -> None:
        """Register this many consumers of a queue. Raises ClosedError or LateError."""
        entry = self._entries.get(spec.name)
        if entry is None:
            if not number:
                return
            entry = self._entries[spec.name] = _Entry(spec)
        entry.spec, entry.wanted = spec, number
        await self._adjust(connection, entry)

    async def _adjust(self, connection: Connection, entry: _Entry) -> None:
        async with entry.changing, connection.beginning:
            if not connection.is_alive:
                raise connection.lost.result()
            if entry.wanted and entry.silences and not await self._mend(connection, entry):
                return
            missing = entry.wanted - len(entry.counted)
            if missing > 0:
                await self._register(connection, entry, missing)
            elif missing < 0:
                await self._cancel(entry, list(entry.counted)[missing:])

    async def _register(self, connection: Connection, entry: _Entry, number: int) -> None:
        seconds, name = connection.settings.request_timeout, counting_name(entry.spec.name)
        tags = [f"c{next(self._numbers)}" for _ in range(number)]
        consumes = [commands.Basic.Consume(queue=name, consumer_tag=tag) for tag in tags]
        try:
            async with connection.borrow() as channel:
                await channel.ask_within(seconds, presence(entry.spec))
            async with connection.counting.borrow(is_fresh=entry.has_failed) as channel:
                entry.has_failed = True
                asked = self._asked_on(connection, channel)
                asked |= dict.fromkeys(tags, entry)
                await channel.ask_within(seconds, *consumes)
                if channel.closed is not None:  # right after its answer
                    raise channel.closed
        except (LateError, ClosedError, asyncio.CancelledError) as error:
            if not isinstance(error, ClosedError) or error.code == INTERNAL_ERROR:
                entry.silences += 1
            entry.has_failed = entry.has_failed and connection.is_alive
            raise
        entry.silences, entry.has_failed = 0, False
        entry.counted |= {tag: channel for tag in tags if tag in asked}  # the broker may have cancelled them since

    def _asked_on(self, connection: Connection, channel: Channel) -> dict[str, _Entry]:
        if channel not in self._asked:
            self._asked[channel] = {}
            channel.on_cancel = partial(self._gone, channel)
            channel.on_end = partial(self._ended, connection, channel)
        return self._asked[channel]

    async def _cancel(self, entry: _Entry, tags: Sequence[str]) -> None:
        channels: dict[Channel, list[str]] = {}
        for tag in tags:
            channels.setdefault(entry.counted[tag], []).append(tag)
        for channel, some in channels.items():
            for tag in some:
                self._gone(channel, tag)
            with suppress(ClosedError):  # with their channel they are gone, too
                cancels = [commands.Basic.Cancel(consumer_tag=tag) for tag in some]
                await channel.ask_within(channel.connection.settings.request_timeout, *cancels)

    def _gone(self, channel: Channel, tag: str) -> None:
        """The broker has cancelled a consumer: its queue was deleted, perhaps by us."""
        if (entry := self._asked.get(channel, {}).pop(tag, None)) is not None:
            entry.counted.pop(tag, None)

    def _ended(self, connection: Connection, channel: Channel, _: ClosedError) -> None:
        """Forget the consumers of a channel; after a lost connection they are registered on the next one."""
        asked = self._asked.pop(channel)
        lost = dict.fromkeys(entry for tag, entry in asked.items() if entry.counted.pop(tag, None) is not None)
        if lost and connection.is_alive:
            self._background(self._again(connection, list(lost)))

    async def _again(self, connection: Connection, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            with suppress(ClosedError, LateError):
                await self._adjust(connection, entry)

    async def _mend(self, connection: Connection, entry: _Entry) -> bool:
        """See to a queue that did not answer; False: go on without registering. Raises ClosedError."""
        if entry.silences > 1:
            entry.silences = 0  # the next connection tries again
            return False
        try:
            await leaderless.remove_if_leaderless(connection, counting_name(entry.spec.name))
        except LateError:
            return False  # the next call looks again
        return True

    async def forget(self, queue: str) -> None:
        """The queue is gone, or of no interest here any more."""
        entry = self._entries.pop(queue, None)
        if entry is None:
            return
        entry.wanted = 0
        async with entry.changing:
            with suppress(LateError):  # they end with the channel
                await self._cancel(entry, list(entry.counted))

    async def count(self, connection: Connection, queue: str) -> int:
        """How many there are in all processes. Raises ClosedError or LateError."""
        answers = await up_to_missing(connection, [passively(counting_name(queue))])
        # Without that queue: no consumer was attached, or none since the last ones went.
        return sum(int(answer.consumer_count) for answer in answers)
