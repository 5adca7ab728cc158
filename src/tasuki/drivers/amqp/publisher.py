"""Publisher: hands messages to the broker over a connection of its own, and waits until it has answered for each.

Of its own because the broker stops reading a connection that publishes while it is low on memory or disk; consuming and
acking go on on another, and make room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from pamqp import commands

from tasuki.drivers.amqp import frames, ladder
from tasuki.drivers.amqp.channel import Channel
from tasuki.drivers.amqp.confirms import Batch
from tasuki.drivers.amqp.connection import Connection
from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError, Fate, LateError
from tasuki.drivers.amqp.link import Link
from tasuki.drivers.amqp.settings import Settings

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


class Publisher:
    """Publishes to queues directly, or through the delay ladder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._link = Link(settings, self._prepare)
        self._channel: Channel | None = None
        self._rungs = -1
        self._bound: set[str] = set()
        self._building = asyncio.Lock()

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it takes no messages, and not yet that it does again."""
        connection = self._link.connection
        return connection is not None and connection.blocked is not None

    async def publish(self, parcels: Sequence[Parcel]) -> list[Fate]:
        """What became of each; all are ``stored`` or not by now.

        Raises:
            BlockedError: nothing was sent.
            UnsentError: nothing was sent either, for there is no connection.
            LateError, ClosedError: it is not known what was stored.
        """
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                connection, channel = await self._ready(parcels)
        except TimeoutError as error:
            raise LateError from error
        batch = Batch(len(parcels))
        try:
            async with asyncio.timeout(self._settings.request_timeout):
                await self._write(connection, channel, parcels, batch)
                await batch.done
        except TimeoutError as error:
            raise LateError from error
        except ClosedError as error:
            if error.code == NOT_FOUND:  # somebody has deleted the ladder's exchanges: they are made anew
                self._rungs, self._bound = -1, set()
            raise
        return batch.fates

    async def close(self) -> None:
        """End the connection; what is under way stays unknown."""
        await self._link.close()

    def abort(self) -> None:
        """Cut the connection if it has not ended."""
        self._link.abort()

    async def _ready(self, parcels: Sequence[Parcel]) -> tuple[Connection, Channel]:
        """Connected, not blocked, and with a ladder that is high enough. Nothing is sent before that."""
        try:
            connection = await self._link.get()
            await self._build(connection, parcels)
            channel = self._channel
            if channel is None or not channel.is_alive or channel.connection is not connection:
                channel = await self._open(connection)
        except ClosedError as error:
            raise UnsentError(error.code, error.text) from error
        if connection.blocked is not None:
            reason = connection.blocked
            try:
                async with asyncio.timeout(self._settings.request_timeout * 0.9):
                    await connection.unblocked.wait()
            except TimeoutError as error:
                raise BlockedError(reason) from error
        try:
            await connection.drain()  # else each attempt would add to what a frozen broker does not read
        except ClosedError as error:
            raise UnsentError(error.code, error.text) from error
        return connection, channel

    async def _write(self, connection: Connection, channel: Channel, parcels: Sequence[Parcel], batch: Batch) -> None:
        """Write all, some hundred kilobytes at a time, as fast as the broker reads."""
        number, most = channel.number, connection.frame_max
        parts: list[bytes] = []
        sent: list[tuple[str, bytes]] = []
        start = size = 0
        for parcel in parcels:
            exchange, key = "", parcel.queue
            if parcel.delay > 0:
                exchange, key, _ = ladder.entry(parcel.delay, parcel.queue)
            data = frames.publish(
                number, frames.short(exchange), frames.short(key), parcel.properties, parcel.body, most
            )
            parts.append(data)
            sent.append((key, parcel.id))
            size += len(data)
            if size >= _CHUNK:
                self._send(connection, channel, batch, sent, parts, start)
                start, size, parts, sent = start + len(sent), 0, [], []
                await connection.drain()
        self._send(connection, channel, batch, sent, parts, start)

    @staticmethod
    def _send(
        connection: Connection,
        channel: Channel,
        batch: Batch,
        sent: Sequence[tuple[str, bytes]],
        parts: Sequence[bytes],
        start: int,
    ) -> None:
        if channel.closed is not None:
            raise channel.closed
        channel.confirms.sent(batch, sent, start)
        connection.write(b"".join(parts))

    async def _prepare(self, connection: Connection) -> None:
        """A new connection may lead to a broker that has lost everything."""
        self._rungs, self._bound = -1, set()
        await self._open(connection)

    async def _open(self, connection: Connection) -> Channel:
        channel = await connection.open_channel()
        await channel.ask(commands.Confirm.Select())
        self._channel = channel
        return channel

    async def _build(self, connection: Connection, parcels: Sequence[Parcel]) -> None:
        """Make the rungs, and the ways to the queues, that are not there yet."""
        delayed = [parcel for parcel in parcels if parcel.delay > 0]
        if not delayed:
            return
        async with self._building:
            top = max(ladder.entry(parcel.delay, parcel.queue)[2] for parcel in delayed)
            queues = {parcel.queue for parcel in delayed} - self._bound
            if top <= self._rungs and not queues:
                return
            channel = await connection.open_channel()
            try:
                await channel.ask(*ladder.foot(), *map(ladder.foot_binding, queues))
                self._bound |= queues
                for number in range(self._rungs + 1, top + 1):
                    await channel.ask(*ladder.rung(number))
                    self._rungs = number
            finally:
                await channel.close()
