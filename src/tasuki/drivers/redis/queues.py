"""Queues: declares, inspects, forgets and deletes them, and keeps the ones that go when they are unused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from dataclasses import replace
from typing import TYPE_CHECKING

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.batches import in_force
from tasuki.drivers.redis.scripts import Place
from tasuki.drivers.redis.session import Session
from tasuki.errors import DriverError

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
