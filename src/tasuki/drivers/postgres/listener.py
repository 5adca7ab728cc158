"""Listener: a connection that hears of new messages, and gives the driver's signs of life.

Behind a transaction pooler nothing can be heard; then the signs go through the pool, and the queues are polled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.postgres.bell import Bell
from tasuki.drivers.postgres.connections import Link
from tasuki.drivers.postgres.pool import NotConnectedError

BEAT = 5.0
"""Seconds between two signs of life; ``is_alive`` in the migrations gives up after four."""


class Listener:
    """One task. ``beat`` is called with the connection that listens, or None; errors of both mean: connect anew."""

    def __init__(
        self, connect: Callable[[], Awaitable[Link]], bell: Bell, beat: Callable[[Link | None], Awaitable[None]]
    ) -> None:
        self._connect = connect
        self._bell = bell
        self._beat = beat
        self._channels: dict[str, str] = {}
        self._listening: dict[str, tuple[str, Callable[..., None]]] = {}
        """On the connection that there is now, or was last."""
        self._heard: set[str] = set()
        self._changed = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="listen to PostgreSQL")

    def hears(self, queue: str) -> bool:
        """Whether new messages of the queue are heard of."""
        return queue in self._heard

    def want(self, queue: str, channel: str) -> None:
        """Hear of new messages of a queue from now on."""
        if self._channels.get(queue) != channel:
            self._channels[queue] = channel
            self._changed.set()

    def drop(self, queue: str) -> None:
        """Hear of a queue no more."""
        if self._channels.pop(queue, None) is not None:
            self._heard.discard(queue)
            self._changed.set()

    async def close(self) -> None:
        """End the task and its connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        failures = 0
        while True:
            link: Link | None = None
            try:
                link = await self._connect()
                failures = 0
                await self._serve(link)
            except Exception:  # whatever it is: connect anew; the verbs tell what is wrong
                failures += 1
            finally:
                self._heard.clear()
                if link is not None:
                    link.terminate()
            self._bell.ring_all()  # those that wait must poll from now on
            if failures:
                await self._beat_otherwise()
            await asyncio.sleep(UNTIL_BACK.delay(failures))

    async def _serve(self, link: Link) -> None:
        if link.is_pooled:
            link.terminate()
            await self._beat_only()
        link.connection.add_termination_listener(self._lost)
        self._listening.clear()
        while link.is_open:
            self._changed.clear()
            async with asyncio.timeout(BEAT):
                await self._follow(link.connection)
            await self._beat(link)
            await self._pause()

    async def _follow(self, connection: Any) -> None:
        """Listen on the channels that are wanted, and on no others."""
        for queue, (channel, callback) in list(self._listening.items()):
            if self._channels.get(queue) != channel:
                await connection.remove_listener(channel, callback)
                del self._listening[queue]
        for queue, channel in list(self._channels.items()):
            if queue not in self._listening:
                callback = self._notified(queue)
                await connection.add_listener(channel, callback)
                self._listening[queue] = channel, callback
                if self._channels.get(queue) == channel:  # it may have been dropped meanwhile
                    self._heard.add(queue)
                    self._bell.ring(queue)  # what came before is not told

    async def _beat_otherwise(self) -> None:
        """Who cannot listen, as the address for that is wrong, is alive all the same."""
        with suppress(Exception):  # the verbs tell what is wrong
            await self._beat(None)

    async def _beat_only(self) -> None:
        while True:
            try:
                await self._beat(None)
            except NotConnectedError:
                pass  # the pool tries again by itself
            await asyncio.sleep(BEAT)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(BEAT):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _notified(self, queue: str) -> Callable[..., None]:
        return lambda *_: self._bell.ring(queue)

    def _lost(self, _: Any) -> None:
        self._heard.clear()
        self._changed.set()
        self._bell.ring_all()
