"""Connecting: makes connections to RabbitMQ: logs in, to any node of a cluster, again after a loss.

``Links`` has the connections for consuming, as a connection has a limited number of channels. The first one declares
and asks too; it alone sees the exclusive queues that it has declared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from pamqp import commands

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.amqp.faults import ACCESS_REFUSED, ClosedError, refused
from tasuki.drivers.amqp.limits import FRAME_MAX, LARGEST_FRAME, SMALLEST_FRAME
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.connection import Connection
from tasuki.drivers.amqp.protocol.frames import encode_field
from tasuki.drivers.amqp.settings import Endpoint
from tasuki.drivers.toolkit.address import tls_context
from tasuki.drivers.toolkit.reconnecting import Reconnecting
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


STAGGER = 0.5
"""Seconds that a node may take before the next one is tried as well: a machine that is gone answers nothing."""


class Hosts:
    """The nodes in turn: after a connection to one of them, the next attempt begins with the one after it.

    Nodes that did not answer when another one did come last.
    """

    def __init__(self, settings: Endpoint) -> None:
        self._settings = settings
        self._first = 0
        self._silent: set[int] = set()

    async def connect(self) -> Connection:
        """A connection to any node. Raises ClosedError for a refused login, or with the reason of the last node."""
        number = len(self._settings.hosts)
        order = [(self._first + offset) % number for offset in range(number)]
        order.sort(key=self._silent.__contains__)
        attempts: dict[asyncio.Task[Connection], int] = {}
        try:
            for index in order:
                host, port = self._settings.hosts[index]
                attempts[asyncio.create_task(connect(self._settings, host, port), name=f"connect to {host}")] = index
                found = await _first_of(attempts, STAGGER if index != order[-1] else None)
                if found is not None:
                    answered = attempts.pop(found)
                    self._first = (answered + 1) % number
                    self._silent = (self._silent | set(attempts.values())) - {answered}
                    return found.result()
            raise _worst(attempts)
        finally:
            await _end(attempts)


async def _first_of(
    attempts: dict[asyncio.Task[Connection], int], timeout: float | None
) -> asyncio.Task[Connection] | None:
    """The first attempt that succeeded; None when all have failed, or after the timeout."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout if timeout is not None else None
    while True:
        if found := next((task for task in attempts if task.done() and task.exception() is None), None):
            return found
        pending = [task for task in attempts if not task.done()]
        left = None if deadline is None else deadline - loop.time()
        if not pending or (left is not None and left <= 0):
            return None
        await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)


def _worst(attempts: dict[asyncio.Task[Connection], int]) -> BaseException:
    """Why no node would have us."""
    errors = [error for task in attempts if (error := task.exception()) is not None]
    refused = (error for error in errors if isinstance(error, ClosedError) and error.code == ACCESS_REFUSED)
    return next(refused, errors[-1])


async def _end(attempts: dict[asyncio.Task[Connection], int]) -> None:
    """End the attempts that are not needed any more, and their connections."""
    for task in attempts:
        task.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
    for task in attempts:
        if not task.cancelled() and task.exception() is None:
            task.result().end(ClosedError(0, "another node was quicker"))


AUTH_PAUSE = 30.0
"""Seconds after refused credentials: the broker may lock out a client that tries again at once."""


def reconnecting(settings: Endpoint, prepare: Callable[[Connection], Awaitable[None]]) -> Reconnecting[Connection]:
    """The connection; while an attempt must wait, ``get`` raises at once what made the last one fail.

    That is ClosedError, or what ``prepare`` raised.
    """
    hosts = Hosts(settings)

    async def connect() -> Connection:
        connection = await hosts.connect()
        with OnFailure(lambda: connection.end(ClosedError(0, "could not be made ready"))):
            await prepare(connection)
        return connection

    backoff = replace(UNTIL_BACK, initial_delay=settings.reconnect_delay, max_delay=settings.reconnect_max_delay)
    return Reconnecting(
        connect, "connect to RabbitMQ", _closed, wait=0.0, backoff=backoff, least_pause=_pause_after_refusal
    )


def _closed() -> ClosedError:
    return ClosedError(0, "closed")


def _pause_after_refusal(error: Exception) -> float:
    return AUTH_PAUSE if isinstance(error, ClosedError) and error.code == ACCESS_REFUSED else 0.0


Prepare = Callable[[Connection], Awaitable[None]]


def first_with_room(loads: Sequence[int], wanted: int, most: int) -> int:
    """The first connection with this many free channels for a queue; one more if there is none."""
    return next((place for place, load in enumerate(loads) if not load or load + wanted <= most), len(loads))


@dataclass(slots=True)
class _Place:
    """A connection for some of the queues."""

    link: Reconnecting[Connection]
    load: int = 0
    """How many channels it keeps for them."""


class Links:
    """``prepare`` makes the first connection ready; ``prepare_more`` any other."""

    def __init__(self, settings: Endpoint, prepare: Prepare, prepare_more: Prepare) -> None:
        self._settings = settings
        self._prepare_more = prepare_more
        self._places = [self._place(prepare)]
        self._place_of: dict[str, tuple[_Place, int]] = {}
        """Where each queue is consumed, and how many channels are kept for it there."""

    @property
    def main(self) -> Reconnecting[Connection]:
        """The one that declares."""
        return self._places[0].link

    async def of(self, queue: str, wait: float = 0.0, *, channels: int = 1, is_exclusive: bool = False) -> Connection:
        """The connection that consumes a queue, now and later; ``channels``: most that the queue keeps there.

        See ``Reconnecting.get``.
        """
        if queue not in self._place_of:
            main = await self.main.get(wait)
            if queue not in self._place_of:
                place = self._places[0] if is_exclusive else self._with_room(main, channels)
                self._place_of[queue] = place, channels
                place.load += channels
        place, _ = self._place_of[queue]
        return await place.link.get(wait)

    def forget(self, queue: str) -> None:
        """A queue is not consumed any more."""
        place, channels = self._place_of.pop(queue, (None, 0))
        if place is not None:
            place.load -= channels

    async def close(self) -> None:
        """End all connections; there are no more."""
        await asyncio.gather(*(place.link.close() for place in self._places))

    def abort(self) -> None:
        """Cut what has not ended."""
        for place in self._places:
            place.link.abort()

    def _with_room(self, main: Connection, channels: int) -> _Place:
        number = first_with_room([place.load for place in self._places], channels, main.for_queues)
        if number == len(self._places):
            self._places.append(self._place(self._after_main))
        return self._places[number]

    def _place(self, prepare: Prepare) -> _Place:
        return _Place(reconnecting(self._settings, prepare))

    async def _after_main(self, connection: Connection) -> None:
        """A broker that was unavailable may have lost what the first connection declares."""
        await self.main.get(self._settings.request_timeout)
        await self._prepare_more(connection)
