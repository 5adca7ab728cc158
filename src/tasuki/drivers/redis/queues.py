"""Queues: declares, inspects, forgets and deletes them, and says how many consumers of this process each has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.redis import keeping, scripts
from tasuki.drivers.redis.batches import in_force, microseconds
from tasuki.drivers.redis.places import Places
from tasuki.drivers.redis.scripts import Place, Script
from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki.errors import DriverError
from tasuki.system.on_failure import OnFailure

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Word
    from tasuki.drivers.redis.connecting.nodes import Nodes

BELIEVED = 15.0
"""Seconds for which the consumers of a process are counted without a sign of life; longer where there are many."""
LAYOUT = Layout(3, 1)
"""Of the keys and scripts of a queue (ADR 16): 2 has waiting processes and conversions in steps, 3 last errors."""
SIGNS = 3
"""Signs of life that a process gives in that time."""
KEPT = 600.0
"""Seconds for which an unused temporary queue is kept: much longer than a living process says nothing."""


class Asking(Protocol):
    """What the queues use of their session; see :class:`tasuki.drivers.redis.session.Session`."""

    name: str
    owner: str
    places: Places

    @property
    def is_open(self) -> bool: ...  # noqa: D102
    def check_open(self, queue: str) -> None: ...  # noqa: D102
    def place(self, queue: str) -> Place: ...  # noqa: D102
    def nodes(self, queue: str) -> Nodes: ...  # noqa: D102
    async def run(self, nodes: Nodes, where: Place, script: Script, *arguments: Word) -> Any: ...  # noqa: D102
    async def run_for_each(  # noqa: D102
        self, nodes: Nodes, script: Script, shared: Sequence[Word], asked: Sequence[tuple[Place, Sequence[Word]]]
    ) -> list[Any]: ...
    async def check_fsync(self, nodes: Nodes, where: Place) -> None: ...  # noqa: D102
    def hear_no_more(self, where: Place) -> None: ...  # noqa: D102


class Queues:
    """Of one session."""

    def __init__(self, session: Asking) -> None:
        self._session = session
        self._consumers: dict[str, int] = {}
        self._paces: dict[str, float] = {}
        self._due: dict[str, float] = {}

    async def declare(self, spec: QueueSpec) -> None:
        """Note the queue, and make it exist if open."""
        session = self._session
        where = session.places.declare(spec)
        if session.is_open:
            await self.make(session.nodes(spec.name), where)

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
        for where in self._session.places.declared():
            await self.make(nodes, where)
        await self.attach_all(nodes)

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Know a queue as it is at the server. Raises QueueNotFoundError."""
        session = self._session
        session.check_open(spec.name)
        where = session.places.inspected(spec)
        *options, version, min_version = await session.run(session.nodes(spec.name), where, scripts.INSPECT)
        self._check(Layout(int(version), int(min_version)), spec.name)
        found = in_force(spec, options)
        session.places.know(replace(where, spec=found))
        return found

    def _check(self, found: Layout, queue: str) -> None:
        is_outdated(found, LAYOUT, place=f"queue {queue!r} at Redis", driver=self._session.name)

    def undeclare(self, queue: str, *, is_held: bool) -> None:
        """Forget a queue; its open deliveries can still be settled and extended."""
        where = self._session.places.forget(queue, is_held=is_held)
        self._forget(queue)
        if where is not None:
            self._session.hear_no_more(where)

    async def delete(self, queue: str) -> None:
        """Remove the queue's keys, and forget it."""
        session = self._session
        where = session.place(queue)
        session.places.forget(queue, is_held=False)  # first, so that no other call here makes it again
        with OnFailure(lambda: session.places.know(where)):
            await session.run(session.nodes(queue), where, scripts.DELETE)
        self._forget(queue)
        session.hear_no_more(where)

    def _forget(self, queue: str) -> None:
        for known in (self._consumers, self._paces, self._due):
            known.pop(queue, None)

    async def attach(self, queue: str, consumers: int) -> None:
        """Note how many consumers there are here."""
        session = self._session
        if session.is_open:
            session.place(queue)
        self._consumers[queue] = consumers  # also while it is closed: the next open says it
        await self._attach(session.nodes(queue), {queue: consumers})

    @property
    def pace(self) -> float:
        """Seconds between two signs of life of this process, for the queue with the most processes."""
        return max(self._paces.values(), default=0.0)

    async def attach_all(self, nodes: Nodes, *, none: bool = False) -> None:
        """Say it of all queues, or that there are none any more."""
        ours = {queue: 0 if none else consumers for queue, consumers in self._consumers.items() if consumers}
        await self._attach(nodes, ours)

    async def give_signs(self, nodes: Nodes) -> None:
        """Say it again of each queue for which it is time."""
        now = asyncio.get_running_loop().time()
        due = {queue: consumers for queue, consumers in self._consumers.items() if now >= self._due.get(queue, now)}
        await self._attach(nodes, {queue: consumers for queue, consumers in due.items() if consumers})

    async def _attach(self, nodes: Nodes, counts: Mapping[str, int]) -> None:
        session = self._session
        places = [where for queue in counts if (where := session.places.find(queue)) is not None]
        shared = (session.owner, microseconds(BELIEVED))
        asked = [(where, (counts[where.name],)) for where in places]
        now = asyncio.get_running_loop().time()
        answers = await session.run_for_each(nodes, scripts.ATTACH, shared, asked)
        problem: DriverError | None = None
        for where, believed in zip(places, answers, strict=True):
            if isinstance(believed, DriverError):
                problem = believed
                continue
            pace = self._paces[where.name] = believed / 1_000_000 / SIGNS
            # A little less: the session looks in steps, and a step late would be a step lost.
            self._due[where.name] = now + 0.9 * pace
        if problem is not None:
            raise problem
