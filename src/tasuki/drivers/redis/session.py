"""Session: the open driver's way to the server: connections, declared queues, and who is known to consume."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tasuki.contracts.driver import Durability
from tasuki.drivers.redis import keeping, scripts
from tasuki.drivers.redis.connecting.addresses import Addresses
from tasuki.drivers.redis.connecting.connections import Connections
from tasuki.drivers.redis.connecting.probe import Probe
from tasuki.drivers.redis.errors import LinkLostError, ReplyError, translated
from tasuki.drivers.redis.places import Places
from tasuki.drivers.redis.queues import Queues
from tasuki.drivers.redis.receiving.listening import Listener
from tasuki.drivers.redis.receiving.waiting import Waiters
from tasuki.drivers.redis.scripts import Place, Script
from tasuki.drivers.toolkit.guard import Guard
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
    """One at a time is open; ``say_goodbye`` runs before the connections are closed, and may be cut short.

    ``check``: see :class:`Waiters`.
    """

    def __init__(
        self,
        name: str,
        settings: Addresses,
        *,
        places: Places,
        connect_timeout: float,
        read_timeout: float,
        say_goodbye: Callable[[], Awaitable[None]],
        check: Callable[[list[str]], None],
    ) -> None:
        from tasuki.drivers.redis.connecting.nodes import Nodes  # needs the client, which may not be installed

        self.name = name
        self.owner = ""
        """Of this session alone: begins its receipts, and stands for its consumers."""
        self.waiters = Waiters(self._pass_on, check)
        self.is_cluster = settings.is_cluster
        self._settings = settings
        self._read_timeout = read_timeout
        self._say_goodbye = say_goodbye
        self._probe = Probe(name)
        self._level: Durability = "process"
        self._new_nodes: Callable[[], Nodes] = partial(
            Nodes, settings, connect_timeout=connect_timeout, timeout=read_timeout, on_link=self._probe.ask
        )
        self.places = places
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
        connections = Connections(self._new_nodes)
        nodes = connections.home
        self.owner = secrets.token_urlsafe(6)
        with OnFailure(connections.close):
            await self._prepare(nodes)
        self._connections = connections
        self._guard.opened(connections)
        self._listener = Listener(nodes, self.owner, self._read_timeout, self.waiters)
        self._failovers = self._watch(connections)
        self._beating = loop.create_task(self._beat(nodes), name=f"consumers of {self.name}")

    def _watch(self, connections: Connections) -> FailoverWatch:
        from tasuki.drivers.redis.connecting.sentinels import FailoverWatch  # needs the client too

        return FailoverWatch(self._settings, connections.home.connect_sentinel, connections.leave)

    async def _prepare(self, nodes: Nodes) -> None:
        try:
            async for link in nodes.masters():
                self._probe.check(link.server)
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, "") from problem
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
        await self._say_goodbye()
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
        where = self.places.find(queue) if queue else None
        slot = where.slot if where else None
        level = self._probe.level(link.server for link in nodes.serving(slot))
        if level is not None and slot is None:
            self._level = level
        level = level or self._level
        return keeping.level(level, where.spec) if where else level

    def place(self, queue: str) -> Place:
        """Where a declared queue is. Raises BrokerUnavailableError when not open, QueueNotFoundError."""
        self._guard.get(queue)
        return self.places.get(queue)

    def place_of_deliveries(self, queue: str) -> Place:
        """Where open deliveries are settled: also if the queue was undeclared. Raises the same errors."""
        self._guard.get(queue)
        return self.places.open_deliveries(queue)

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
        try:
            await self._listener.listen(where)
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, where.name) from problem

    def hear_no_more(self, where: Place) -> None:
        """End the subscription to a queue, and the receives that wait for it."""
        if self._listener is not None and self._listener.leave(where):
            self._resign(where)
        self.waiters.wake_all(where.name)

    async def resign(self) -> None:
        """Wait no longer for any queue: other processes are woken, not this one."""
        for queue in self._listener.queues if self._listener is not None else ():
            where = self.places.find(queue)
            if where is not None:
                await self.finish(where, scripts.RESIGN, self.owner)

    def _pass_on(self, queue: str) -> None:
        where = self.places.find(queue)
        if where is not None and self.is_open:
            self._resign(where)

    def _resign(self, where: Place) -> None:
        async def resign() -> None:
            with suppress(DriverError):  # then another process finds out by itself
                await self.finish(where, scripts.RESIGN, self.owner)

        self._resigning.start(resign(), f"another one waits for {where.name}")

    async def ask(self, queue: str, script: Script, *arguments: Word) -> Any:
        """A script's answer. Raises DriverError."""
        where = self.place(queue)
        return await self.run(self.nodes(queue), where, script, *arguments)

    async def ask_about(self, queue: str, script: Script, *arguments: Word) -> Any:
        """The same about open deliveries, also of an undeclared queue."""
        where = self.place_of_deliveries(queue)
        return await self.run(self.nodes(queue), where, script, *arguments)

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

        Not by publishing to a temporary one: it went with its consumer.
        """
        try:
            try:
                return await scripts.run(nodes, where, script, arguments, more_keys)
            except ReplyError as refusal:
                is_consumers = where.spec.temporary and script in {scripts.PUBLISH, scripts.MOVE}
                if refusal.code != "UNDECLARED" or where.is_inspected or is_consumers:
                    raise
            if self.is_open:
                self.place(where.name)  # else it was deleted
            await self.queues.make(nodes, where)
            return await scripts.run(nodes, where, script, arguments, more_keys)
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, where.name) from problem

    async def publish(self, queue: str, *words: Word) -> int:
        """How many messages are stored, and are kept as the queue demands. Raises DriverError."""
        where = self.place(queue)
        is_waiting = bool(keeping.demand(where.spec))
        nodes = self.nodes(queue, slow=is_waiting)
        try:
            link = await nodes.link(where.slot) if is_waiting else None
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, queue) from problem
        answer = await self.run(nodes, where, scripts.PUBLISH, *words)
        if not isinstance(answer, list):
            return int(answer)
        stored, fsync, replicas = answer
        await self._wait(nodes, where, link, fsync, replicas)
        return int(stored)

    async def _wait(self, nodes: Nodes, where: Place, link: Link | None, fsync: int, replicas: int) -> None:
        """Wait on the connection of the script: the server counts the writes of each connection."""
        try:
            now = await nodes.link(where.slot)
            if link is not None and now is not link:
                raise LinkLostError("the connection was lost after the messages were stored")
            answer = await now.call(*keeping.command(fsync, replicas, self._read_timeout))
        except ReplyError as refusal:
            raise self._translated(LinkLostError(f"the messages are stored, but {refusal}"), where.name) from refusal
        except LinkLostError as problem:
            raise self._translated(problem, where.name) from problem
        keeping.check(answer, fsync, replicas, driver=self.name, queue=where.name)

    async def check_fsync(self, nodes: Nodes, where: Place) -> None:
        """Raise UnsupportedError where the server cannot say when a message is on its disk."""
        try:
            await nodes.call(where.slot, "WAITAOF", 1, 0, 1)
        except ReplyError as refusal:
            problem = f"queue {where.name!r}: wait_fsync needs Redis 7.2 or newer with appendonly yes ({refusal})"
            raise UnsupportedError(problem, driver=self.name, queue=where.name) from refusal
        except LinkLostError as lost:
            raise self._translated(lost, where.name) from lost

    def nodes(self, queue: str, *, slow: bool = False) -> Nodes:
        """The connections of the running loop; also while a close waits for running work."""
        if self._connections is None or self.is_inherited:
            raise self._guard.refusal(queue)
        return self._connections.here(slow=slow)

    def check_open(self, queue: str) -> None:
        """Raise BrokerUnavailableError when not open."""
        self._guard.get(queue)

    def _translated(self, problem: Exception, queue: str) -> DriverError:
        return translated(problem, driver=self.name, queue=queue, place=str(self._settings))
