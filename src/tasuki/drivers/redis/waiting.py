"""Waiting for news: who waits in this process, and the connection that hears of what others publish."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tasuki.drivers.redis.scripts import Place

if TYPE_CHECKING:
    from tasuki.drivers.redis.link import Link
    from tasuki.drivers.redis.nodes import Nodes

Waiter = asyncio.Future[None]


class Waiters:
    """The receivers that wait, by channel, in the order of their coming."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, dict[Waiter, None]] = {}

    def join(self, channel: bytes) -> Waiter:
        """Wait from now on; the future is done when there may be something."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(channel, {})[waiter] = None
        return waiter

    def leave(self, channel: bytes, waiter: Waiter) -> None:
        """Wait no longer."""
        waiting = self._waiting.get(channel)
        if waiting is not None:
            waiting.pop(waiter, None)
            if not waiting:
                del self._waiting[channel]

    def wake(self, channel: bytes) -> None:
        """Wake the one that has waited longest; it wakes the next when it leaves with something, or is cancelled."""
        for waiter in self._waiting.get(channel, ()):
            if not waiter.done():
                waiter.set_result(None)
                return

    def wake_all(self, channel: bytes | None = None) -> None:
        """Wake all of a channel, or of all channels: after a close, or when news may have been missed."""
        for waiting in self._waiting.values() if channel is None else [self._waiting.get(channel, {})]:
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)


async def woken(waiter: Waiter, seconds: float) -> None:
    """Wait for news, at most so many seconds."""
    timer = asyncio.get_running_loop().call_later(max(seconds, 0.0), _wake, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def _wake(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Listener:
    """One connection for the news of all queues; ``on_news`` gets the channel, ``on_lost`` is told when it ended."""

    def __init__(self, nodes: Nodes, timeout: float, on_news: Callable[[bytes], None], on_lost: Callable[[], None]):
        self._nodes = nodes
        self._timeout = timeout
        self._on_news = on_news
        self._on_lost = on_lost
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link] | None = None
        self._heard: dict[bytes, asyncio.Future[None]] = {}
        self._is_closed = False

    def hears(self, where: Place) -> bool:
        """Whether no news of the queue can be missed from now on."""
        heard = self._heard.get(where.channel)
        return heard is not None and heard.done() and not heard.cancelled() and heard.exception() is None

    async def listen(self, where: Place) -> None:
        """Subscribe to a queue, and return when the server has. Raises LinkLostError or ReplyError."""
        link = await self._connected(where)
        heard = self._heard.get(where.channel)
        if heard is None:
            heard = self._heard[where.channel] = asyncio.get_running_loop().create_future()
            link.send("SUBSCRIBE", where.channel)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(heard)
        except TimeoutError:
            link.close(LinkLostError(f"no answer within {self._timeout:g} s", is_timeout=True))
            raise LinkLostError("no answer to a subscription", is_sent=False) from None

    def leave(self, where: Place) -> None:
        """Unsubscribe from a queue."""
        if self._heard.pop(where.channel, None) is not None and self._link is not None:
            self._link.send("UNSUBSCRIBE", where.channel)

    def check(self) -> None:
        """Give the connection up if it has not answered since the last check."""
        if self._link is not None:
            self._link.check()

    def close(self) -> None:
        """Hear nothing more."""
        self._is_closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        if self._link is not None:
            self._link.close()

    async def _connected(self, where: Place) -> Link:
        if self._link is not None:
            return self._link
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._connect(where), name="listen to redis")
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if not connecting.cancelled():
                raise
            raise LinkLostError("the connection was closed", is_sent=False) from None

    async def _connect(self, where: Place) -> Link:
        try:
            link = await self._nodes.listener(where.slot)
        finally:
            self._connecting = None
        if self._is_closed:
            link.close()
            raise LinkLostError("the connection was closed", is_sent=False)
        link.on_push, link.on_lost = self._hear, self._lose
        self._link = link
        return link

    def _hear(self, answer: Any) -> None:
        if isinstance(answer, ReplyError):
            self._refuse(answer)
            return
        if not isinstance(answer, list) or len(answer) < 2:
            return
        kind, channel = answer[0], answer[1]
        if kind == b"message":
            self._on_news(channel)
        elif kind == b"subscribe" and (heard := self._heard.get(channel)) is not None and not heard.done():
            heard.set_result(None)

    def _refuse(self, refusal: ReplyError) -> None:
        """Answers carry no channel when they refuse: everybody who waits for one gets it."""
        for channel, heard in list(self._heard.items()):
            if not heard.done():
                heard.set_exception(refusal)
                del self._heard[channel]

    def _lose(self) -> None:
        self._link = None
        heard, self._heard = self._heard, {}
        for future in heard.values():
            if not future.done():
                future.set_exception(LinkLostError("the connection was lost", is_sent=False))
                future.exception()  # whoever waits has it too
        self._on_lost()
