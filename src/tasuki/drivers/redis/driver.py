"""The driver: the verbs of the contract, each one script on the server."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    Capabilities,
    Depth,
    Driver,
    Durability,
    Nack,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
)
from tasuki.drivers.redis import scripts
from tasuki.drivers.redis.batches import MAX_BYTES, Publishing, Settling, microseconds, publishing, readable, received
from tasuki.drivers.redis.codec import decoded
from tasuki.drivers.redis.errors import LinkLostError, ReplyError, translated
from tasuki.drivers.redis.probe import probe
from tasuki.drivers.redis.scripts import Place, Script, place
from tasuki.drivers.redis.settings import settings
from tasuki.drivers.redis.waiting import Listener, Waiters, woken
from tasuki.errors import BrokerUnavailableError, DriverError, QueueFullError, QueueNotFoundError, UnsupportedError
from tasuki.message import Message

if TYPE_CHECKING:
    from tasuki.drivers.redis.link import Word
    from tasuki.drivers.redis.nodes import Nodes

BEAT = 5.0
"""Seconds between two signs of life of a driver that has consumers."""
BELIEVED = 3 * BEAT
"""Seconds for which its consumers are counted without one."""
GOODBYE = 3.0
"""Longest time that a close waits for the server."""
PURGED = 10_000
"""Messages removed by one script of a purge, so that the others are not locked out."""


class RedisDriver(Driver):
    """Keeps queues at Redis or Valkey; see the table of the package.

    Args:
        name: the entry's id.
        url: ``redis://user:password@host:port/db``, ``rediss://`` with TLS, or ``unix:///path``; or else
        addrs: ``host:port``, several with commas or as a list: of plain servers, of Sentinels, or of a cluster.
        username, password, db, client_name: for the login; they go before what the url says.
        master_name: what the Sentinels call the master; ``addrs`` are theirs then.
        sentinel_username, sentinel_password: for the login at the Sentinels.
        is_cluster_mode: whether the servers are a cluster.
        tls: the fields of the kind's ``tls``.
        prefix: what the names of all keys begin with.
        claim_interval: seconds after which a waiting receive looks by itself.
        connect_timeout, read_timeout: seconds.
        clock: the time of this process, for waiting; the times of messages are the server's.
    """

    capabilities = Capabilities(
        durability="power",
        multi_process=True,
        ordered=True,
        ordering_key=True,
        native_delay=True,
        native_priority=True,
        counts_attempts=True,
        leases=True,
        exact_depth=True,
        peek=True,
        purge=True,
        max_length=True,
        counts_consumers=True,
        dedup=True,
        delete=True,
        emulates=frozenset({"ordering_key", "native_delay", "native_priority", "leases", "max_length", "dedup"}),
        max_message_bytes=256 * 2**20,
    )

    def __init__(
        self,
        name: str,
        *,
        clock: Clock | None = None,
        prefix: str = "tasuki",
        claim_interval: float = 1.0,
        connect_timeout: float = 5.0,
        read_timeout: float = 10.0,
        **fields: Any,
    ) -> None:
        from tasuki.drivers.redis.nodes import Nodes  # needs the client

        super().__init__(name)
        try:
            self._settings = settings(fields)
        except (OSError, ValueError) as problem:
            raise UnsupportedError(f"driver {name!r}: {problem}", driver=name) from problem
        self._clock = clock or SystemClock()
        self._prefix = prefix
        self._claim_interval = claim_interval
        self._new_nodes = lambda: Nodes(self._settings, connect_timeout=connect_timeout, timeout=read_timeout)
        self._read_timeout = read_timeout
        self._places: dict[str, Place] = {}
        self._consumers: dict[str, int] = {}
        self._held: dict[str, set[Receipt]] = {}
        self._owner = ""
        self._numbers = itertools.count()
        self._durability: Durability = "process"
        self._is_open = False
        self._home: asyncio.AbstractEventLoop | None = None
        self._lock = asyncio.Lock()
        self._by_loop: dict[asyncio.AbstractEventLoop, Nodes] = {}
        self._waiters = Waiters()
        self._listener: Listener | None = None
        self._beating: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def durability(self) -> Durability:
        """By the servers' configuration as it was at the last ``open``; before that the least that any has."""
        return self._durability

    # Opening and closing.

    async def open(self) -> None:
        """Connect, look at the servers' configuration, and declare what was declared before."""
        loop = asyncio.get_running_loop()
        if self._home is not loop:
            self._home, self._lock, self._is_open = loop, asyncio.Lock(), False
        async with self._lock:
            if self._is_open:
                return
            nodes = self._new_nodes()
            is_ready = False
            try:
                await self._prepare(nodes)
                is_ready = True
            finally:
                if not is_ready:
                    nodes.close()
            self._by_loop[loop] = nodes
            self._listener = Listener(nodes, self._read_timeout, self._waiters.wake, self._waiters.wake_all)
            self._is_open = True
            self._beating = loop.create_task(self._beat(), name=f"consumers of {self.name}")

    async def _prepare(self, nodes: Nodes) -> None:
        self._owner = secrets.token_urlsafe(9)
        with_queue = next(iter(self._places), "")
        try:
            self._durability = await probe(nodes, self.name)
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, with_queue) from problem
        for where in self._places.values():
            await self._declare(nodes, where)
        for queue, consumers in self._consumers.items():
            if queue in self._places:
                await self._attach(nodes, queue, consumers)

    async def close(self) -> None:
        """Give back what is held, and let go of the connections."""
        async with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            if self._beating is not None:
                self._beating.cancel()
            self._waiters.wake_all()
            try:
                with suppress(TimeoutError, DriverError, LinkLostError, ReplyError):
                    async with asyncio.timeout(GOODBYE):
                        await self._say_goodbye()
            finally:
                self._cut_off()

    async def _say_goodbye(self) -> None:
        """Let what is under way come to its end, and put back what is held."""
        nodes = self._nodes("")
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        held, self._held = self._held, {}
        size = self.capabilities.max_batch
        for queue, receipts in held.items():
            backs: list[Settlement] = [Nack(receipt) for receipt in receipts]
            for start in range(0, len(backs), size):
                await self._run(
                    nodes, self._places[queue], scripts.SETTLE, *Settling(backs[start : start + size]).words
                )
        for queue, consumers in self._consumers.items():
            if consumers:
                await self._attach(nodes, queue, 0)
        await nodes.drain()

    def _cut_off(self) -> None:
        if self._listener is not None:
            self._listener.close()
        by_loop, self._by_loop = self._by_loop, {}
        for loop, nodes in by_loop.items():
            if loop is self._home:
                nodes.close()
            elif not loop.is_closed():
                with suppress(RuntimeError):  # it was closed just now, and its connections with it
                    loop.call_soon_threadsafe(nodes.close)

    async def _beat(self) -> None:
        """Say now and again that the consumers of this process are alive."""
        while True:
            await asyncio.sleep(BEAT)
            if self._listener is not None:
                self._listener.check()
            for queue, consumers in list(self._consumers.items()):
                with suppress(DriverError):
                    await self._attach(self._nodes(queue), queue, consumers)

    # The verbs.

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist at the server; its options hold for all processes, the last declaration wins."""
        where = self._places[spec.name] = place(self._prefix, spec)
        if self._is_open:
            await self._declare(self._nodes(spec.name), where)

    async def _declare(self, nodes: Nodes, where: Place) -> None:
        spec = where.spec
        most = "" if spec.max_length is None else spec.max_length
        window = "" if spec.dedup_window is None else microseconds(spec.dedup_window)
        await self._run(nodes, where, scripts.DECLARE, microseconds(spec.lease), most, spec.ordering, window)

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Sequence[DriverError | None]:
        """Store the messages for which there is room: in one script, unless they are large together."""
        where = self._place(queue)
        most = self.capabilities.max_message_bytes or 0
        work = publishing(where.spec, batch, driver=self.name, most=most)
        for number, part in enumerate(work.parts):
            try:
                stored = await self._ask(queue, scripts.PUBLISH, *part.words)
            except DriverError as error:
                work.reject(part.indexes, error)
                self._reject_rest(work, number, error)
                break
            if stored < len(part.indexes):
                full = QueueFullError(
                    f"queue {queue!r} holds its max_length of {where.spec.max_length} messages",
                    driver=self.name,
                    queue=queue,
                )
                work.reject(part.indexes[stored:], full)
                self._reject_rest(work, number, full)
                break
        return work.answer()

    def _reject_rest(self, work: Publishing, number: int, error: DriverError) -> None:
        """What was not sent after a failure was certainly not stored."""
        rest = [index for part in work.parts[number + 1 :] for index in part.indexes]
        if rest:
            kind = BrokerUnavailableError if error.outcome == "unknown" else type(error)
            work.reject(rest, kind(str(error), driver=self.name, queue=error.queue))

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; what was taken for a cancelled caller is released."""
        where = self._place(queue)
        listener, channel = self._listener, where.channel
        assert listener is not None
        ends_at = self._clock.monotonic() + wait
        waiter = self._waiters.join(channel)
        is_owing = False
        try:
            while True:
                is_listening = wait <= 0 or listener.hears(where)
                taken, next_change = await self._take(where, limit)
                is_owing = bool(taken)
                left = ends_at - self._clock.monotonic()
                if not self._is_open:
                    return []  # the close puts back what was taken
                self._place(queue)  # else it was deleted
                if taken or left <= 0:
                    return taken
                if not is_listening:
                    # And look again: what came before the subscription made no sound.
                    await self._listen(listener, where)
                    continue
                is_owing = True
                await woken(waiter, min(left, next_change, self._claim_interval))
                self._waiters.leave(channel, waiter)
                waiter = self._waiters.join(channel)
        finally:
            self._waiters.leave(channel, waiter)
            if is_owing or waiter.done():
                self._waiters.wake(channel)

    async def _listen(self, listener: Listener, where: Place) -> None:
        try:
            await listener.listen(where)
        except (LinkLostError, ReplyError) as problem:
            if self._is_open:
                raise self._translated(problem, where.name) from problem

    async def _take(self, where: Place, limit: int) -> tuple[list[Received], float]:
        """What can be received now, and the seconds until the time makes more of it."""
        task = asyncio.get_running_loop().create_task(self._fetch(where, limit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        is_taken = False
        try:
            answer = await asyncio.shield(task)
            is_taken = True
        finally:
            if not is_taken:
                task.add_done_callback(lambda task: self._give_back(where, task))
        return answer

    async def _fetch(self, where: Place, limit: int) -> tuple[list[Received], float]:
        token = f"{self._owner}{next(self._numbers):x}"
        answer = await self._run(self._nodes(where.name), where, scripts.RECEIVE, limit, token, MAX_BYTES)
        if isinstance(answer, int):
            return [], float("inf") if answer < 0 else answer / 1_000_000
        taken = received(answer, token)
        self._held.setdefault(where.name, set()).update(item.receipt for item in taken)
        return taken, 0.0

    def _give_back(self, where: Place, task: asyncio.Task[tuple[list[Received], float]]) -> None:
        """Release what a receive took whose caller is gone; a close does that by itself."""
        if task.cancelled() or task.exception() is not None or not self._is_open:
            return
        from tasuki.contracts.driver import Release

        backs = [Release(item.receipt) for item in task.result()[0]]
        if backs:
            release = asyncio.get_running_loop().create_task(self._release(where, backs))
            self._tasks.add(release)
            release.add_done_callback(self._tasks.discard)

    async def _release(self, where: Place, backs: Sequence[Settlement]) -> None:
        with suppress(DriverError):  # then their leases end
            await self._run(self._nodes(where.name), where, scripts.SETTLE, *Settling(backs).words)
        self._held.get(where.name, set()).difference_update(back.receipt for back in backs)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries."""
        work = Settling(batch)
        stale = work.stale(await self._ask(queue, scripts.SETTLE, *work.words))
        self._held.get(queue, set()).difference_update(work.receipts)
        return stale

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases; in any thread with a loop, which gets a connection of its own."""
        numbers = await self._ask(queue, scripts.EXTEND, microseconds(lease), *readable(batch))
        stale = [batch[number - 1] for number in numbers]
        self._held.get(queue, set()).difference_update(stale)
        return stale

    async def depth(self, queue: str) -> Depth:
        """Count the messages, exactly."""
        ready, held, delayed, age, consumers = await self._ask(queue, scripts.DEPTH)
        return Depth(ready, held, delayed, None if age < 0 else age / 1_000_000, consumers)

    async def attach(self, queue: str, consumers: int) -> None:
        """Note the number at the server, where it is believed while this process gives signs of life."""
        self._consumers[queue] = consumers
        self._place(queue)
        await self._attach(self._nodes(queue), queue, consumers)

    async def _attach(self, nodes: Nodes, queue: str, consumers: int) -> None:
        await self._run(nodes, self._places[queue], scripts.ATTACH, self._owner, consumers, microseconds(BELIEVED))

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        shown: list[Message] = []
        while len(shown) < limit:
            size = min(limit - len(shown), self.capabilities.max_batch)
            places, contents = await self._ask(queue, scripts.PEEK, size, after + len(shown))
            shown += [
                Message(*decoded(content, where)) for where, content in zip(places, contents, strict=True) if content
            ]
            if len(places) < size:
                break
        return shown

    async def purge(self, queue: str) -> int:
        """Remove what is not held, in several scripts; not more than there was when the call began."""
        removed, waiting = await self._ask(queue, scripts.PURGE, PURGED)
        while removed < waiting:
            more, _ = await self._ask(queue, scripts.PURGE, min(PURGED, waiting - removed))
            if not more:
                break
            removed += more
        return int(removed)

    async def delete(self, queue: str) -> None:
        """Remove the queue's keys."""
        where = self._place(queue)
        del self._places[queue]  # first, so that nobody here makes it again
        is_deleted = False
        try:
            await self._run(self._nodes(queue), where, scripts.DELETE)
            is_deleted = True
        finally:
            if not is_deleted:
                self._places.setdefault(queue, where)
        self._consumers.pop(queue, None)
        self._held.pop(queue, None)
        self._waiters.wake_all()

    # The way to the server.

    async def _ask(self, queue: str, script: Script, *arguments: Word) -> Any:
        where = self._place(queue)
        return await self._run(self._nodes(queue), where, script, *arguments)

    async def _run(self, nodes: Nodes, where: Place, script: Script, *arguments: Word) -> Any:
        """A script's answer. A queue that is gone at the server (flushed, or lost with its disk) is declared again."""
        try:
            try:
                return await scripts.run(nodes, where, script, arguments)
            except ReplyError as refusal:
                if refusal.code != "UNDECLARED":
                    raise
            if self._is_open:
                self._place(where.name)
            await self._declare(nodes, where)
            return await scripts.run(nodes, where, script, arguments)
        except (LinkLostError, ReplyError) as problem:
            raise self._translated(problem, where.name) from problem

    def _nodes(self, queue: str) -> Nodes:
        """The connections of the running loop."""
        loop = asyncio.get_running_loop()
        nodes = self._by_loop.get(loop)
        if nodes is None:
            if not self._is_open:
                raise self._closed(queue)
            for other in [other for other in self._by_loop if other.is_closed()]:
                self._by_loop.pop(other, None)
            nodes = self._by_loop[loop] = self._new_nodes()
        return nodes

    def _place(self, queue: str) -> Place:
        if not self._is_open:
            raise self._closed(queue)
        try:
            return self._places[queue]
        except KeyError:
            problem = f"queue {queue!r} was never declared on driver {self.name!r}; declare it first"
            raise QueueNotFoundError(problem, driver=self.name, queue=queue) from None

    def _closed(self, queue: str) -> DriverError:
        problem = f"driver {self.name!r} is not open; open it first"
        return BrokerUnavailableError(problem, driver=self.name, queue=queue)

    def _translated(self, problem: Exception, queue: str) -> DriverError:
        return translated(problem, driver=self.name, queue=queue, place=str(self._settings))
