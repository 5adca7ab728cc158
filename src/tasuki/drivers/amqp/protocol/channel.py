"""Channel: calls and their answers, confirms and returns, and deliveries, on one channel of a connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pamqp import commands
from pamqp.base import Frame as Method

from tasuki.drivers.amqp.faults import ClosedError, Fate, LateError
from tasuki.drivers.amqp.limits import LARGEST_BODY
from tasuki.drivers.amqp.protocol import frames
from tasuki.drivers.amqp.protocol.envelope import id_of
from tasuki.drivers.amqp.protocol.frames import Deliver
from tasuki.drivers.amqp.settings import Endpoint


class Sent(NamedTuple):
    """A message that was written: what a return of it would say, and where its fate is noted."""

    key: str
    id: bytes
    batch: Batch
    place: int


class Batch:
    """Messages that were sent together; ``done`` when the broker has answered for all, ClosedError if it cannot."""

    def __init__(self, size: int) -> None:
        self.fates: list[Fate] = ["stored"] * size
        self.left = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(self, index: int, fate: Fate) -> None:
        """One more is decided."""
        if fate != "stored" and self.fates[index] == "stored":
            self.fates[index] = fate
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class Twins:
    """Messages under way with one routing key and id, of which some were returned."""

    sent: dict[int, Sent] = field(default_factory=dict)
    returns: int = 0
    answers: int = 0


class Confirms:
    """The messages of one channel that are not answered for yet."""

    def __init__(self) -> None:
        self._pending: dict[int, Sent] = {}
        self._last = 0
        self._oldest = 1
        self._twins: dict[tuple[str, bytes], Twins] = {}
        """By routing key and id, where one was returned and not all are answered for."""

    def sent(self, batch: Batch, messages: Sequence[tuple[str, bytes]], start: int) -> None:
        """Messages (routing key and id) are written now, in order; ``start``: the first one's place in the batch."""
        for index, (key, id) in enumerate(messages, start):
            self._last += 1
            self._pending[self._last] = Sent(key, id, batch, index)

    def answered(self, tag: int, is_multiple: bool, *, is_stored: bool) -> None:
        """The broker answers for one message, or for all up to it."""
        tags = range(self._oldest, tag + 1) if is_multiple else (tag,)
        for number in tags:
            sent = self._pending.pop(number, None)
            if sent is not None:
                if self._twins:
                    self._confirmed(sent)
                sent.batch.note(sent.place, "stored" if is_stored else "refused")
        if is_multiple:
            self._oldest = max(self._oldest, tag + 1)

    def _confirmed(self, sent: Sent) -> None:
        """One of the messages that may have been returned is answered for."""
        twins = self._twins.get((sent.key, sent.id))
        if twins is not None:
            twins.answers += 1
            if twins.answers == len(twins.sent):
                del self._twins[sent.key, sent.id]

    def returned(self, key: str, properties: bytes) -> None:
        """A message went nowhere; the confirm that follows does not mean that it is stored.

        A return carries no tag. If several messages with its id and key are under way, it is not known which of them it
        was until as many were returned; none of them may be called stored before.
        """
        id = id_of(properties)
        twins = self._twins.setdefault((key, id), Twins())
        twins.sent |= {tag: sent for tag, sent in self._pending.items() if sent.id == id and sent.key == key}
        twins.returns += 1
        for sent in twins.sent.values():
            sent.batch.fates[sent.place] = "unroutable" if twins.returns >= len(twins.sent) else "doubtful"

    def end(self, reason: ClosedError) -> None:
        """Nothing more will be answered."""
        for sent in self._pending.values():
            if not sent.batch.done.done():
                sent.batch.done.set_exception(reason)
                sent.batch.done.exception()  # its waiter may be gone
        self._pending.clear()
        self._twins.clear()


Content = Callable[[Deliver, bytes, bytes], None]
"""A delivery, its properties and its body."""


class Wire(Protocol):
    """What a channel and its users need of a connection; see ``protocol.connection.Connection``."""

    settings: Endpoint
    beginning: asyncio.Semaphore
    frame_max: int

    @property
    def is_alive(self) -> bool: ...  # noqa: D102
    @property
    def is_writable(self) -> bool: ...  # noqa: D102
    def send(self, channel: int, *methods: Method) -> None: ...  # noqa: D102
    def write(self, data: bytes) -> None: ...  # noqa: D102
    async def drain(self) -> None: ...  # noqa: D102
    def unanswered(self) -> None: ...  # noqa: D102
    def forget(self, channel: Channel) -> None: ...  # noqa: D102


