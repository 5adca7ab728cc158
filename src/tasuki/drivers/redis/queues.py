"""Queues: declares, inspects, forgets and deletes them, and says how many consumers of this process each has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import keeping, scripts
from tasuki.drivers.redis.batches import in_force, microseconds
from tasuki.drivers.redis.scripts import Place
from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki.errors import DriverError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.nodes import Nodes
    from tasuki.drivers.redis.session import Session

BELIEVED = 15.0
"""Seconds for which the consumers of a process are counted without a sign of life; longer where there are many."""
LAYOUT = Layout(3, 1)
"""Of the keys and scripts of a queue (ADR 16): 2 has waiting processes and conversions in steps, 3 last errors."""
SIGNS = 3
"""Signs of life that a process gives in that time."""
KEPT = 600.0
"""Seconds for which an unused temporary queue is kept: much longer than a living process says nothing."""


class Queues:
    """Of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._signs: dict[str, tuple[float, float]] = {}
        """Of each queue with consumers the seconds between two signs of life, and when the next one is due."""

    async def declare(self, where: Place) -> None:
        """Note the queue, and make it exist if open."""
        session = self._session
        session.known.declare(where.name, where)
        if session.is_open:
            await self.make(session.nodes(where.name), where)

    async def make(self, nodes: Nodes, where: Place) -> None:
        """Make a queue exist at the server with its options."""
        spec = where.spec
        most = "" if spec.max_length is None else spec.max_length
        window = "" if spec.dedup_window is None else microseconds(spec.dedup_window)
        kept = KEPT if spec.temporary else spec.options.get("expires")
        span = int(kept * 1000) if kept else ""
        temporary, wait = 1 if spec.temporary else "", keeping.demand(spec)
        options = (microseconds(spec.lease), most, spec.ordering, window, span, temporary, wait)
        session = self._session
        if keeping.wants_fsync(spec):
            await session.check_fsync(nodes, where)
        *found, is_converting = await session.run(nodes, where, scripts.DECLARE, *options, *LAYOUT)
        self._check(Layout(*found), spec.name)
        while is_converting:  # by this process, or by another one
            is_converting = await session.run(nodes, where, scripts.CONVERT)

    async def restore(self, nodes: Nodes) -> None:
        """Declare the earlier queues again, and register their consumers."""
        for where in self._session.known.declared():
            await self.make(nodes, where)
        await self.attach_all(nodes)

    async def inspect(self, where: Place) -> QueueSpec:
        """Know a queue as it is at the server. Raises QueueNotFoundError."""
        session = self._session
        *options, version, min_version = await session.finish(where, scripts.INSPECT)
        self._check(Layout(int(version), int(min_version)), where.name)
        found = in_force(where.spec, options)
        session.known.inspect(where.name, replace(where, spec=found))
        return found

    def _check(self, found: Layout, queue: str) -> None:
        is_outdated(found, LAYOUT, place=f"queue {queue!r} at Redis", driver=self._session.name)

    def undeclare(self, queue: str) -> None:
        """Forget a queue; its open deliveries can still be settled and extended."""
        self._signs.pop(queue, None)
        forgotten = self._session.known.forget(queue)
        if forgotten is not None:
            self._session.hear_no_more(forgotten.value)

    async def delete(self, queue: str) -> None:
        """Remove the queue's keys, and forget it."""
        session = self._session
        where = session.place(queue)
        with session.known.forgetting(queue):
            await session.finish(where, scripts.DELETE)
        self._signs.pop(queue, None)
        session.held.forget_queue(queue)
        session.hear_no_more(where)

    async def attach(self, queue: str, consumers: int) -> None:
        """Note how many consumers there are here."""
        session = self._session
        session.known.attach(queue, consumers)  # also while it is closed: the next open says it
        where = session.place(queue)
        await self._attach(session.nodes(queue), {where.name: consumers})

    @property
    def pace(self) -> float:
        """Seconds between two signs of life of this process, for the queue with the most processes."""
        return max((pace for pace, _ in self._signs.values()), default=0.0)

    async def attach_all(self, nodes: Nodes, *, none: bool = False) -> None:
        """Say it of all queues, or that there are none any more."""
        counts = self._session.known.consumers
        await self._attach(nodes, dict.fromkeys(counts, 0) if none else {**counts})

    async def give_signs(self, nodes: Nodes) -> None:
        """Say it again of each queue for which it is time."""
        now = asyncio.get_running_loop().time()
        counts = self._session.known.consumers
        await self._attach(
            nodes, {queue: count for queue, count in counts.items() if now >= self._signs.get(queue, (0.0, now))[1]}
        )

    async def _attach(self, nodes: Nodes, counts: Mapping[str, int]) -> None:
        session = self._session
        places = [where for queue in counts if (where := session.known.find(queue)) is not None]
        shared = (session.owner, microseconds(BELIEVED))
        asked = [(where, (counts[where.name],)) for where in places]
        now = asyncio.get_running_loop().time()
        answers = await session.run_for_each(nodes, scripts.ATTACH, shared, asked)
        problem: DriverError | None = None
        for where, believed in zip(places, answers, strict=True):
            if isinstance(believed, DriverError):
                problem = believed
                continue
            pace = believed / 1_000_000 / SIGNS
            # A little less: the session looks in steps, and a step late would be a step lost.
            self._signs[where.name] = pace, now + 0.9 * pace
        if problem is not None:
            raise problem
