"""Session: the open driver's way to the server: its connections, and the scripts that run on them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.contracts.driver import Durability, QueueSpec
from tasuki.drivers.redis import durability_wait, scripts
from tasuki.drivers.redis.batches import limits, microseconds
from tasuki.drivers.redis.connecting.addresses import Addresses
from tasuki.drivers.redis.connecting.probe import Probe
from tasuki.drivers.redis.connecting.sentinels import Beats
from tasuki.drivers.redis.errors import LinkLostError, ReplyError, translated
from tasuki.drivers.redis.scripts import Place, Script
from tasuki.drivers.redis.settings import RedisSettings, Server
from tasuki.drivers.toolkit.guard import Guard, HeldReceipts, KnownQueues
from tasuki.drivers.toolkit.stores import require
from tasuki.errors import DriverError, UnsupportedError

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Link, Word
    from tasuki.drivers.redis.connecting.nodes import Nodes


class Connections:
    """Made on the loop that opens the driver; the lease thread and others come with their own loops."""

    def __init__(self, make: Callable[[], Nodes]) -> None:
        self._make = make
        self._home = asyncio.get_running_loop()
        self.home = make()
        """The nodes of the loop that opened the driver."""
        self._by_loop = {(self._home, False): self.home}

    def here(self, *, slow: bool = False) -> Nodes:
        """The connections of the running loop; ``slow`` ones for commands that would hold the others up."""
        key = asyncio.get_running_loop(), slow
        nodes = self._by_loop.get(key)
        if nodes is None:
            for other in [other for other in self._by_loop if other[0].is_closed()]:
                self._by_loop.pop(other, None)
            nodes = self._by_loop[key] = self._make()
        return nodes

    def leave(self, server: Server) -> None:
        """Give up a server in all loops."""
        for (loop, _), nodes in list(self._by_loop.items()):
            self._call(loop, partial(nodes.leave, server))

    def close(self) -> None:
        """Close the connections of all loops."""
        for (loop, _), nodes in list(self._by_loop.items()):
            self._call(loop, nodes.close)

    def _call(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        if loop is self._home:
            action()
        elif not loop.is_closed():
            with suppress(RuntimeError):  # it was closed just now, and its connections with it
                loop.call_soon_threadsafe(action)


LAYOUT = 1
"""Of the keys and scripts of a queue (docs/adr/0065)."""
KEPT = 600.0
"""Seconds for which an unused temporary queue is kept: much longer than a living process says nothing."""


class Session:
    """Open in one process at a time: a forked child makes one of its own, with the queues that are ``known``."""

    def __init__(self, name: str, found: Addresses, settings: RedisSettings, known: KnownQueues[Place]) -> None:
        from tasuki.drivers.redis.connecting.nodes import Nodes  # needs the client, which may not be installed

        self.name = name
        self.owner = ""
        """Of this session alone: begins its receipts, and names it where it waits."""
        self.known = known
        self.held: HeldReceipts[Place] = HeldReceipts()
        self.addresses = found
        self.is_cluster = found.is_cluster
        self.read_timeout = settings.read_timeout
        self._probe = Probe(name)
        self._level: Durability = "process"
        self.has_published = False
        """Whether something was published since the servers' configuration was read."""
        self._beat_channel = b"{%b}:beat" % scripts.tag_of(settings.prefix, "")
        self.new_nodes: Callable[[], Nodes] = partial(
            Nodes,
            found,
            connect_timeout=settings.connect_timeout,
            timeout=settings.read_timeout,
            on_link=self._probe.ask,
        )
        self._connections: Connections | None = None
        self._guard: Guard[Connections] = Guard(name)

    @property
    def is_open(self) -> bool:
        """Whether it is open, and opened by this process."""
        return self._guard.current is not None

    @property
    def is_inherited(self) -> bool:
        """Whether it has a parent process's connections: this one must not write to them, or even close them."""
        return self._connections is not None and not self._guard.is_here

    async def begin(self, nodes: Nodes) -> None:
        """Make sure that the servers can keep queues, under a new name at them."""
        self.owner = secrets.token_urlsafe(6)
        self.held = HeldReceipts()
        with self.translating():
            async for link in nodes.masters():
                self._probe.check(link.server)

    def changing(self) -> asyncio.Lock:
        """The lock of an open, or a close."""
        return self._guard.changing()

    def opened(self, connections: Connections) -> None:
        """The verbs may use these connections."""
        self._connections = connections
        self._guard.opened(connections)

    def closed(self) -> None:
        """The verbs are refused; running work goes on until ``disconnect``."""
        self._guard.closed()

    def disconnect(self) -> None:
        """Close the connections."""
        if self._connections is not None:
            self._connections.close()
        self._connections = None

    async def probe(self, nodes: Nodes) -> None:
        """Ask what the servers promise."""
        self.has_published = False
        for link in nodes.serving():
            with suppress(LinkLostError, ReplyError):
                await self._probe.ask(link)

    def durability(self, queue: str | None = None) -> Durability:
        """Of the server that has the queue, or the weakest of all; without a connection the last that was known."""
        where = self.known.find(queue) if queue else None
        level = self.durability_at(where.slot if where else None)
        return durability_wait.level(level, where.spec) if where and self._connections is not None else level

    def durability_at(self, slot: int | None) -> Durability:
        """The same of the server that has a slot; None: the weakest of all."""
        if self._connections is None:
            return self._level
        level = self._probe.level(self._connections.home.serving(slot))
        if level is not None and slot is None:
            self._level = level
        return level or self._level

    def place(self, queue: str) -> Place:
        """Where a declared queue is. Raises BrokerUnavailableError when not open, QueueNotFoundError."""
        self._guard.get(queue)
        return self.known.get(queue)

    def place_of_deliveries(self, queue: str) -> Place:
        """Where open deliveries are settled: also if the queue was undeclared. Raises the same errors."""
        self._guard.get(queue)
        return self.held.get(queue, self.known)

    async def ask(self, queue: str, script: Script, *arguments: Word) -> Any:
        """A script's answer. Raises DriverError."""
        return await self.finish(self.place(queue), script, *arguments)

    async def finish(self, where: Place, script: Script, *arguments: Word) -> Any:
        """The same, also while a close waits for running work."""
        return await self.run(self.nodes(where.name), where, script, *arguments)

    async def move(self, queue: str, to: str, words: Sequence[Word]) -> Any:
        """What became of each move from one queue to the other. Raises DriverError."""
        source, target = self.place_of_deliveries(queue), self.place(to)
        return await self.run(self.nodes(to), target, scripts.MOVE, *words, more_keys=source.keys)

    async def run_for_each(
        self, nodes: Nodes, script: Script, shared: Sequence[Word], asked: Sequence[tuple[Place, Sequence[Word]]]
    ) -> list[Any]:
        """See ``scripts``; a DriverError in the place of an answer."""
        answers = await scripts.run_for_each(nodes, script, shared, asked, is_cluster=self.is_cluster)
        return [
            self._translated(answer, where.name) if isinstance(answer, (LinkLostError, ReplyError)) else answer
            for (where, _), answer in zip(asked, answers, strict=True)
        ]

    async def run(
        self, nodes: Nodes, where: Place, script: Script, *arguments: Word, more_keys: Sequence[bytes] = ()
    ) -> Any:
        """A script's answer. A declared queue that is gone at the server (flushed, lost with its disk) is made again.

        Not by publishing to a temporary one: it went with its process. ``more_keys``: of other queues, in the same
        slot or at the only server.
        """
        keys = (*where.keys, *more_keys)
        try:
            try:
                return await scripts.run(nodes, where.slot, script, keys, arguments)
            except ReplyError as refusal:
                is_storing = script in {scripts.PUBLISH, scripts.PUBLISH_UNIQUE, scripts.MOVE, scripts.TRANSFER}
                is_consumers = where.spec.temporary and is_storing
                is_ours = self.known.is_declared(where.name) and script is not scripts.INSPECT
                if refusal.code != "UNDECLARED" or is_consumers or not is_ours:
                    raise
            await self.make(nodes, where)
            return await scripts.run(nodes, where.slot, script, keys, arguments)
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, where.name) from problem

    async def make(self, nodes: Nodes, where: Place) -> None:
        """Make a queue exist at the server with its options."""
        spec = where.spec
        most = "" if spec.max_length is None else spec.max_length
        window = "" if spec.dedup_window is None else microseconds(spec.dedup_window)
        span = int(self.kept_for(spec) * 1000) or ""
        temporary, wait = 1 if spec.temporary else "", durability_wait.demand(spec)
        options = (microseconds(spec.lease), most, spec.ordering, window, span, temporary, wait)
        if durability_wait.wants_fsync(spec):
            await self._check_fsync(nodes, where)
        found, is_converting = await self.run(nodes, where, scripts.DECLARE, *options, LAYOUT, limits(spec))
        self.check_layout(found, spec.name)
        while is_converting:  # by this process, or by another one
            is_converting = await self.run(nodes, where, scripts.CONVERT)

    def kept_for(self, spec: QueueSpec) -> float:
        """Seconds for which the server keeps the queue without use; 0: forever."""
        return KEPT if spec.temporary else float(spec.options.get("expires") or 0.0)

    def check_layout(self, found: bytes, queue: str) -> None:
        """Raise DriverError for a queue of another layout."""
        place = f"queue {queue!r} at Redis"
        require(int(found) if found else None, LAYOUT, place=place, instead="prefix", driver=self.name)

    async def publish(self, queue: str, script: Script, *words: Word, more_keys: Sequence[bytes] = ()) -> Any:
        """The answer of a script that stores, once its messages are kept as the queue demands. Raises DriverError.

        ``more_keys``: see ``run``.
        """
        self.has_published = True
        where = self.place(queue)
        nodes = self.nodes(queue, slow=where.waits)
        link = None
        if where.waits:
            with self.translating(queue):
                link = await nodes.link(where.slot)
        answer = await self.run(nodes, where, script, *words, more_keys=more_keys)
        if not isinstance(answer, list):
            return answer
        told, *demand = answer
        if demand:
            await self._wait(nodes, where, link, *demand)
        return told

    async def _wait(self, nodes: Nodes, where: Place, link: Link | None, fsync: int, replicas: int) -> None:
        """Wait on the connection of the script: the server counts the writes of each connection."""
        with self.translating(where.name):
            try:
                now = await nodes.link(where.slot)
                if link is not None and now is not link:
                    raise LinkLostError("the connection was lost after the messages were stored")
                answer = await now.call(*durability_wait.command(fsync, replicas, self.read_timeout))
            except ReplyError as refusal:
                raise LinkLostError(f"the messages are stored, but {refusal}") from refusal
        durability_wait.check(answer, fsync, replicas, driver=self.name, queue=where.name)

    async def _check_fsync(self, nodes: Nodes, where: Place) -> None:
        """Raise UnsupportedError where the server cannot say when a message is on its disk."""
        with self.translating(where.name):
            try:
                await nodes.call(where.slot, "WAITAOF", 1, 0, 1)
            except ReplyError as refusal:
                problem = f"queue {where.name!r}: wait_fsync needs Redis 7.2 or newer with appendonly yes ({refusal})"
                raise UnsupportedError(problem, driver=self.name, queue=where.name) from refusal

    def nodes(self, queue: str, *, slow: bool = False) -> Nodes:
        """The connections of the running loop; also while a close waits for running work."""
        if self._connections is None or self.is_inherited:
            raise self._guard.refusal(queue)
        return self._connections.here(slow=slow)

    def beats(self) -> Beats:
        """For the connections of the running loop that only hear."""
        channel = self._beat_channel
        return Beats(channel, lambda: self.nodes("").call(0, "PUBLISH", channel, ""))

    @contextmanager
    def translating(self, queue: str = "") -> Iterator[None]:
        """Raise a DriverError for each error of the servers."""
        try:
            yield
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, queue) from problem

    def _translated(self, problem: Exception, queue: str) -> DriverError:
        return translated(problem, driver=self.name, queue=queue, place=str(self.addresses))
