"""Opening: connects and ends a session; declares, inspects and deletes its queues, and renews temporary ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.batches import in_force
from tasuki.drivers.redis.connecting.sentinels import FailoverWatch
from tasuki.drivers.redis.listening import Listener
from tasuki.drivers.redis.receiving import Receiver
from tasuki.drivers.redis.scripts import Place
from tasuki.drivers.redis.session import Connections, Session
from tasuki.errors import DriverError
from tasuki.system.tasks import OnFailure

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.nodes import Nodes


SIGNS = 4
"""Signs that a living process gives in the time for which an unused queue is kept."""


class Queues:
    """Of one session; ``on_forgotten`` gets queues that are known no more."""

    def __init__(self, session: Session, on_forgotten: Callable[[Place], None]) -> None:
        self._session = session
        self._on_forgotten = on_forgotten
        self._due: dict[str, float] = {}
        """When the next sign for a queue is due."""

    async def declare(self, where: Place) -> None:
        """Note the queue, and make it exist if open."""
        session = self._session
        session.known.declare(where.name, where)
        if session.is_open:
            await session.make(session.nodes(where.name), where)

    async def restore(self, nodes: Nodes) -> None:
        """Declare the earlier queues again."""
        for where in self._session.known.declared():
            await self._session.make(nodes, where)

    async def inspect(self, where: Place) -> QueueSpec:
        """Know a queue as it is at the server. Raises QueueNotFoundError."""
        session = self._session
        *options, layout = await session.finish(where, scripts.INSPECT)
        session.check_layout(layout, where.name)
        found = in_force(where.spec, options)
        session.known.inspect(where.name, replace(where, spec=found))
        return found

    def undeclare(self, queue: str) -> None:
        """Forget a queue; its open deliveries can still be settled and extended."""
        self._due.pop(queue, None)
        forgotten = self._session.known.forget(queue)
        if forgotten is not None:
            self._on_forgotten(forgotten)

    async def delete(self, queue: str) -> None:
        """Remove the queue's keys, and forget it."""
        session = self._session
        where = session.place(queue)
        with session.known.forgetting(queue):
            await session.finish(where, scripts.DELETE)
        self._due.pop(queue, None)
        session.held.forget_queue(queue)
        self._on_forgotten(where)

    async def keep(self, nodes: Nodes, used: Container[str]) -> None:
        """Have the servers keep temporary queues of this process, and the ``used`` ones; they go when they are unused.

        Only if it is time; a server that does not answer gets the next call's sign.
        """
        session, now = self._session, asyncio.get_running_loop().time()
        due = [
            where
            for where in session.known.all()
            if self._is_kept(where, used) and now >= self._due.get(where.name, 0.0)
        ]
        answers = await session.run_for_each(nodes, scripts.KEEP, (scripts.KEPT_KEYS,), [(where, ()) for where in due])
        for where, answer in zip(due, answers, strict=True):
            if not isinstance(answer, DriverError):
                self._due[where.name] = now + session.kept_for(where.spec) / SIGNS

    def _is_kept(self, where: Place, used: Container[str]) -> bool:
        if where.spec.temporary:
            return self._session.known.is_kept(where.name)
        return where.name in used and self._session.kept_for(where.spec) > 0


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
