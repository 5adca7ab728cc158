"""Listener: the connections that bring wake-ups, one to each server that has a queue with a waiting receiver."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.redis.connecting.sentinels import Beats
from tasuki.drivers.redis.errors import LinkLostError, ReplyError, closed_error
from tasuki.drivers.redis.scripts import Place
from tasuki.drivers.redis.settings import Server
from tasuki.drivers.toolkit.reconnecting import Attempts
from tasuki.drivers.toolkit.wait_list import Waiter, WaitList
from tasuki.system.tasks import Tasks

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Link
    from tasuki.drivers.redis.connecting.nodes import Nodes


SLACK = 0.5
"""Seconds by which a check may come early, so that many queues are checked at once; one that is due sooner may not.

Else a check that came before the due time would be repeated with every other one until then.
"""

_EARLY = 0.25
"""Of a longer pause, by which it may come early: with the next turn all come together."""
_EXACT = 0.001
"""Seconds by which a timer may be early."""


class News(Enum):
    """What a wake-up says."""

    MINE = auto()
    """This process was woken: unless it acts, another one must be."""
    ALL = auto()
    """All processes were woken, or there is more than another receiver of this process took."""


@dataclass(slots=True)
class _Line:
    """Of one queue."""

    waiters: WaitList[News] = field(default_factory=WaitList)
    receivers: set[Waiter[News]] = field(default_factory=set)
    """Those that wait, and those that were woken and ask now."""
    is_registered: bool = False
    wakes: int = 0
    """Wake-ups so far: a registration that was asked for before the last one may be used up."""
    check_at: float = inf
    """When the queue is checked next, by the loop's clock."""
    slack: float = SLACK
    """Seconds by which that may come early."""

    def wake(self, news: News) -> bool:
        """Wake the receiver that has waited longest; False if none waits."""
        self.wakes += 1
        self.is_registered = False
        return self.waiters.wake(news)


class Waiters:
    """The receivers that wait, by queue.

    The server knows a process, not its receivers: while the process is registered there, none of them has to ask. One
    wake-up wakes one receiver, which registers the process again. ``on_unheard`` gets the queue of a wake-up for which
    no receiver waits here: another process has to be woken. ``check`` gets the queues that have to be checked, and
    calls ``checked`` for each.
    """

    def __init__(self, on_unheard: Callable[[str], None], check: Callable[[list[str]], None]) -> None:
        self._on_unheard = on_unheard
        self._check = check
        self._lines: dict[str, _Line] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ends_at = inf

    def __len__(self) -> int:
        """How many queues are waited for."""
        return len(self._lines)

    def join(self, queue: str) -> Waiter[News]:
        """Wait from now on, until ``leave``."""
        line = self._lines.setdefault(queue, _Line())
        waiter = line.waiters.add()
        line.receivers.add(waiter)
        return waiter

    def leave(self, queue: str, waiter: Waiter[News]) -> News | None:
        """Wait no longer. Returns the wake-up that the waiter got."""
        line = self._lines.get(queue)
        if line is None:
            return None
        line.receivers.discard(waiter)
        if not line.receivers and line.check_at == inf:
            del self._lines[queue]
        return line.waiters.leave(waiter)

    def count(self, queue: str) -> int:
        """How many have joined and not left."""
        line = self._lines.get(queue)
        return len(line.receivers) if line is not None else 0

    def wakes(self, queue: str) -> int:
        """Wake-ups so far; for ``registered``."""
        line = self._lines.get(queue)
        return line.wakes if line is not None else 0

    def registered(self, queue: str, wakes: int, seconds: float) -> None:
        """The server knows that this process waits, unless it was woken since ``wakes``; check then by itself."""
        line = self._lines.setdefault(queue, _Line())
        line.is_registered = line.wakes == wakes
        self._plan(line, seconds)

    def checked(self, queue: str, seconds: float | None) -> None:
        """Check the queue again after so many seconds; None: a receiver has to ask."""
        line = self._lines.get(queue)
        if line is None or not line.is_registered:
            return  # it was woken meanwhile
        if seconds is None:
            self.wake(queue)
        elif line.check_at == inf:
            self._plan(line, seconds)

    def is_registered(self, queue: str) -> bool:
        """Whether the server wakes this process when there is a message for it."""
        line = self._lines.get(queue)
        return line is not None and line.is_registered

    def wake(self, queue: str) -> None:
        """Act on a wake-up for this process: wake one receiver, or let another process be woken."""
        line = self._lines.get(queue)
        if line is None or not line.wake(News.MINE):
            self._forget(queue)
            self._on_unheard(queue)

    def wake_one(self, queue: str) -> None:
        """Wake one receiver, if there is one: the wake-up is for all processes, or there is more than another took."""
        line = self._lines.get(queue)
        if line is not None:
            line.wake(News.ALL)

    def wake_all(self, queue: str | None = None) -> None:
        """Wake all receivers of a queue, or of all queues: after a close, or when wake-ups may have been missed."""
        for name in list(self._lines) if queue is None else [queue]:
            line = self._lines.get(name)
            while line is not None and line.wake(News.ALL):
                pass
            self._forget(name)

    def _plan(self, line: _Line, seconds: float) -> None:
        line.check_at = asyncio.get_running_loop().time() + seconds
        line.slack = max(SLACK, _EARLY * seconds) if seconds > SLACK else _EXACT
        self._begin_timer(line.check_at)

    def _begin_timer(self, ends_at: float) -> None:
        if ends_at < self._timer_ends_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(ends_at, self._check_due)
            self._timer_ends_at = ends_at

    def _check_due(self) -> None:
        """Have all queues checked for which it is time: with one call where the process is registered and waits."""
        self._timer, self._timer_ends_at = None, inf
        now = asyncio.get_running_loop().time()
        due = [queue for queue, line in self._lines.items() if line.check_at - line.slack <= now]
        quiet = []
        for queue in due:
            line = self._lines[queue]
            line.check_at = inf
            if line.is_registered and line.waiters:
                quiet.append(queue)
            else:
                self.wake(queue)
        if quiet:
            self._check(sorted(quiet))
        self._begin_timer(min((line.check_at for line in self._lines.values()), default=inf))

    def _forget(self, queue: str) -> None:
        line = self._lines.get(queue)
        if line is not None:
            line.check_at = inf
            if not line.receivers:
                del self._lines[queue]


