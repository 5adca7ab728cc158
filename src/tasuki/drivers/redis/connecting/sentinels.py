"""Sentinels: which server is the master by their newest configuration, and news of a failover as soon as it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tasuki.backoff import UNTIL_BACK
from tasuki.drivers.redis.connecting.addresses import Addresses
from tasuki.drivers.redis.connecting.beats import Beats
from tasuki.drivers.redis.connecting.link import Link
from tasuki.drivers.redis.errors import LinkLostError, ReplyError
from tasuki.drivers.redis.settings import Server

STRAGGLERS = 0.5
"""Seconds that the other Sentinels have after the first answer: a frozen one must not delay the rest."""
_SWITCH = b"+switch-master"
Connect = Callable[[Server], Awaitable[Link]]


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
