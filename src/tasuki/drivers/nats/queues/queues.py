"""Queues: what this process has open of each queue that it knows; made, inspected, and forgotten here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Set
from contextlib import suppress
from itertools import count
from weakref import WeakValueDictionary

from tasuki.backoff import UNTIL_BACK
from tasuki.clock import Clock
from tasuki.contracts.driver import Durability, QueueSpec, Received
from tasuki.drivers.nats.failures import is_stream_missing
from tasuki.drivers.nats.protocol.api import Answer, demand
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.names import Names, plan_in
from tasuki.drivers.nats.queues.setup import (
    Storage,
    delivered_up_to,
    epoch_of,
    level,
    make_lanes,
    make_queue,
    make_records_stream,
    spec_in,
)
from tasuki.drivers.nats.receiving.admission import Admission
from tasuki.drivers.nats.receiving.deliveries import Table, read
from tasuki.drivers.nats.receiving.pull_requests import Early, PullRequests, paced
from tasuki.drivers.nats.receiving.settle_state import SettleState
from tasuki.drivers.nats.records.receivers import Lines
from tasuki.drivers.nats.records.side_records import DedupIds, SideRecords
from tasuki.drivers.nats.records.temporary import Temporary
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.errors import DriverError, QueueConflictError, QueueNotFoundError
from tasuki.system.tasks import Tasks


class OpenQueue:
    """A queue whose stream is there.

    Args:
        driver: the driver's name, for errors.
        spec: the options that were given; those in force are in ``spec``.
        info: the server's facts about the stream.
        names: of streams and subjects.
        clock: the time.
        connect: gives the connection in use.
        count: how many queues are open.
        lines: what other processes hold.
        left: what this process had of it before it was undeclared.
    """

    def __init__(
        self,
        driver: str,
        spec: QueueSpec,
        info: Answer,
        *,
        names: Names,
        clock: Clock,
        connect: Callable[[], Awaitable[Connection]],
        count: Callable[[], int],
        lines: Lines,
        left: OpenQueue | None,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._names = names
        self._tasks = Tasks()
        self.stream = names.stream(spec.name)
        self.subjects = [names.subject(spec.name, "", ordered=is_ordered) for is_ordered in (False, True)]
        """What the subjects of its lanes begin with: those without and with order per key."""
        self.epoch = epoch_of(info)
        """Tells the stream from earlier ones of this name."""
        self.records = SideRecords(names, spec.name, self.epoch)
        is_same = left is not None and left.epoch == self.epoch
        self.table: Table = left.table if left is not None and is_same else Table(spec.lease)
        records, table, tasks = self.records, self.table, self._tasks
        self._admission = Admission(spec.name, self.stream, records, table, tasks, clock, connect, lines)
        self.settle_state = SettleState(spec.name, self.stream, self._doubt_consumers, records, table, tasks, clock)
        self.give_back = self._admission.give_back
        self._early = Early(clock)
        self.pulls = PullRequests(self.stream, self.give_back, count, self._early)
        self.is_missing = False
        """Whether its stream is known to be gone."""
        self.is_outdated = False
        """Whether its stream was changed since it was inspected."""
        self.inspected_on: Connection | None = None
        """The connection on which its stream was inspected."""
        self.inspected_at = 0.0
        self._last_number = 0
        self.learn(spec, info)

    def learn(self, spec: QueueSpec, info: Answer) -> None:
        """Take over the server's facts about the stream."""
        config = info["config"]
        self._storage, self._replicas = str(config["storage"]), int(config.get("num_replicas", 1))
        self.spec, self.plan = spec_in(info, spec), plan_in(config.get("metadata"))
        self.ids = DedupIds(self._names, spec.name) if self.spec.dedup_window else None
        """The ids of its ``dedup_window``, if it has one."""
        self.table.lease = self.spec.lease
        self.pulls.use(self.plan.lanes())
        before, self._last_number = self._last_number, int(info.get("state", {}).get("last_seq", 0))
        if self._last_number < before:
            self.doubt()
        self.is_missing = self.is_outdated = False

    def durability(self, *, is_synced: bool) -> Durability:
        """What a message survives that is confirmed in this stream."""
        return level(self._storage, self._replicas, is_synced=is_synced)

    def changed(self) -> None:
        """Another process changed the stream: inspect it before the next operation."""
        self.is_outdated = True
        self.doubt()
        self.pulls.interrupt()

    def doubt(self) -> None:
        """The stream may have been made again, or put back to an earlier state."""
        self.table.doubted_at = asyncio.get_running_loop().time()

    def consumers_made(self) -> None:
        """They may be new, and know of no earlier delivery."""
        self.pulls.is_doubtful = False
        self.doubt()
        self._admission.forget()

    async def receive(self, connection: Connection, limit: int, wait: float) -> list[Received]:
        """Take up to ``limit`` messages whose time has come."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        await self._admission.recall(connection)
        while True:
            arrivals = await self.pulls.take(connection, limit, max(until - loop.time(), 0.0))
            early = self._early.rest()
            returning = self._tasks.start(self.give_back(early), "put off") if early else None
            received = await self._admission.admit(connection, arrivals, self.pulls.put_back) if arrivals else []
            if received or loop.time() >= until or not (arrivals or early):
                return received
            if returning is not None:
                await asyncio.wait([returning])

    async def put_off(self) -> None:
        """Give delayed messages back that came before their time."""
        await self.give_back(self._early.rest())

    def _doubt_consumers(self) -> None:
        self.pulls.is_doubtful = True

    async def leave(self) -> None:
        """Receive no more; held messages can still be settled."""
        await self.pulls.close()
        if left := self.pulls.rest():
            await self.give_back(left)

    async def close(self, connection: Connection | None) -> None:
        """Return everything: untaken messages as if never delivered, held ones as they are."""
        await self.pulls.close()
        await self._tasks.wait()  # among them receives, which may put messages back
        left = self.pulls.rest()
        if connection is not None and left:
            await self.give_back(left)
        await self.settle_state.close(connection)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held that could still be settled in time."""
        return not self.table.living(self._clock.monotonic())

    def held(self, sequences: Iterable[int]) -> list[int]:
        """Which of these messages are held, or came for a receive."""
        come, now = self.pulls.sequences, self._clock.monotonic()
        return [each for each in sequences if each in come or self.table.has(each, now)]

    @property
    def is_held(self) -> bool:
        """Whether a message is held, or came for a receive; safe in any thread."""
        return self.pulls.has_messages or not self.is_idle

    @property
    def is_used(self) -> bool:
        """Whether a receive is under way, or a message is held; safe in any thread."""
        return self.pulls.is_receiving or not self.is_idle

    def gone(self, why: str = "it is made again when it is used") -> DriverError:
        """The error for a stream that was removed at the server."""
        problem = f"queue {self.spec.name!r}: its stream was removed from the server; {why}"
        return QueueNotFoundError(problem, driver=self._driver, queue=self.spec.name)