class Channel:
    """One channel; ended by the broker's ``channel.close``, by the connection's end, or by ``close``."""

    def __init__(self, connection: Wire, number: int) -> None:
        self.connection = connection
        self.number = number
        self.closed: ClosedError | None = None
        """Why it has ended, or is ending: nothing may be sent on it, or the broker ends the whole connection."""
        self.confirms = Confirms()
        self.on_delivery: Content | None = None
        self.on_cancel: Callable[[str], None] | None = None
        """Called with the tag of a consumer that the broker has cancelled."""
        self.on_end: Callable[[ClosedError], None] | None = None
        self._has_ended = False
        self._answers: deque[asyncio.Future[Any]] = deque()
        self._method = b""
        self._properties = b""
        self._body: list[bytes] = []
        self._missing = 0

    @property
    def is_alive(self) -> bool:
        """Whether it can be used."""
        return self.closed is None

    @property
    def is_quiet(self) -> bool:
        """Whether it can be used, and the broker has answered all that was asked on it."""
        return self.closed is None and not self._answers

    async def ask(self, *methods: Method) -> list[Any]:
        """Send methods, all at once, and wait for their answers. Raises ClosedError, LateError."""
        self._check()
        return await self._within(self.connection.settings.request_timeout, self.connection.unanswered, *methods)

    async def ask_within(self, seconds: float, *methods: Method) -> list[Any]:
        """The same for what the broker may never answer: this channel ends then, and not the connection.

        The broker still carries out the requests that were sent, and then closes the channel.
        """
        self._check()
        return await self._within(seconds, self.give_up, *methods)

    def _check(self) -> None:
        if self.closed is not None:
            raise self.closed

    async def _within(
        self, seconds: float, late: Callable[[], None], *methods: Method, is_close: bool = False
    ) -> list[Any]:
        try:
            async with asyncio.timeout(seconds):
                if not self.connection.is_writable:  # a broker that reads no more, and nothing that ends the connection
                    await self.connection.drain()
                    if self._has_ended or not is_close:
                        self._check()
                return await self._sent(*methods)
        except TimeoutError as error:
            late()
            raise LateError from error

    async def _sent(self, *methods: Method) -> list[Any]:
        loop = asyncio.get_running_loop()
        waiting = [loop.create_future() for _ in methods]
        self._answers.extend(waiting)
        self.connection.send(self.number, *methods)
        try:
            return [await answer for answer in waiting]
        finally:
            for answer in waiting:
                if not answer.done():
                    answer.cancel()
                elif not answer.cancelled():
                    answer.exception()  # seen, also where an earlier one was raised

    def publish(self, data: bytes, batch: Batch, messages: Sequence[tuple[str, bytes]], start: int) -> None:
        """Write frames that publish messages; see ``Confirms.sent``. Raises ClosedError."""
        self._check()
        self.confirms.sent(batch, messages, start)
        self.connection.write(data)

    async def close(self) -> None:
        """End it; its unsettled messages return to their queue."""
        if self.closed is not None:
            return
        self.closed = ClosedError(0, "closed")
        is_over = False
        connection = self.connection
        try:
            await self._within(connection.settings.request_timeout, connection.unanswered, _close(), is_close=True)
            is_over = True
        except (ClosedError, LateError):
            pass
        finally:
            self.end(ClosedError(0, "closed"), is_over=is_over)

    def give_up(self) -> None:
        """Close it, and wait for nothing: its number stays taken until the broker has answered."""
        if self.closed is None:
            self.connection.send(self.number, _close())
            self.end(ClosedError(0, "given up"), is_over=False)

    def end(self, reason: ClosedError, *, is_over: bool = True) -> None:
        """Fail all waiting requests with the reason; ``is_over``: the broker knows that the channel has ended."""
        if self._has_ended:
            return
        self._has_ended = True
        self.closed = reason
        if is_over:
            self.connection.forget(self)
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(reason)
        self._answers.clear()
        self.confirms.end(reason)
        if self.on_end is not None:
            self.on_end(reason)

    def received(self, kind: int, payload: bytes) -> None:
        """A frame has come."""
        if kind == frames.METHOD:
            self._method_came(payload)
        elif kind == frames.HEADER:
            if self._missing or not self._method:
                raise ValueError("a content header where none may come")
            self._missing, self._properties = frames.content_of(payload)
            if self._missing > LARGEST_BODY:
                raise ValueError(f"a body of {self._missing} bytes; {LARGEST_BODY} are the most")
            if not self._missing:
                self._content_came()
        elif kind == frames.BODY:
            if not self._missing:
                raise ValueError("a body where none may come")
            self._body.append(payload)
            self._missing -= len(payload)
            if self._missing < 0:
                raise ValueError("a body that is longer than its header says")
            if not self._missing:
                self._content_came()

    def _method_came(self, payload: bytes) -> None:
        kind = frames.method_of(payload)
        if kind in {frames.DELIVER, frames.RETURN}:
            self._method = payload
        elif kind in {frames.ACK, frames.NACK}:
            self.confirms.answered(*frames.confirmed(payload), is_stored=kind == frames.ACK)
        else:
            self._answered(payload)

    def _answered(self, payload: bytes) -> None:
        method = frames.decode(payload)
        if isinstance(method, commands.Channel.Close):
            self.connection.send(self.number, commands.Channel.CloseOk())
            self.connection.forget(self)
            self.end(ClosedError(method.reply_code or 0, method.reply_text or ""))
        elif isinstance(method, commands.Channel.CloseOk) and self._has_ended:
            self.connection.forget(self)
        elif isinstance(method, commands.Basic.Cancel):
            if self.on_cancel is not None:
                self.on_cancel(str(method.consumer_tag))
        elif self._answers:
            answer = self._answers.popleft()
            if not answer.done():
                answer.set_result(method)

    def _content_came(self) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method, self._method, self._body = self._method, b"", []
        if frames.method_of(method) == frames.RETURN:
            self.confirms.returned(frames.returned_key(method), self._properties)
        elif self.on_delivery is not None:
            self.on_delivery(frames.deliver(method), self._properties, body)


def _close() -> commands.Channel.Close:
    return commands.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0)
