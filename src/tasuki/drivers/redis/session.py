"""Session: the open driver's way to the server: connections, declared queues, and who is known to consume."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock
from tasuki.contracts.driver import Durability
from tasuki.drivers.redis import keeping, scripts
from tasuki.drivers.redis.connecting.addresses import Addresses
from tasuki.drivers.redis.connecting.connections import Connections
from tasuki.drivers.redis.connecting.probe import Probe
from tasuki.drivers.redis.errors import LinkLostError, ReplyError, translated
from tasuki.drivers.redis.queues import Queues
from tasuki.drivers.redis.receiving.listening import Listener
from tasuki.drivers.redis.receiving.receiving import Receiver
from tasuki.drivers.redis.receiving.waiting import Waiters
from tasuki.drivers.redis.scripts import Place, Script
from tasuki.drivers.redis.settings import RedisSettings
from tasuki.drivers.toolkit.guard import Guard
from tasuki.drivers.toolkit.held import HeldReceipts
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.errors import DriverError, UnsupportedError
from tasuki.system.on_failure import OnFailure
from tasuki.system.tasks import Tasks

if TYPE_CHECKING:
    from tasuki.drivers.redis.connecting.link import Link, Word
    from tasuki.drivers.redis.connecting.nodes import Nodes
    from tasuki.drivers.redis.connecting.sentinels import FailoverWatch

BEAT = 5.0
"""Seconds between two signs of life of a driver that has consumers."""
GOODBYE = 3.0
"""Longest time that a close waits for the server."""


class Session:
    """Open in one process at a time: a forked child makes one of its own, with the queues that are ``known``."""

    def __init__(
        self,
        name: str,
        found: Addresses,
        settings: RedisSettings,
        known: KnownQueues[Place],
        clock: Clock,
    ) -> None:
        from tasuki.drivers.redis.connecting.nodes import Nodes  # needs the client, which may not be installed

        self.name = name
        self.owner = ""
        """Of this session alone: begins its receipts, and stands for its consumers."""
        self.known = known
        self.held: HeldReceipts[Place] = HeldReceipts()
        self.receiver = Receiver(self, clock, settings.claim_interval)
        self.waiters = Waiters(self._pass_on, self.receiver.check)
        self.is_cluster = found.is_cluster
        self._addresses = found
        self._read_timeout = settings.read_timeout
        self._probe = Probe(name)
        self._level: Durability = "process"
        self._new_nodes: Callable[[], Nodes] = partial(
            Nodes,
            found,
            connect_timeout=settings.connect_timeout,
            timeout=settings.read_timeout,
            on_link=self._probe.ask,
        )
        self.queues = Queues(self)
        self._home: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._connections: Connections | None = None
        self._guard: Guard[Connections] = Guard(name)
        self._listener: Listener | None = None
        self._failovers: FailoverWatch | None = None
        self._beating: asyncio.Task[None] | None = None
        self._resigning = Tasks()

    @property
    def is_open(self) -> bool:
        """Whether it is open, and opened by this process."""
        return self._guard.current is not None

    @property
    def is_inherited(self) -> bool:
        """Whether it has a parent process's connections: this one must not write to them, or even close them."""
        return self._connections is not None and not self._guard.is_here

    async def open(self) -> None:
        """Connect, read the servers' configuration, and declare the earlier queues again."""
        loop = asyncio.get_running_loop()
        if self._home is not loop:
            self._home, self._lock = loop, asyncio.Lock()
            self._guard.closed()
        async with self._lock:
            if not self.is_open:
                await self._open(loop)

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        from tasuki.drivers.redis.connecting.sentinels import FailoverWatch  # needs the client too

        connections = Connections(self._new_nodes)
        nodes = connections.home
        self.owner = secrets.token_urlsafe(6)
        self.held = HeldReceipts()
        with OnFailure(connections.close):
            await self._prepare(nodes)
        self._connections = connections
        self._guard.opened(connections)
        self._listener = Listener(nodes, self.owner, self._read_timeout, self.waiters)
        self._failovers = FailoverWatch(self._addresses, nodes.connect_sentinel, connections.leave)
        self._beating = loop.create_task(self._beat(nodes), name=f"consumers of {self.name}")

    async def _prepare(self, nodes: Nodes) -> None:
        with self._translating():
            async for link in nodes.masters():
                self._probe.check(link.server)
        await self.queues.restore(nodes)

    async def close(self) -> None:
        """Unregister this process, and close its connections, but not the inherited ones of a parent process."""
        if self.is_inherited:
            return
        async with self._lock:
            if not self.is_open:
                return
            self._guard.closed()
            if self._beating is not None:
                self._beating.cancel()
            self.waiters.wake_all()
            try:
                with suppress(TimeoutError, DriverError):
                    async with asyncio.timeout(GOODBYE):
                        await self._take_leave()
            finally:
                self._cut_off()

    async def _take_leave(self) -> None:
        await self.receiver.put_back()
        nodes = self.nodes("")
        await self.queues.attach_all(nodes, none=True)
        await nodes.drain()

    def _cut_off(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._failovers is not None:
            self._failovers.close()
        if self._connections is not None:
            self._connections.close()
        self._connections = None

    def durability(self, queue: str | None = None) -> Durability:
        """Of the server that has the queue, or the weakest of all; without a connection the last that was known."""
        if self._connections is None:
            return self._level
        nodes = self._connections.home
        where = self.known.find(queue) if queue else None
        slot = where.slot if where else None
        level = self._probe.level(link.server for link in nodes.serving(slot))
        if level is not None and slot is None:
            self._level = level
        level = level or self._level
        return keeping.level(level, where.spec) if where else level

    def place(self, queue: str) -> Place:
        """Where a declared queue is. Raises BrokerUnavailableError when not open, QueueNotFoundError."""
        self._guard.get(queue)
        return self.known.get(queue)

    def place_of_deliveries(self, queue: str) -> Place:
        """Where open deliveries are settled: also if the queue was undeclared. Raises the same errors."""
        self._guard.get(queue)
        return self.held.get(queue, self.known)

    async def _beat(self, nodes: Nodes) -> None:
        """Give signs of life; more seldom where there are many processes, check the connections and the servers."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await asyncio.sleep(BEAT)
            with suppress(DriverError):
                await self.queues.give_signs(nodes)
            if loop.time() >= due:
                due = loop.time() + 0.9 * self.queues.pace
                await self._check(nodes)

    async def _check(self, nodes: Nodes) -> None:
        """See that wake-ups still come, and ask what the servers promise."""
        for watch in (self._listener, self._failovers):
            if watch is not None:
                watch.check()
        for link in nodes.serving():
            with suppress(LinkLostError, ReplyError):
                await self._probe.ask(link)

    def hears(self, where: Place) -> bool:
        """Whether no wake-up of the queue can be missed from now on."""
        return self._listener is not None and self._listener.hears(where)

    async def listen(self, where: Place) -> None:
        """Have the server wake the receivers of a queue."""
        assert self._listener is not None
        with self._translating(where.name):
            await self._listener.listen(where)

    def hear_no_more(self, where: Place) -> None:
        """End the subscription to a queue, and the receives that wait for it."""
        if self._listener is not None and self._listener.leave(where):
            self._resign(where)
        self.waiters.wake_all(where.name)

    async def resign(self) -> None:
        """Wait no longer for any queue: other processes are woken, not this one."""
        for queue in self._listener.queues if self._listener is not None else ():
            where = self.known.find(queue)
            if where is not None:
                await self.finish(where, scripts.RESIGN, self.owner)

    def _pass_on(self, queue: str) -> None:
        where = self.known.find(queue)
        if where is not None and self.is_open:
            self._resign(where)

    def _resign(self, where: Place) -> None:
        async def resign() -> None:
            with suppress(DriverError):  # then another process finds out by itself
                await self.finish(where, scripts.RESIGN, self.owner)

        self._resigning.start(resign(), f"another one waits for {where.name}")

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

        Not by publishing to a temporary one: it went with its consumer. ``more_keys``: of other queues, in the same
        slot or at the only server.
        """
        keys = (*where.keys, *more_keys)
        try:
            try:
                return await scripts.run(nodes, where.slot, script, keys, arguments)
            except ReplyError as refusal:
                is_consumers = where.spec.temporary and script in {scripts.PUBLISH, scripts.MOVE}
                is_ours = self.known.is_declared(where.name) and script is not scripts.INSPECT
                if refusal.code != "UNDECLARED" or is_consumers or not is_ours:
                    raise
            await self.queues.make(nodes, where)
            return await scripts.run(nodes, where.slot, script, keys, arguments)
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, where.name) from problem

    async def publish(self, queue: str, *words: Word) -> int:
        """How many messages are stored, and are kept as the queue demands. Raises DriverError."""
        where = self.place(queue)
        is_waiting = bool(keeping.demand(where.spec))
        nodes = self.nodes(queue, slow=is_waiting)
        link = None
        if is_waiting:
            with self._translating(queue):
                link = await nodes.link(where.slot)
        answer = await self.run(nodes, where, scripts.PUBLISH, *words)
        if not isinstance(answer, list):
            return int(answer)
        stored, fsync, replicas = answer
        await self._wait(nodes, where, link, fsync, replicas)
        return int(stored)

    async def _wait(self, nodes: Nodes, where: Place, link: Link | None, fsync: int, replicas: int) -> None:
        """Wait on the connection of the script: the server counts the writes of each connection."""
        with self._translating(where.name):
            try:
                now = await nodes.link(where.slot)
                if link is not None and now is not link:
                    raise LinkLostError("the connection was lost after the messages were stored")
                answer = await now.call(*keeping.command(fsync, replicas, self._read_timeout))
            except ReplyError as refusal:
                raise LinkLostError(f"the messages are stored, but {refusal}") from refusal
        keeping.check(answer, fsync, replicas, driver=self.name, queue=where.name)

    async def check_fsync(self, nodes: Nodes, where: Place) -> None:
        """Raise UnsupportedError where the server cannot say when a message is on its disk."""
        with self._translating(where.name):
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

    @contextmanager
    def _translating(self, queue: str = "") -> Iterator[None]:
        try:
            yield
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, queue) from problem

    def _translated(self, problem: Exception, queue: str) -> DriverError:
        return translated(problem, driver=self.name, queue=queue, place=str(self._addresses))
