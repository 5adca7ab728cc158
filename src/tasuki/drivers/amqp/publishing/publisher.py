"""Publisher: hands messages to the broker over its own connection, and waits until it has answered for each.

Of its own because the broker stops reading a connection that publishes while it is low on memory or disk; consuming and
acking go on on another, and make room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from pamqp import commands

from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError, Fate, LateError
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.confirms import Batch
from tasuki.drivers.amqp.protocol.connecting import reconnecting
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.tables import priority_of
from tasuki.drivers.amqp.publishing.delaying import Delayed, Delaying
from tasuki.drivers.amqp.settings import Endpoint

_CHUNK = 256 * 1024


class BlockedError(Exception):
    """The broker takes no messages for now; nothing was sent."""


class UnsentError(ClosedError):
    """There was no connection to send over."""


class Parcel(NamedTuple):
    """A message on its way to a queue at the broker."""

    queue: str
    id: bytes
    properties: bytes
    body: bytes
    delay: float = 0.0


class Sending(NamedTuple):
    """A parcel as it is written: to which exchange, with which properties."""

    exchange: str
    properties: bytes
    parcel: Parcel


class Publisher:
    """Publishes to queues directly, or through the delay queues."""

    def __init__(self, settings: Endpoint) -> None:
        self._settings = settings
        self._link = reconnecting(settings, self._prepare)
        self._channel: Channel | None = None
        self._delaying = Delaying()
        self.frame_max = 0
        """The largest frame of the last connection that was used."""

    @property
    def blocked(self) -> str | None:
        """Why the broker takes no messages now, as it said; None: it takes them."""
        connection = self._link.connection
        return connection.blocked if connection is not None else None

    async def publish(self, parcels: Sequence[Parcel]) -> list[Fate]:
        """What became of each; all are ``stored`` or not by now.

        Raises:
            BlockedError: nothing was sent.
            UnsentError: nothing was sent either, for there is no connection.
            LateError, ClosedError: the messages may have been stored.
        """
        delayed = {
            index: self._delaying.place(parcel.queue, parcel.delay, priority_of(parcel.properties))
            for index, parcel in enumerate(parcels)
            if parcel.delay > 0
        }
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                channel = await self._ready(list(delayed.values()))
        except (TimeoutError, LateError) as error:
            if (reason := self.blocked) is not None:
                raise BlockedError(reason) from error
            self._unanswered()
            raise UnsentError(0, "no answer within the deadline") from error
        sendings = [_addressed(parcel, delayed.get(index)) for index, parcel in enumerate(parcels)]
        self.frame_max = channel.connection.frame_max
        most = self.frame_max - frames.AROUND_PROPERTIES
        fitting = [index for index, sending in enumerate(sendings) if len(sending.properties) <= most]
        fates: list[Fate] = ["oversized"] * len(parcels)
        if fitting:
            answers = await self._send_all(channel, [sendings[index] for index in fitting])
            for index, fate in zip(fitting, answers, strict=True):
                fates[index] = fate
        if any(fates[index] == "unroutable" for index in delayed):  # or a queue
            self._delaying.forget()
        return fates

    async def _send_all(self, channel: Channel, sendings: Sequence[Sending]) -> list[Fate]:
        batch = Batch(len(sendings))
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await _write(channel, sendings, batch)
                await batch.done
        except TimeoutError as error:
            self._unanswered()
            raise LateError from error
        except ClosedError as error:
            if error.code == NOT_FOUND:  # another program has deleted an exchange of the delay queues
                self._delaying.forget()
            raise
        return batch.fates

    def forget_target(self, queue: str) -> None:
        """A queue may be deleted, or is of no interest here any more."""
        self._delaying.forget_target(queue)

    def _unanswered(self) -> None:
        if (connection := self._link.connection) is not None:
            connection.unanswered()

    async def close(self) -> None:
        """End the connection; the outcome of unconfirmed publishes stays unknown."""
        await self._link.close()

    def abort(self) -> None:
        """Cut the connection if it has not ended."""
        self._link.abort()

    async def _ready(self, delayed: Sequence[Delayed]) -> Channel:
        """Wait until the connection is open and not blocked, and the delay queues exist; nothing is sent before."""
        try:
            connection = await self._link.get()
            if delayed:
                await self._delaying.prepare(connection, delayed)
            channel = self._channel
            if channel is None or not channel.is_alive or channel.connection is not connection:
                channel = await self._open(connection)
        except ClosedError as error:
            raise UnsentError(error.code, error.text) from error
        await connection.unblocked.wait()
        try:
            await connection.drain()  # else each attempt would add to what a frozen broker does not read
        except ClosedError as error:
            raise UnsentError(error.code, error.text) from error
        return channel

    async def _prepare(self, connection: Connection) -> None:
        """A new connection may lead to a broker that has lost everything."""
        await self._delaying.check(connection)
        await self._open(connection)

    async def _open(self, connection: Connection) -> Channel:
        channel = await connection.open_channel()
        await channel.ask(commands.Confirm.Select())
        self._channel = channel
        return channel


def _addressed(parcel: Parcel, delayed: Delayed | None) -> Sending:
    if delayed is None:
        return Sending("", parcel.properties, parcel)
    return Sending(delayed.exchange, delayed.mark(parcel.properties), parcel)


async def _write(channel: Channel, sendings: Sequence[Sending], batch: Batch) -> None:
    """Write all, some hundred kilobytes at a time, as fast as the broker reads."""
    number, most = channel.number, channel.connection.frame_max
    parts: list[bytes] = []
    sent: list[tuple[str, bytes]] = []
    start = size = 0
    for exchange, properties, parcel in sendings:
        key = frames.short(parcel.queue)
        data = frames.publish(number, frames.short(exchange), key, properties, parcel.body, most)
        parts.append(data)
        sent.append((parcel.queue, parcel.id))
        size += len(data)
        if size >= _CHUNK:
            channel.publish(b"".join(parts), batch, sent, start)
            start, size, parts, sent = start + len(sent), 0, [], []
            await channel.connection.drain()
    channel.publish(b"".join(parts), batch, sent, start)