Connect = Callable[[], Awaitable[Connection]]

INSPECTED_EVERY = 10.0
"""Seconds after which a queue is inspected again where the server does not report changes to us."""

WHERE_TOLD = 12
"""How many times as long that is where it does."""

_COST = 4
"""How many other requests one such check costs; with many queues it is rarer than they are."""


class Queues:
    """Of one driver.

    Args:
        driver: its name, for errors.
        known: the queues of the driver.
        names: of streams and subjects.
        storage: for new streams.
        temporary: keeps temporary queues alive.
        clock: the time.
        lines: what other processes hold.
    """

    def __init__(
        self,
        driver: str,
        known: KnownQueues[QueueSpec],
        names: Names,
        storage: Storage,
        temporary: Temporary,
        clock: Clock,
        lines: Lines,
    ) -> None:
        self._driver = driver
        self._known = known
        self._names = names
        self._storage = storage
        self._temporary = temporary
        self._clock = clock
        self._lines = lines
        self._connect: Connect
        self._tasks = Tasks()
        self.reset()

    def begin(self, connect: Connect) -> None:
        """The driver opens; ``connect`` gives the connection in use, until its close is done."""
        self._connect = connect
        self.reset()

    def reset(self) -> None:
        """Nothing is on its way in any more, as after a close and in a child process."""
        self._open: dict[str, OpenQueue] = {}
        self._left: dict[str, OpenQueue] = {}
        """Undeclared queues of which something is still held."""
        self._by_stream: dict[str, OpenQueue] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._records_made_on: Connection | None = None

    def forget_all(self) -> list[OpenQueue]:
        """Forget all open queues, and return them."""
        found = [*self._open.values(), *self._left.values()]
        self._open, self._left = {}, {}
        return found

    def found(self, queue: str) -> OpenQueue | None:
        """The open queue of this name, also if it is not declared any more."""
        return self._open.get(queue) or self._left.get(queue)

    def is_used(self, queue: str) -> bool:
        """Whether a receive of it waits here, or a message of it is held; safe in any thread."""
        found = self.found(queue)
        return found is not None and found.is_used

    def is_held(self, queue: str) -> bool:
        """Whether a message of it is here; safe in any thread."""
        found = self.found(queue)
        return found is not None and found.is_held

    def held(self, queue: str, sequences: Iterable[int]) -> list[int]:
        """Which of these messages are held here, or came for a receive."""
        found = self.found(queue)
        return [] if found is None else found.held(sequences)

    def is_left(self, queue: str) -> bool:
        """Whether it is not declared any more, and something of it is held."""
        return queue in self._left

    async def ready(self, queue: str, connection: Connection, *, is_publishing: bool = False) -> OpenQueue:
        """The queue with its stream, made where that is allowed. Raises QueueNotFoundError where it is gone."""
        found = self._open.get(queue)
        if found is None or found.is_missing:
            spec = self._known.get(queue)
            # A publish does not make a temporary queue: no process would ever read it.
            if self._known.is_declared(queue) and not (is_publishing and spec.temporary):
                found = await self._make(spec, connection)
            else:
                found = await self._inspect(spec, connection)
        elif found.is_outdated or found.inspected_on is not connection or self._is_old(found, connection):
            found = await self._inspect(self._known.get(queue), connection)
        if found.pulls.is_doubtful:
            found = await self.restore(found, connection)
        if found.records.is_missing and self._known.is_declared(queue):
            await make_records_stream(connection, self._names, self._storage)
            found.records.is_missing = False
        return found

    def _is_old(self, found: OpenQueue, connection: Connection) -> bool:
        """Whether its stream was inspected long ago."""
        least = INSPECTED_EVERY * (WHERE_TOLD if connection.hears_changes else 1)
        ago = asyncio.get_running_loop().time() - found.inspected_at
        return ago > least and ago > paced(least, _COST * len(self._open))

    async def declare(self, spec: QueueSpec, connection: Connection | None) -> None:
        """Make it; without a connection it is recorded only."""
        self._names.stream(spec.name)  # a name that cannot be is refused before it is recorded
        before = self._known.find(spec.name) if self._known.is_declared(spec.name) else None
        self._known.declare(spec.name, spec)
        if connection is None:
            return
        try:
            await self._make(spec, connection)
        except QueueConflictError:
            if before is not None:
                self._known.declare(spec.name, before)
            raise

    async def inspect(self, spec: QueueSpec, connection: Connection) -> QueueSpec:
        """Know it as it stands; returns the options in force."""
        self._names.stream(spec.name)
        declared = self._known.find(spec.name) if self._known.is_declared(spec.name) else None
        found = await self._inspect(declared or spec, connection)
        self._known.inspect(spec.name, spec)
        return found.spec

    async def undeclare(self, queue: str) -> None:
        """Forget it; held messages can still be settled."""
        self._known.forget(queue)
        found = self._open.pop(queue, None)
        if found is not None:
            self._left[queue] = found
            async with self._lock(queue):
                await found.leave()
            if self._by_stream.get(found.stream) is found:
                del self._by_stream[found.stream]
        self.sweep()

    def sweep(self) -> None:
        """Let go of undeclared queues of which nothing is held any more."""
        for name in [name for name, found in self._left.items() if found.is_idle]:
            del self._left[name]

    def drop(self, queue: str) -> None:
        """Let go of a queue that is being deleted, so that no receive returns to it."""
        found = self._open.pop(queue, None)
        if found is not None:
            self._by_stream.pop(found.stream, None)

    async def restore(self, found: OpenQueue, connection: Connection) -> OpenQueue:
        """Find out why a consumer is silent: make missing parts, and wait for a leader. Raises QueueNotFoundError."""
        queue = found.spec.name
        lanes = [lane.name for lane in found.plan.lanes()]
        if None in (await delivered_up_to(connection, queue, found.stream, lanes)).values():
            found = await self._inspect(self._known.get(queue), connection)
            if not self._known.is_declared(queue):
                raise found.gone("only its consumers are gone; declare the queue to have them made")
            # With the options in force: another process may have declared it since we did.
            found = await self._make(found.spec, connection)
        found.pulls.is_doubtful = False
        return found

    async def make_lanes(self, found: OpenQueue, connection: Connection, wanted: Set[str]) -> None:
        """Give it lanes that their first message makes, also where it was only inspected here: no option changes."""
        async with self._lock(found.spec.name):
            if not wanted <= found.plan.later:
                found.learn(found.spec, await make_lanes(connection, self._names, found.spec, wanted))

    async def _inspect(self, spec: QueueSpec, connection: Connection) -> OpenQueue:
        """Learn what the stream says now."""
        stream = self._names.stream(spec.name)
        (info,) = await demand(connection, spec.name, (f"STREAM.INFO.{stream}", {}), unless=is_stream_missing)
        if "error" in info:
            found = self._open.get(spec.name)
            if found is None:
                problem = f"queue {spec.name!r} is not at the server of driver {self._driver!r}; declare it first"
                raise QueueNotFoundError(problem, driver=self._driver, queue=spec.name)
            found.is_missing = True
            raise found.gone()
        async with self._lock(spec.name):
            return await self._adopt(spec, info, connection)

    async def _make(self, spec: QueueSpec, connection: Connection) -> OpenQueue:
        """Make the stream what the spec says; one at a time for each queue."""
        async with self._lock(spec.name):
            if self._records_made_on is not connection:
                await make_records_stream(connection, self._names, self._storage)
                self._records_made_on = connection
            if spec.temporary:  # first: a stream without the note would never be removed
                await self._temporary.keep(connection, [spec.name])
            info = await make_queue(connection, self._names, spec, self._storage)
            if spec.dedup_window:
                await DedupIds(self._names, spec.name).make(connection, spec.dedup_window, self._storage)
            made = await self._adopt(spec, info, connection)
            made.consumers_made()
            return made

    async def _adopt(self, spec: QueueSpec, info: Answer, connection: Connection) -> OpenQueue:
        """The open queue of a stream: what there is of it, or a new one if it is another stream of that name."""
        found = self._open.get(spec.name)
        made = OpenQueue(
            self._driver,
            spec,
            info,
            names=self._names,
            clock=self._clock,
            connect=self._connect,
            count=self._open.__len__,
            lines=self._lines,
            left=self._left.pop(spec.name, None),
        )
        if found is not None and found.epoch == made.epoch:
            made = found
            made.learn(spec, info)
        else:
            self._open[spec.name] = self._by_stream[made.stream] = made
        made.inspected_on, made.inspected_at = connection, asyncio.get_running_loop().time()
        if found is not None and made is not found:  # held messages went with the earlier stream
            await found.close(None)
        return made

    def _lock(self, queue: str) -> asyncio.Lock:
        """Held while a queue is made or changed here; it is there as long as it is used."""
        return self._locks.setdefault(queue, asyncio.Lock())

    def delivered(self, receipt: str, data: bytes) -> None:
        """A message came in."""
        parts = read(receipt)
        if parts is not None and (queue := self._by_stream.get(parts.stream)) is not None:
            queue.pulls.arrived(receipt, parts, data)

    def ended(self, token: str, status: str) -> None:
        """A request for messages ended."""
        _, stream, lane, number = token.rsplit(".", 3)
        if (queue := self._by_stream.get(stream)) is not None:
            queue.pulls.ended(lane, number, status)

    def changed(self, stream: str, is_certain: bool) -> None:
        """The server says that a stream has other options, or may have."""
        queue = self._by_stream.get(stream)
        if queue is not None and is_certain:
            queue.changed()
        elif queue is not None:
            queue.is_outdated = True

    def lost(self) -> None:
        """The connection is gone."""
        for queue in self._by_stream.values():
            queue.pulls.lost()
        if self._is_held:
            self._tasks.start(self._connect_again(), name="answer for held messages")

    @property
    def _is_held(self) -> bool:
        return any(queue.is_held for queue in (*self._open.values(), *self._left.values()))

    async def _connect_again(self) -> None:
        """Others take the messages of a process that cannot be asked: so it connects, though nothing needs it now."""
        for failures in count(1):
            if not self._is_held:
                return
            with suppress(DriverError):
                await self._connect()
                return
            await asyncio.sleep(UNTIL_BACK.delay(failures))
