"""Streams of bytes from a broker, for each client that the drivers have of their own.

Whatever a broker sends, in pieces of any size: a client reads the same of it, keeps no more of it than it must, and
ends in one error at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from nats.errors import ProtocolError
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.protocol import envelope
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.connection import Connection as AMQPConnection
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.receiving.deliveries import arrived
from tasuki.drivers.nats.protocol.client import LONGEST_LINE, Reader
from tasuki.drivers.redis.connecting.link import Link
from tasuki.drivers.redis.errors import ReplyError
from tasuki.drivers.redis.settings import Server

FRAME_MAX = 4096
"""Bytes of the largest frame at AMQP, as small as may be: a stream of the fuzzer is short."""
_ASKED = 4
"""Calls that wait for an answer."""

Events = list[Any]


class Transport:
    """Takes what the client writes, and notes its end."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self.is_over = False

    def write(self, data: bytes) -> None:
        self._events.append(("wrote", bytes(data)))

    def abort(self) -> None:
        assert not self.is_over, "a client ends once"
        self.is_over = True

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        return None


def pieces(data: bytes, cuts: bytes) -> list[bytes]:
    """The data in pieces of the sizes in ``cuts``, by turns; in one piece without cuts."""
    sizes = [size for size in cuts if size]
    found: list[bytes] = []
    at = 0
    while sizes and at < len(data):
        found.append(data[at : at + sizes[len(found) % len(sizes)]])
        at += len(found[-1])
    return found if sizes else [data]


def _same_in_pieces(read: Callable[[list[bytes]], Any], data: bytes) -> None:
    """The first bytes cut the others into pieces."""
    cuts, stream = data[1 : 1 + data[0] % 8] if data else b"", data[8:]
    expected = asyncio.run(read([stream]))
    for sizes in (cuts, b"\x01"):
        assert asyncio.run(read(pieces(stream, sizes))) == expected


async def _amqp(stream: list[bytes]) -> Events:
    events: Events = []
    transport: Any = Transport(events)
    settings: Any = SimpleNamespace(heartbeat=0, request_timeout=30.0)
    connection = AMQPConnection(settings)
    connection.frame_max = FRAME_MAX
    connection.connection_made(transport)
    channels = [Channel(connection, number) for number in (1, 2)]
    connection._channels = {channel.number: channel for channel in channels}
    for channel in channels:
        channel.on_delivery = lambda *delivery: events.append(delivery)
        channel.on_cancel = lambda tag: events.append(("cancel", tag))
        channel.on_end = lambda reason: events.append(("end", reason.code))
        channel._answers.extend(asyncio.get_running_loop().create_future() for _ in range(_ASKED))
    asked = [answer for channel in channels for answer in channel._answers]
    for piece in stream:
        if not transport.is_over:
            connection.data_received(piece)
        assert len(connection._buffer) <= FRAME_MAX + len(piece)
    await asyncio.sleep(0)
    if not connection.is_alive:
        assert all(answer.done() for answer in asked), "a call has no answer, and will never have one"
    events += [_said(answer) for answer in asked]
    events += [connection.lost.result().code if connection.lost.done() else None, connection.blocked]
    return events


async def _redis(stream: list[bytes]) -> Events:
    events: Events = []
    transport: Any = Transport(events)
    link = Link(Server("host", 1), 30.0)
    link.connection_made(transport)
    link.on_push = lambda push: events.append(repr(push))
    link.on_lost = lambda: events.append("lost")
    asked = [link.call("PING") for _ in range(_ASKED)]
    for piece in stream:
        if not transport.is_over:
            link.data_received(piece)
    assert events.count("lost") == transport.is_over
    if transport.is_over:
        assert all(answer.done() for answer in asked)
    events += [_said(answer) for answer in asked]
    link.on_lost = lambda: None
    link.close()
    for answer in asked:
        answer.exception()  # seen
    return events


def _said(answer: asyncio.Future[Any]) -> str:
    if not answer.done():
        return "nothing"
    error = answer.exception()
    if error is None:
        result = answer.result()
        return f"{type(result).__name__}{list(result)}" if isinstance(result, Method) else repr(result)
    return repr(error) if isinstance(error, ReplyError) else type(error).__name__


class _NATSClient:
    """What the library's parser calls."""

    def __init__(self, events: Events) -> None:
        self._events = events

    async def _process_ping(self) -> None:
        self._events.append("ping")

    async def _process_pong(self) -> None:
        self._events.append("pong")

    async def _process_err(self, text: str) -> None:
        self._events.append(text)

    async def _process_info(self, info: Any) -> None:
        self._events.append(repr(info))


async def _nats(stream: list[bytes]) -> Events:
    events: Events = []
    reader = Reader(_NATSClient(events), lambda *message: events.append(message), lambda: None)
    for piece in stream:
        try:
            await reader.parse(piece)
        except ProtocolError:
            events.append("lost")
            break
        assert not reader.buf, "the library's parser keeps nothing"
        assert reader._size <= max(reader._needed_size, LONGEST_LINE)
    return events


def amqp(data: bytes) -> None:
    """Frames of RabbitMQ."""
    _same_in_pieces(_amqp, data)


def redis(data: bytes) -> None:
    """Replies of Redis."""
    _same_in_pieces(_redis, data)


def nats(data: bytes) -> None:
    """Lines of NATS."""
    _same_in_pieces(_nats, data)


def properties(data: bytes) -> None:
    """The properties of a message at RabbitMQ, with the table of its headers: at worst all is body.

    A message that cannot be read must be one that can be retried: else it ends each new connection.
    """
    deliver = Deliver(b"s1", 1, False, b"\x00\x3c\x00\x3c\x02s1" + bytes(11))
    delivery = arrived(deliver, data, b"body", 1)
    assert delivery.received.body == b"body"
    assert envelope.identity(delivery.properties, delivery.received.id, b"body")
    copy = arrived(deliver, envelope.copied(delivery.properties, delivery.received.id, 3), b"body", 2)
    assert copy.received.attempt == 4, "its failures count"
    assert len(copy.received.id.encode()) > 255 or copy.received.id == delivery.received.id
