"""Unsettled: the tags of one channel's deliveries that are not settled, and the frames that settle them."""

from __future__ import annotations

from collections.abc import Collection

from tasuki.drivers.amqp import frames
from tasuki.drivers.amqp.consumers import Consumers


class Unsettled:
    """Told of every delivery and every settlement of a channel; counts them for the consumers."""

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
