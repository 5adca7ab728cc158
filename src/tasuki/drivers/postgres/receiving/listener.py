"""Listener: a connection that hears of new messages, and gives the driver's signs of life.

Behind a transaction pooler nothing can be heard; then the signs go through the pool, and the queues are polled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.postgres.connecting.connections import Link
from tasuki.drivers.toolkit.pool import NotConnectedError

BEAT = 60.0
"""Seconds between two signs of life, which keep the temporary queues of a process and clear up after dead ones."""
_TIMEOUT = 5.0
"""Seconds in which the server has to begin to notify."""


class Listener:
    """One task. ``beat`` is called with the connection that listens, or None; errors of both mean: connect again.

    ``channels``: which channels to listen to, and what to call with the text of each notification. ``changed`` is
    called when the connection begins to listen, and when it is lost.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Link]],
        channels: Mapping[str, Callable[[str], None]],
        beat: Callable[[Link | None], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._channels = channels
        self._beat = beat
        self._changed = changed
        self._lost = asyncio.Event()
        self.hears = False
        """Whether new messages are heard of."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="listen to PostgreSQL")

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
            except Exception:  # whatever it is: connect again; the verbs report the error
                failures += 1
            finally:
                self._lose()
                if link is not None:
                    link.abort()
            if failures:
                with suppress(Exception):  # a process whose address for listening is wrong is alive all the same
                    await self._beat(None)
            await asyncio.sleep(UNTIL_BACK.delay(failures))

    async def _serve(self, link: Link) -> None:
        if link.is_pooled:
            link.abort()
            await self._beat_only()
        self._lost.clear()
        link.connection.add_termination_listener(lambda _: self._lose())
        async with asyncio.timeout(_TIMEOUT):
            for channel, call in self._channels.items():
                await link.connection.add_listener(channel, _called_with_text(call))
        self.hears = link.is_alive
        self._changed()
        while link.is_alive:
            await self._beat(link)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), BEAT)

    def _lose(self) -> None:
        self._lost.set()
        if self.hears:
            self.hears = False
            self._changed()  # waiting receives must poll from now on

    async def _beat_only(self) -> None:
        while True:
            try:
                await self._beat(None)
            except NotConnectedError:
                pass  # the pool tries again by itself
            await asyncio.sleep(BEAT)


def _called_with_text(call: Callable[[str], None]) -> Callable[..., None]:
    return lambda _connection, _pid, _channel, text: call(text)
