"""Waiting receives of one process, and the connection that listens for new messages and gives the signs of life.

A wake-up of a queue wakes one receive, and one statement looks into all queues in turn. Behind a transaction pooler
nothing can be heard; then the signs go through the pool, and the queues are polled.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.postgres.connections import Link
from tasuki.drivers.toolkit.reconnecting import NotConnectedError
from tasuki.drivers.toolkit.wait_list import WaitList
from tasuki.errors import DriverError

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


RECHECK = 0.02
"""Seconds after which a queue is looked at again that was not waited for before: a publisher may have missed that."""
SLACK = 0.02
"""Seconds by which a check may come early, so that one statement checks many queues."""


class Line:
    """The receives that wait on one queue, and what the server knows of them."""

    def __init__(self) -> None:
        self.receives: WaitList[bool] = WaitList()
        self.asking = 0
        """Receives that ask the server just now."""
        self.news = 0
        """Wake-ups so far: one that comes while a receive asks is not missed."""
        self.is_noted = False
        """Whether the server has noted that this process waits, and has not woken it since."""
        self.look_at = math.inf
        """When the queue is looked at next, by the loop's clock."""

    def wake(self) -> bool:
        """Wake one receive; whether there is one that waits, or asks."""
        self.news += 1
        return self.receives.wake(True) or self.asking > 0

    def wake_all(self) -> None:
        """Wake all receives."""
        while self.receives:
            self.wake()


class Waiting:
    """For one session. ``look`` asks the server about several queues; ``pass_on`` wakes another process in our place.

    ``check`` returns rows: queue, whether it has a message, seconds until the next check, and whether the wait was
    noted only now.
    """

    def __init__(
        self,
        look: Callable[[list[str]], Awaitable[list[Any]]],
        pass_on: Callable[[str], Coroutine[Any, Any, None]],
        spawn: Callable[[Coroutine[Any, Any, None]], Any],
    ) -> None:
        self._look = look
        self._pass_on = pass_on
        self._spawn = spawn
        self._loop = asyncio.get_running_loop()
        self._lines: dict[str, Line] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._begins_at = math.inf
        """When the timer ends: uvloop's timer of a time that has passed does not know it."""

    def line(self, queue: str) -> Line:
        """The line of a queue."""
        line = self._lines.get(queue)
        if line is None:
            line = self._lines[queue] = Line()
        return line

    def is_quiet(self, queue: str) -> bool:
        """Whether the queue was empty when it was last asked, and this process would have been woken since."""
        line = self.line(queue)
        return line.is_noted and self._loop.time() < line.look_at

    def noted(self, queue: str, look_in: float, is_new: bool) -> None:
        """Take over the server's answer about an empty queue."""
        if (line := self._lines.get(queue)) is not None:
            line.is_noted = True
            line.look_at = self._loop.time() + (min(look_in, RECHECK) if is_new else look_in)
            self._plan(line)

    def wake(self, queue: str) -> None:
        """The server has woken this process, which it does not note any more; if no receive waits, wake another one."""
        line = self._lines.get(queue)
        if line is not None:
            line.is_noted = False
        if line is None or not line.wake():
            self._spawn(self._pass_on(queue))

    def stir(self, queue: str) -> None:
        """Something may have come into the queue, of which others have heard as well."""
        if (line := self._lines.get(queue)) is not None:
            line.is_noted = False
            line.wake()

    def took(self, queue: str, *, is_full: bool) -> None:
        """A receive got messages; ``is_full``: as many as it wanted. The others may have to be noted again."""
        line = self._lines.get(queue)
        if line is None or not line.receives:
            return
        if is_full:
            line.wake()
        if line.receives and not line.is_noted:
            line.look_at = self._loop.time()
            self._plan(line)

    def refresh(self) -> None:
        """How the server reaches this process has changed: look into all queues again, and have it noted."""
        for line in self._lines.values():
            line.is_noted = False
            line.look_at = self._loop.time()
            self._plan(line)

    def wake_all(self) -> None:
        """Wake all receives of all queues, and look no more."""
        if self._timer is not None:
            self._timer.cancel()
        for line in self._lines.values():
            line.wake_all()

    def forget(self, queue: str) -> None:
        """Wake all that wait on the queue, and keep nothing of it."""
        if (line := self._lines.pop(queue, None)) is not None:
            line.wake_all()

    async def wait(self, queue: str, timeout: float) -> bool:
        """Return whether the receive was woken within ``timeout`` seconds; then it must ask."""
        line = self.line(queue)
        waiter = line.receives.add()
        self._plan(line)
        return bool(await line.receives.wait(waiter, timeout, pass_on=lambda _: self.wake(queue)))

    def _plan(self, line: Line) -> None:
        if line.look_at < self._begins_at and line.receives:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._begins_at = self._loop.call_at(line.look_at, self._begin), line.look_at

    def _begin(self) -> None:
        self._timer, self._begins_at = None, math.inf
        soon = self._loop.time() + SLACK
        due = [queue for queue, line in self._lines.items() if line.look_at <= soon and line.receives]
        for queue in due:
            self._lines[queue].look_at = math.inf
        if due:
            self._spawn(self._look_into(due))
        for line in self._lines.values():
            self._plan(line)

    async def _look_into(self, queues: list[str]) -> None:
        try:
            found = await self._look(queues)
        except DriverError:
            for queue in queues:  # each receive asks for itself, and raises the error
                self._wake_all_of(queue)
            return
        for queue, is_ready, look_in, is_new in found:
            self.noted(queue, look_in, is_new)
            if is_ready and (line := self._lines.get(queue)) is not None:
                line.wake()

    def _wake_all_of(self, queue: str) -> None:
        if (line := self._lines.get(queue)) is not None:
            line.is_noted = False
            line.wake_all()
