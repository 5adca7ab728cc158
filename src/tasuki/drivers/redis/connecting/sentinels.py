"""Sentinels: the master by their newest configuration, news of a failover, and beats on listening connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.redis.connecting.addresses import Addresses
from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tasuki.drivers.redis.settings import Server
from tasuki.errors import DriverError
from tasuki.system.tasks import Tasks

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Link


BEAT = 5.0
"""Seconds without a word after which a connection is asked, and again until it is given up."""

_SPREAD, _RARELY = 0.25, 8
"""A process publishes earlier, by this share at most, and rarely by much: so the first of many is far ahead of them."""


class Beats:
    """Checks the listening connections of one event loop.

    A dead connection of that kind looks like a quiet one. So a process that has heard nothing for a while publishes a
    beat, and all processes of the prefix hear it, each on all its connections: one request for all of them. A
    connection on which nothing comes all the same is asked itself, and closed if it does not answer.


    Args:
        channel: of the beats.
        publish: publishes one; None: there are no beats, and each connection is asked.
    """

    def __init__(self, channel: bytes = b"", publish: Callable[[], Awaitable[object]] | None = None) -> None:
        self._channel = channel
        self._publish = publish
        self._tasks = Tasks()

    def keep(self, link: Link) -> None:
        """Give the connection up once it is dead. Call it before it subscribes to anything."""
        if self._publish is None:
            self._look(_Kept(link, hears_beats=False))
            return

        def subscribed(answer: asyncio.Future[object]) -> None:
            """Without the right to it, the connection is asked itself."""
            self._look(_Kept(link, hears_beats=not answer.cancelled() and answer.exception() is None))

        link.call("SUBSCRIBE", self._channel).add_done_callback(subscribed)

    def _look(self, kept: _Kept) -> None:
        link, loop = kept.link, asyncio.get_running_loop()
        if link.is_lost:
            return
        now = loop.time()
        if kept.asked_at is not None and link.heard_at < kept.asked_at and now >= kept.asked_at + BEAT:
            link.close(LinkLostError("no answer", is_timeout=True))
            return
        if link.heard_at != kept.heard_at:
            kept.renew()
        if kept.asked_at is None and now >= link.heard_at + BEAT:
            kept.asked_at = now
            link.send("PING")
        elif kept.asked_at is None and now >= kept.beat_at:
            kept.beat_at = link.heard_at + BEAT
            self._tasks.start(self._beat(), name="beat")
        loop.call_at(kept.beat_at if kept.asked_at is None else kept.asked_at + BEAT, self._look, kept)

    async def _beat(self) -> None:
        if self._publish is not None:
            with suppress(LinkLostError, ReplyError, DriverError):  # then each connection is asked
                await self._publish()


class _Kept:
    """One connection."""

    def __init__(self, link: Link, *, hears_beats: bool) -> None:
        self.link = link
        self._hears_beats = hears_beats
        self.renew()

    def renew(self) -> None:
        """It said something."""
        self.heard_at = self.link.heard_at
        self.asked_at: float | None = None
        """When it was asked since then."""
        early = _SPREAD * random.random() ** _RARELY if self._hears_beats else 0.0  # noqa: S311
        self.beat_at = self.heard_at + BEAT * (1.0 - early)
        """When something is done if it says nothing until then."""


STRAGGLERS = 0.5
"""Seconds that the other Sentinels have after the first answer: a frozen one must not delay the rest."""
_SWITCH = b"+switch-master"
Connect: TypeAlias = "Callable[[Server], Awaitable[Link]]"


async def master_of(settings: Addresses, connect: Connect) -> Server:
    """The master, by the Sentinel with the newest configuration: one that was cut off knows an old one.

    Raises LinkLostError or ReplyError.
    """
    loop = asyncio.get_running_loop()
    waiting = {loop.create_task(_asked(settings, connect, server)) for server in settings.servers}
    newest: tuple[int, Server] | None = None
    problem: Exception = LinkLostError("no Sentinel is configured", is_sent=False)
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=None if newest is None else STRAGGLERS, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in done:
                try:
                    answer = task.result()
                except (LinkLostError, ReplyError) as failed:
                    problem = failed
                    continue
                if newest is None or answer[0] > newest[0]:
                    newest = answer
    finally:
        for task in waiting:
            task.cancel()
    if newest is None:
        raise problem
    return newest[1]


async def _asked(settings: Addresses, connect: Connect, sentinel: Server) -> tuple[int, Server]:
    """The epoch of this Sentinel's configuration, and the master in it."""
    link = await connect(sentinel)
    found: Any
    fields: Any
    try:
        address = link.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", settings.master)
        details = link.call("SENTINEL", "MASTER", settings.master)
        found, fields = await asyncio.gather(address, details, return_exceptions=True)
    finally:
        link.close()
    if isinstance(found, BaseException):
        raise found
    if not found:
        raise LinkLostError(f"Sentinel {sentinel} knows no master {settings.master!r}", is_sent=False)
    return _epoch(fields), Server(found[0].decode(), int(found[1]))


def _epoch(fields: Any) -> int:
    """Of an answer of names and values by turns; 0 where the Sentinel refuses it."""
    if not isinstance(fields, list):
        return 0
    return int(dict(zip(fields[::2], fields[1::2], strict=False)).get(b"config-epoch", 0))


class FailoverWatch:
    """Listens to every Sentinel; ``on_switch`` gets the server that is no longer the master."""

    def __init__(self, settings: Addresses, connect: Connect, on_switch: Callable[[Server], None]) -> None:
        self._master = settings.master.encode()
        self._connect = connect
        self._on_switch = on_switch
        self._beats = Beats()
        loop = asyncio.get_running_loop()
        sentinels: Sequence[Server] = settings.servers if settings.master else ()
        self._tasks = [loop.create_task(self._listen(server), name=f"listen to {server}") for server in sentinels]

    def close(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()

    async def _listen(self, sentinel: Server) -> None:
        failures = 0
        while True:
            try:
                link = await self._connect(sentinel)
            except (LinkLostError, ReplyError):
                failures += 1
            else:
                failures = 0
                lost = asyncio.Event()
                link.on_push, link.on_lost = self._hear, lost.set
                link.send("SUBSCRIBE", _SWITCH)
                self._beats.keep(link)
                try:
                    await lost.wait()
                finally:
                    link.close()
            await asyncio.sleep(UNTIL_BACK.delay(failures + 1))

    def _hear(self, news: Any) -> None:
        """``message +switch-master "name old-ip old-port new-ip new-port"``."""
        if not isinstance(news, list) or news[:2] != [b"message", _SWITCH]:
            return
        master, ip, port, *_ = news[2].split(b" ")
        if master == self._master:
            self._on_switch(Server(ip.decode(), int(port)))
