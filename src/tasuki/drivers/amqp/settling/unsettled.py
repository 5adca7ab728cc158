"""Unsettled: the tags of one channel's deliveries that are not settled, and the frames that settle them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from pamqp import commands

from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.receiving.consumers import Consumers

_NEXT = 0.05
"""Seconds in which the broker pushes the next message, if there is one."""


class Unsettled:
    """Every delivery and every settlement of a channel is noted here; counts them for the consumers."""

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
        await channel.ask(commands.Basic.Qos(prefetch_count=max(self._consumers.allowed, 1)))

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
