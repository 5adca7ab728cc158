"""Opening: connects an open driver, keeps its queues, checks its connections, and unregisters."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from tasuki.drivers.redis.queues import Queues
from tasuki.drivers.redis.receiving.listening import Listener
from tasuki.drivers.redis.receiving.receiving import Receiver
from tasuki.drivers.redis.session import Connections, Session
from tasuki.errors import DriverError
from tasuki.system.tasks import OnFailure

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.nodes import Nodes
    from tasuki.drivers.redis.connecting.sentinels import FailoverWatch

BEAT = 5.0
"""Seconds between two signs of life of the queues to keep, and two questions for the servers' configuration."""
SELDOM = 120
"""How many times as long between two questions of a process that publishes nothing: new connections ask anyway."""
GOODBYE = 3.0
"""Longest time that a close waits for the server."""


class Opening:
    """Opens and closes a session, with its queues and receives."""

    _failovers: FailoverWatch
    _beating: asyncio.Task[None]

    def __init__(self, session: Session, queues: Queues, receiver: Receiver) -> None:
        self._session = session
        self._queues = queues
        self._receiver = receiver
        self._home: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Connect, read the servers' configuration, and declare the earlier queues again."""
        loop, session = asyncio.get_running_loop(), self._session
        if self._home is not loop:
            self._home = loop
            session.closed()
        async with session.changing():
            if not session.is_open:
                await self._open(loop)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        from tasuki.drivers.redis.connecting.sentinels import FailoverWatch  # needs the client, which may be missing

        session = self._session
        connections = Connections(session.new_nodes)
        nodes = connections.home
        with OnFailure(connections.close):
            await session.begin(nodes)
            await self._queues.restore(nodes)
        timeout, waiters = session.read_timeout, self._receiver.waiters
        self._receiver.listener = Listener(nodes, session.owner, timeout, waiters, session.beats())
        self._failovers = FailoverWatch(session.addresses, nodes.connect_sentinel, connections.leave)
        self._beating = loop.create_task(self._beat(nodes), name=f"keep {session.name}")
        session.opened(connections)

    async def close(self) -> None:
        """Unregister this process, and close its connections, but not the inherited ones of a parent process."""
        session = self._session
        if session.is_inherited:
            return
        async with session.changing():
            if not session.is_open:
                return
            session.closed()
            self._beating.cancel()
            self._receiver.waiters.wake_all()
            try:
                with suppress(TimeoutError, DriverError):
                    async with asyncio.timeout(GOODBYE):
                        await self._take_leave(session.nodes(""))
            finally:
                self._receiver.listener.close()
                self._failovers.close()
                session.disconnect()

    async def _take_leave(self, nodes: Nodes) -> None:
        await self._receiver.put_back()
        await nodes.drain()

    async def _beat(self, nodes: Nodes) -> None:
        """Keep the queues that would go unused, and look what the servers promise."""
        for number in count(1):
            await asyncio.sleep(BEAT)
            with suppress(DriverError):
                await self._queues.keep(nodes, self._receiver.used)
            if self._session.has_published or number % SELDOM == 0:
                await self._session.probe(nodes)