@dataclass(slots=True)
class _Subscription:
    """Subscriptions to the queue's channel and this process's channel there; ``is_made`` ends when both stand."""

    where: Place
    channels: tuple[bytes, bytes]
    link: Link
    is_made: asyncio.Future[None]
    made_at: float = inf
    """When they stood, by the loop's clock."""

    @property
    def stands(self) -> bool:
        """Whether no wake-up can be missed."""
        return self.is_made.done() and not self.is_made.cancelled() and self.is_made.exception() is None


class Listener:
    """Of one driver; ``owner`` is its name at the server."""

    def __init__(self, nodes: Nodes, owner: str, timeout: float, waiters: Waiters, beats: Beats) -> None:
        self._nodes = nodes
        self._beats = beats
        self._owner = owner.encode()
        self._timeout = timeout
        self._waiters = waiters
        self._links: dict[Server, Link] = {}
        self._attempts: defaultdict[Server, Attempts[Link]] = defaultdict(
            partial(Attempts, "listen to Redis", closed_error)
        )
        self._subscriptions: dict[str, _Subscription] = {}
        self._by_channel: dict[bytes, _Subscription] = {}
        self._kept: dict[str, asyncio.Task[None] | None] = {}
        """The queues of which it hears until it leaves them; a task where that must be made possible again."""
        self._tasks = Tasks()
        self._loop = asyncio.get_running_loop()
        self._is_closed = False

    @property
    def queues(self) -> list[str]:
        """The queues of which it hears."""
        return list(self._subscriptions)

    def hears(self, where: Place) -> bool:
        """Whether no wake-up of the queue can be missed from now on; from another node of a cluster would not do."""
        found = self._subscriptions.get(where.name)
        return found is not None and found.stands and found.link is self._links.get(self._nodes.server(where.slot))

    def heard_for(self, where: Place) -> float | None:
        """Seconds for which it has heard of a queue; None: it does not."""
        if not self.hears(where):
            return None
        return asyncio.get_running_loop().time() - self._subscriptions[where.name].made_at

    async def listen(self, where: Place) -> None:
        """Subscribe to a queue, and return when the server has. Raises LinkLostError or ReplyError."""
        link = await self._connected(where)
        found = self._subscriptions.get(where.name)
        if found is not None and found.link is not link:
            self._end(found)
            found = None
        if found is None:
            channels = (where.channel, b"%b:%b" % (where.channel, self._owner))
            found = _Subscription(where, channels, link, asyncio.get_running_loop().create_future())
            self._subscriptions[where.name] = found
            self._by_channel.update(dict.fromkeys(channels, found))
            link.send("SUBSCRIBE", *channels)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(found.is_made)
        except TimeoutError:
            link.close(LinkLostError(f"no answer within {self._timeout:g} s", is_timeout=True))
            raise LinkLostError("no answer to a subscription", is_sent=False) from None
        self._kept.setdefault(where.name, None)

    def keep(self, where: Place, server: Server) -> None:
        """See that it hears of a queue at the server that has it now, if it has heard; from any thread.

        Other processes take the messages of one that does not hear and is silent, and its next receive may come hours
        later. An old master of a cluster leaves connections open.
        """
        found = self._subscriptions.get(where.name)
        if where.name in self._kept and (found is None or found.link is not self._links.get(server)):
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._hear_again, where)

    def _hear_again(self, where: Place) -> None:
        task = self._kept.get(where.name)
        if where.name in self._kept and (task is None or task.done()) and not self._is_closed:
            self._kept[where.name] = self._tasks.start(self._listen_again(where), name="hear again")

    async def _listen_again(self, where: Place) -> None:
        for failures in itertools.count(1):
            try:
                await self._nodes.call(where.slot, "EXISTS", where.keys[0])  # by which it learns what server has it now
                await self.listen(where)
            except (LinkLostError, ReplyError):
                await asyncio.sleep(UNTIL_BACK.delay(failures))
            else:
                return

    def leave(self, where: Place) -> bool:
        """Unsubscribe from a queue; whether it was subscribed to."""
        task = self._kept.pop(where.name, None)
        if task is not None:
            task.cancel()
        found = self._subscriptions.get(where.name)
        if found is None:
            return False
        self._end(found)
        return True

    def _end(self, found: _Subscription) -> None:
        self._drop(found)
        if not found.is_made.done():
            found.is_made.set_result(None)  # its answer finds no subscription; the receiver sees that the queue is gone
        found.link.send("UNSUBSCRIBE", *found.channels)

    def close(self) -> None:
        """Hear nothing more."""
        self._is_closed = True
        self._tasks.cancel()
        for attempts in self._attempts.values():
            attempts.abort()
        for link in list(self._links.values()):
            link.close()

    async def _connected(self, where: Place) -> Link:
        await self._nodes.link(where.slot)  # so that the server of the slot is known
        server = self._nodes.server(where.slot)
        if server in self._links:
            return self._links[server]
        return await self._attempts[server].share(lambda: self._connect(server, where))

    async def _connect(self, server: Server, where: Place) -> Link:
        link = await self._nodes.listener(where.slot)
        if self._is_closed:
            link.close()
        if link.is_lost:
            raise LinkLostError("the connection was closed", is_sent=False)
        link.on_push, link.on_lost = partial(self._hear, link), partial(self._lose, server, link)
        self._links[server] = link
        self._beats.keep(link)
        return link

    def _hear(self, link: Link, answer: Any) -> None:
        if isinstance(answer, ReplyError):
            self._refuse(link, answer)
            return
        if not isinstance(answer, list) or len(answer) < 3:
            return
        kind, channel, content = answer[:3]
        found = self._by_channel.get(channel)
        if found is None or found.link is not link:
            return
        if kind == b"subscribe" and channel == found.channels[-1] and not found.is_made.done():
            found.made_at = asyncio.get_running_loop().time()
            found.is_made.set_result(None)
        elif kind == b"message" and not content:  # else the server only wanted to know whether the process is there
            wake = self._waiters.wake_one if channel == found.channels[0] else self._waiters.wake
            wake(found.where.name)

    def _refuse(self, link: Link, refusal: ReplyError) -> None:
        """Answers carry no channel when they refuse: each subscription that waits for one gets it."""
        for found in list(self._subscriptions.values()):
            if found.link is link and not found.is_made.done():
                found.is_made.set_exception(refusal)
                self._drop(found)

    def _lose(self, server: Server, link: Link) -> None:
        if self._links.get(server) is link:
            del self._links[server]
        for found in [each for each in self._subscriptions.values() if each.link is link]:
            self._drop(found)
            if not found.is_made.done():
                found.is_made.set_exception(LinkLostError("the connection was lost", is_sent=False))
                found.is_made.exception()  # each receiver that waits has it too
            self._hear_again(found.where)
        self._waiters.wake_all()

    def _drop(self, found: _Subscription) -> None:
        del self._subscriptions[found.where.name]
        for channel in found.channels:
            self._by_channel.pop(channel, None)
