"""Connection: one AMQP connection on one event loop: heartbeats, channels, and when the broker blocks it.

No client library's, because of what the driver promises: it matches confirms and returns by their delivery tag, not by
the id of the message; a blocked connection is known; frame size, number of channels and AMQPLAIN can be set; and a
message costs no task and no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from heapq import heappop, heappush
from math import inf
from typing import Any, cast

from pamqp import commands
from pamqp import frame as pamqp_frame
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.faults import NOT_FOUND, ClosedError
from tasuki.drivers.amqp.limits import FRAME_MAX
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.channel import Channel
from tasuki.drivers.amqp.settings import Endpoint
from tasuki.system.tasks import OnFailure


def passively(queue: str) -> commands.Queue.Declare:
    """Ask for the counts of a queue."""
    return commands.Queue.Declare(queue=queue, passive=True)


async def up_to_missing(connection: Connection, declarations: Iterable[Method]) -> list[Any]:
    """The answers to passive declarations, made one after the other, before the first that is refused.

    Raises ClosedError or LateError.
    """
    answers: list[Any] = []
    try:
        async with connection.borrow() as channel:
            for declaration in declarations:
                answers += await channel.ask(declaration)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
    return answers


async def are_there(connection: Connection, *declarations: Method) -> bool:
    """Whether none of some passive declarations is refused. Raises ClosedError or LateError."""
    try:
        async with connection.borrow() as channel:
            await channel.ask(*declarations)
    except ClosedError as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True


IN_TIME = 0.2
_MOST_TRIES = 5


async def ready_counts(channel: Channel, queues: Sequence[str]) -> list[int]:
    """The number of ready messages of each queue. Raises ClosedError or LateError.

    RabbitMQ gives the leader of a quorum queue 250 ms to answer, and reports 0 if that takes longer
    (``rabbit_quorum_queue:stat/1``), as on a busy machine. So a late 0 is asked for again.
    """
    numbers, is_in_time = await _ask(channel, queues)
    if is_in_time:
        return numbers
    return [number or await _ready(channel, queue) for queue, number in zip(queues, numbers, strict=True)]


async def _ready(channel: Channel, queue: str) -> int:
    for _ in range(_MOST_TRIES):
        (number,), is_in_time = await _ask(channel, [queue])
        if is_in_time or number:
            break
    return number


async def _ask(channel: Channel, queues: Sequence[str]) -> tuple[list[int], bool]:
    """The numbers, and whether each 0 is one that a leader has answered."""
    loop = asyncio.get_running_loop()
    asked_at = loop.time()
    found = await channel.ask(*map(passively, queues))
    return [int(answer.message_count) for answer in found], loop.time() - asked_at < IN_TIME


class ChannelPool:
    """At most ``most`` channels of one connection, opened when they are wanted."""

    def __init__(self, open_channel: Callable[[], Awaitable[Channel]], most: int) -> None:
        self._open_channel = open_channel
        self._lent = asyncio.Semaphore(most)
        self._idle: list[Channel] = []

    @asynccontextmanager
    async def borrow(self) -> AsyncIterator[Channel]:
        """A channel; waits until one is free. Raises ClosedError.

        Return it before you borrow another one. A refusal or a missing answer ends the channel; else the next
        borrower gets it.
        """
        async with self._lent:
            channel = self._take() or await self._open_channel()
            is_done = False
            try:
                yield channel
                is_done = True
            finally:
                if channel.is_alive and (is_done or channel.is_quiet):
                    self._idle.append(channel)
                else:
                    channel.give_up()

    def _take(self) -> Channel | None:
        while self._idle:
            channel = self._idle.pop()
            if channel.is_alive:
                return channel
        return None


_BORROWED = 32
"""Most channels that are lent at the same time: a burst of questions must not use up the channels that consume."""
_BEGINNING = 16
"""Queues that begin to be consumed at the same time: of thousands each would wait for all, and past its deadline."""
_WRITE_HIGH = 4 * 2**20
_CLOSE_TIMEOUT = 2.0
_UNEXPECTED = 8
"""Most methods on channel 0 that nothing has asked for yet."""


class Connection(asyncio.Protocol):
    """Made by ``handshake.connect``; ``lost`` is done when it has ended, with the reason as its result."""

    def __init__(self, settings: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        self.settings = settings
        self.frame_max = FRAME_MAX
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
        self._methods: asyncio.Queue[Method] = asyncio.Queue(_UNEXPECTED)
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
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
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
            self.end(ClosedError(502, f"the broker sent unreadable data: {error!r}"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self.end(ClosedError(0, f"connection lost: {exc}" if exc else "the broker closed the connection"))

    # Opening and ending.

    def agree(self, frame_max: int, channel_max: int) -> None:
        """Keep to these limits from now on."""
        self.frame_max, self.channel_max = frame_max, channel_max
        self._divide()

    def keep_alive(self) -> None:
        """Send heartbeats, and expect the broker's."""
        self._beat_at = self._loop.time()
        self._beat = self._loop.call_later(self._pause, self._keep_alive)

    async def close(self) -> None:
        """Say goodbye, and end; waits for the broker's answer for a moment."""
        if self.is_alive:
            self.send(0, commands.Connection.Close(reply_code=200, reply_text="closed", class_id=0, method_id=0))
            await asyncio.wait((self.lost,), timeout=_CLOSE_TIMEOUT)
        self.end(ClosedError(0, "closed"))
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._gone.wait()

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
        self.questions = ChannelPool(self.open_channel, borrowed)
        self.for_queues = max(self.channel_max - borrowed - beginning, 1)
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
        with OnFailure(channel.give_up):
            await channel.ask(commands.Channel.Open())
            if channel.closed is not None:  # right after its answer, before its first user
                raise channel.closed
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
        method: Any = frames.decode(payload)
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

    async def expect(self, kind: type[Method]) -> Any:
        """The next method on channel 0. Raises ClosedError if it is of another kind, or the connection ends."""
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
            self.end(ClosedError(502, f"the broker sent unreadable data: a frame took {now - self._frame_began:.0f} s"))
            return
        if every and now - self._sent_at > every / 3:
            self.write(frames.HEARTBEAT_FRAME)
        self._was_late, self._beat_at = self._stands_still, now
        self._beat = self._loop.call_later(self._pause, self._keep_alive)
