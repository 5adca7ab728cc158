"""Connection: one AMQP connection on one event loop: handshake, heartbeats, channels, and when the broker blocks it.

Of its own rather than a client library's, for what the driver promises: a confirm and a return are told apart by their
delivery tag, not by the id of the message; a blocked connection is known; frame size, number of channels and AMQPLAIN
can be set; and a message costs no task and no lock.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from heapq import heappop, heappush
from math import inf
from typing import Any, cast

from pamqp import commands, heartbeat
from pamqp import frame as pamqp_frame
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.endpoint import Endpoint
from tasuki.drivers.amqp.faults import ClosedError, refused
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.protocol.channel_pool import ChannelPool

_BORROWED = 32
"""Most channels that are lent at the same time: a burst of questions must not use up the channels that consume."""
_BEGINNING = 16
"""Queues that begin to be consumed at the same time: of thousands each would wait for all, and past its deadline."""
_WRITE_HIGH = 4 * 2**20
_CLOSE_TIMEOUT = 2.0
_CAPABILITIES = {
    "publisher_confirms": True,
    "basic.nack": True,
    "connection.blocked": True,
    "consumer_cancel_notify": True,
    "authentication_failure_close": True,
}


class Connection(asyncio.Protocol):
    """Made by ``connect``; ``lost`` is done when it has ended, with the reason as its result."""

    def __init__(self, settings: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.frame_max = 131072
        self.channel_max = 2047
        self.blocked: str | None = None
        """The broker's reason why it takes no messages for now."""
        self.unblocked = asyncio.Event()
        self.unblocked.set()
        self.lost: asyncio.Future[ClosedError] = loop.create_future()
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._channels: dict[int, Channel] = {}
        self._highest = 0
        """The highest number that a channel has had."""
        self._free: list[int] = []
        """Lower ones that are free, as a heap."""
        self._divide()
        self._checking = asyncio.Lock()
        self._methods: asyncio.Queue[Method] = asyncio.Queue()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._reason: ClosedError | None = None
        self._heard_at = self._sent_at = loop.time()
        self._frame_began = self._heard_at
        """When the first byte came of the frame that is not whole yet."""
        self._beat: asyncio.TimerHandle | None = None
        self._beat_at = self._heard_at
        """When this process last looked whether it must send a heartbeat."""
        self._was_late = False
        """Whether it stood still for longer than a heartbeat before that; what the broker did meanwhile is read now."""

    @property
    def is_alive(self) -> bool:
        """Whether it can be used."""
        return not self.lost.done()

    @property
    def is_writable(self) -> bool:
        """Whether the broker reads as fast as we write."""
        return self._writable.is_set()

    @property
    def is_doubtful(self) -> bool:
        """Whether nothing was heard for longer than a heartbeat: the broker sends two in that time.

        So it is with a process that was stopped. The broker may have ended the connection, and that be unread here.
        """
        every = self.settings.heartbeat
        return every > 0 and self._loop.time() - self._heard_at > every

    @property
    def was_kept(self) -> bool:
        """Whether this process has done its part to keep the connection, so that its loss was not its own fault.

        It has not if it stood still for longer than a heartbeat: stopped, or locked up by a handler in C code.
        """
        return not (self._was_late or self._stands_still)

    @property
    def _stands_still(self) -> bool:
        return self._loop.time() - self._beat_at > (self.settings.heartbeat or inf)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Protocol."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        """See Protocol."""
        self._heard_at = self._loop.time()
        if not self._buffer:
            self._frame_began = self._heard_at
        self._buffer += data
        try:
            for kind, number, payload in frames.split(self._buffer, self.frame_max):
                self._frame_began = self._heard_at
                if kind == frames.HEARTBEAT:
                    continue
                if number == 0:
                    self._control(payload)
                elif (channel := self._channels.get(number)) is not None:
                    channel.received(kind, payload)
        except (
            Exception
        ) as error:  # damaged bytes, which the codec may trip over anywhere: nothing after them can be read
            self.end(ClosedError(502, f"the broker sent what cannot be read: {error!r}"))

    def pause_writing(self) -> None:
        """See Protocol."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """See Protocol."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See Protocol."""
        self._gone.set()
        self.end(ClosedError(0, f"connection lost: {exc}" if exc else "the broker closed the connection"))

    # Opening and ending.

    async def handshake(self) -> None:
        """Log in and open the vhost. Raises ClosedError."""
        settings = self.settings
        self.write(b"AMQP\x00\x00\x09\x01")
        start = await self._expect(commands.Connection.Start)
        offered = str(start.mechanisms).split()
        if settings.mechanism not in offered:
            raise ClosedError(403, f"the broker offers no {settings.mechanism}, only {', '.join(offered)}")
        self.write(frames.frame(frames.METHOD, 0, _start_ok(settings)))
        tune = await self._expect(commands.Connection.Tune)
        self.frame_max = _least(tune.frame_max, settings.frame_size) or 131072
        self.channel_max = _least(tune.channel_max, settings.channel_max) or 65535
        self._divide()
        self.send(0, commands.Connection.TuneOk(self.channel_max, self.frame_max, settings.heartbeat))
        self.send(0, commands.Connection.Open(virtual_host=settings.vhost))
        await self._expect(commands.Connection.OpenOk)
        self._beat_at = self._loop.time()
        self._beat = self._loop.call_later(self._pause, self._keep_alive)

    async def close(self) -> None:
        """Say goodbye, and end; waits for the broker's answer for a moment."""
        if self.is_alive:
            self.send(0, commands.Connection.Close(reply_code=200, reply_text="closed", class_id=0, method_id=0))
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await asyncio.shield(self.lost)
            except TimeoutError:
                pass
        self.end(ClosedError(0, "closed"))
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._gone.wait()
        except TimeoutError:
            pass

    def abort(self) -> None:
        """End it now, and say nothing."""
        self.end(ClosedError(0, "closed"))

    def end(self, reason: ClosedError) -> None:
        """End it now: every call on its channels fails with the reason."""
        if self.lost.done():
            return
        self.lost.set_result(self._reason or reason)
        if self._beat is not None:
            self._beat.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._writable.set()
        self.unblocked.set()
        for channel in list(self._channels.values()):
            channel.end(self.lost.result())
        self._channels.clear()

    def unanswered(self) -> None:
        """End it because a call had no answer within its deadline: nothing tells that the next one would have one.

        Not while the broker has blocked it: then it answers when it has room again.
        """
        if self.blocked is None:
            self.end(ClosedError(0, f"the broker did not answer within {self.settings.request_timeout:g} s"))

    def _divide(self) -> None:
        """What the channels are for; those that consume may use up no others."""
        borrowed = max(min(_BORROWED, self.channel_max // 4), 1)
        beginning = max(min(_BEGINNING, self.channel_max // 8), 1)
        self.beginning = asyncio.Semaphore(beginning)
        """To be held while the consumers of a queue begin."""
        self.counting = ChannelPool(self.open_channel, beginning)
        """For the consumers that are only counted; they stay there."""
        self.questions = ChannelPool(self.open_channel, borrowed)
        self.for_queues = max(self.channel_max - borrowed - 2 * beginning, 1)
        """How many are left for queues; one of a queue may begin while the one before it ends."""

    def borrow(self) -> AbstractAsyncContextManager[Channel]:
        """A channel for some questions; see ``ChannelPool.borrow``."""
        return self.questions.borrow()

    async def open_channel(self) -> Channel:
        """A new channel. Raises ClosedError."""
        if not self.is_alive:
            raise self.lost.result()
        number = heappop(self._free) if self._free else self._highest + 1
        if number > self.channel_max:
            raise ClosedError(
                504, f"all {self.channel_max} channels are in use; raise channel_max, here and at the broker"
            )
        self._highest = max(self._highest, number)
        channel = self._channels[number] = Channel(self, number)
        is_open = False
        try:
            await channel.ask(commands.Channel.Open())
            if channel.closed is not None:  # right after its answer: nobody was there yet to be told
                raise channel.closed
            is_open = True
        finally:
            if not is_open:
                channel.give_up()
        return channel

    async def check(self) -> None:
        """Ask the broker for an answer, where the connection is in doubt: once for all who ask. Raises ClosedError."""
        if self.is_doubtful:
            async with self._checking:
                if self.is_doubtful:
                    channel = await self.open_channel()
                    await channel.close()

    def forget(self, channel: Channel) -> None:
        """Its number is free."""
        if self._channels.pop(channel.number, None) is not None:
            heappush(self._free, channel.number)

    # Writing.

    def write(self, data: bytes) -> None:
        """Send bytes of whole frames."""
        if self._transport is not None and not self.lost.done():
            self._sent_at = self._loop.time()
            self._transport.write(data)

    def send(self, channel: int, *methods: Method) -> None:
        """Send methods, in one piece."""
        self.write(b"".join(pamqp_frame.marshal(method, channel) for method in methods))

    async def drain(self) -> None:
        """Wait while the broker reads slower than we write. Raises ClosedError."""
        await self._writable.wait()
        if not self.is_alive:
            raise self.lost.result()

    # Channel 0.

    def _control(self, payload: bytes) -> None:
        method: Any = decode(payload)
        if isinstance(method, commands.Connection.Close):
            self.send(0, commands.Connection.CloseOk())
            self._reason = ClosedError(method.reply_code or 0, method.reply_text or "")
            self._loop.call_soon(self.end, self._reason)
        elif isinstance(method, commands.Connection.CloseOk):
            self.end(ClosedError(0, "closed"))
        elif isinstance(method, commands.Connection.Blocked):
            self.blocked = method.reason or "no reason given"
            self.unblocked.clear()
        elif isinstance(method, commands.Connection.Unblocked):
            self.blocked = None
            self.unblocked.set()
        else:
            self._methods.put_nowait(method)

    async def _expect(self, kind: type[Method]) -> Any:
        asked = asyncio.ensure_future(self._methods.get())
        try:
            await asyncio.wait((asked, self.lost), return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise self.lost.result()
            method = asked.result()
        finally:
            asked.cancel()
        if not isinstance(method, kind):
            raise ClosedError(503, f"{kind.__name__} expected, {type(method).__name__} came")
        return method

    @property
    def _pause(self) -> float:
        return (self.settings.heartbeat or self.settings.request_timeout) / 2

    def _keep_alive(self) -> None:
        """Send a heartbeat if nothing else was sent, and end a connection that is silent or stuck in a frame."""
        every, now = self.settings.heartbeat, self._loop.time()
        if every and now - self._heard_at > 2 * every + 1:
            self.end(ClosedError(0, f"the broker was silent for {now - self._heard_at:.0f} s"))
            return
        # A damaged length swallows all that comes, heartbeats too, as parts of one frame.
        if self._buffer and now - self._frame_began > self.settings.request_timeout:
            self.end(
                ClosedError(502, f"the broker sent what cannot be read: a frame took {now - self._frame_began:.0f} s")
            )
            return
        if every and now - self._sent_at > every / 3:
            self.write(frames.HEARTBEAT_FRAME)
        self._was_late, self._beat_at = self._stands_still, now
        self._beat = self._loop.call_later(self._pause, self._keep_alive)


async def connect(settings: Endpoint, host: str, port: int) -> Connection:
    """A connection that is ready for use, within the connection timeout. Raises ClosedError."""
    loop = asyncio.get_running_loop()
    connection: Connection | None = None
    is_open = False
    try:
        async with asyncio.timeout(settings.connection_timeout):
            context = settings.context()
            _, connection = await loop.create_connection(
                lambda: Connection(settings),
                host,
                port,
                ssl=context,
                server_hostname=settings.server_name(host) if context else None,
            )
            await connection.handshake()
        is_open = True
        return connection
    except TimeoutError as error:
        raise ClosedError(0, f"no answer within {settings.connection_timeout:g} s") from error
    except OSError as error:
        raise refused(error) from error
    finally:
        if not is_open and connection is not None:
            connection.end(ClosedError(0, "the handshake failed"))


def decode(payload: bytes) -> Method:
    """A method out of its payload."""
    method = pamqp_frame.unmarshal(frames.frame(frames.METHOD, 0, payload))[2]
    assert not isinstance(method, heartbeat.Heartbeat)
    return method  # type: ignore[return-value]


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
    from tasuki.drivers.amqp.protocol.tables import encode_field

    return encode_field(b"LOGIN", settings.user) + encode_field(b"PASSWORD", settings.password)


def _least(theirs: int, ours: int) -> int:
    """The smaller of two limits, of which 0 means none."""
    return min(limit for limit in (theirs, ours) if limit) if theirs or ours else 0
