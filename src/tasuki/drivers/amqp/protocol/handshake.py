"""Handshake: connects to a node, logs in, agrees on limits, and opens the vhost."""

from __future__ import annotations

import asyncio

from pamqp import commands

from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.faults import ClosedError, refused
from tasuki.drivers.amqp.limits import FRAME_MAX, LARGEST_FRAME, SMALLEST_FRAME
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.tables import encode_field
from tasuki.drivers.toolkit.tls import tls_context
from tasuki.system.tasks import OnFailure

_CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "authentication_failure_close": True,
}


async def connect(settings: Endpoint, host: str, port: int) -> Connection:
    """A connection that is ready for use, within the connection timeout. Raises ClosedError."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(settings.connection_timeout):
            context = tls_context(settings.tls)
            _, connection = await loop.create_connection(
                lambda: Connection(settings),
                host,
                port,
                ssl=context,
                server_hostname=settings.server_name(host) if context else None,
            )
            with OnFailure(lambda: connection.end(ClosedError(0, "the handshake failed"))):
                await log_in(connection)
            return connection
    except TimeoutError as error:
        raise ClosedError(0, f"no answer within {settings.connection_timeout:g} s") from error
    except OSError as error:
        raise refused(error) from error


async def log_in(connection: Connection) -> None:
    """Log in and open the vhost. Raises ClosedError."""
    settings = connection.settings
    connection.write(b"AMQP\x00\x00\x09\x01")
    start = await connection.expect(commands.Connection.Start)
    offered = str(start.mechanisms).split()
    if settings.mechanism not in offered:
        raise ClosedError(403, f"the broker offers no {settings.mechanism}, only {', '.join(offered)}")
    connection.write(frames.frame(frames.METHOD, 0, _start_ok(settings)))
    tune = await connection.expect(commands.Connection.Tune)
    frame_max = min(_least(tune.frame_max, settings.frame_size) or FRAME_MAX, LARGEST_FRAME)
    if frame_max < SMALLEST_FRAME:
        raise ClosedError(502, f"frames of {frame_max} bytes are too small; {SMALLEST_FRAME} are the least")
    connection.agree(frame_max, _least(tune.channel_max, settings.channel_max) or 65535)
    tune_ok = commands.Connection.TuneOk(connection.channel_max, frame_max, settings.heartbeat)
    connection.send(0, tune_ok, commands.Connection.Open(virtual_host=settings.vhost))
    await connection.expect(commands.Connection.OpenOk)
    connection.keep_alive()


def _start_ok(settings: Endpoint) -> bytes:
    """``connection.start-ok``; by hand, because a response is bytes."""
    client = commands.Connection.StartOk(
        client_properties={
            "product": "tasuki",
            "connection_name": settings.name,
            "capabilities": dict(_CAPABILITIES),
        },
        mechanism=settings.mechanism,
        response="",
        locale="en_US",
    ).marshal()
    head = client[: -(4 + 1 + 5)]  # up to the response: its length, and the locale with its length, come after it
    response = _response(settings)
    return b"\x00\x0a\x00\x0b" + head + len(response).to_bytes(4, "big") + response + frames.short("en_US")


def _response(settings: Endpoint) -> bytes:
    if settings.mechanism == "EXTERNAL":
        return b""
    user, password = settings.user.encode(), settings.password.encode()
    if settings.mechanism == "PLAIN":
        return b"\0" + user + b"\0" + password
    return encode_field(b"LOGIN", settings.user) + encode_field(b"PASSWORD", settings.password)


def _least(theirs: int, ours: int) -> int:
    """The smaller of two limits, of which 0 means none."""
    return min(limit for limit in (theirs, ours) if limit) if theirs or ours else 0
