"""ChannelPool: channels that are lent, each to one user at a time, and kept for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tasuki.drivers.amqp.protocol.channel import Channel


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
