"""Open queue: one queue that this process knows: its lanes, its held messages, and its pull requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from tasuki.clock import Clock
from tasuki.contracts.driver import Durability, QueueSpec, Received
from tasuki.drivers.nats.protocol.api import Answer
from tasuki.drivers.nats.protocol.connection import Connection
from tasuki.drivers.nats.queues.lanes import plan_in
from tasuki.drivers.nats.queues.names import Names
from tasuki.drivers.nats.queues.setup import epoch_of, level, spec_in
from tasuki.drivers.nats.receiving.admission import Admission
from tasuki.drivers.nats.receiving.deliveries import Table
from tasuki.drivers.nats.receiving.pull_requests import Early, PullRequests
from tasuki.drivers.nats.receiving.settle_state import SettleState
from tasuki.drivers.nats.records.dedup_ids import DedupIds
from tasuki.drivers.nats.records.receivers import Lines
from tasuki.drivers.nats.records.side_records import SideRecords
from tasuki.errors import DriverError, QueueNotFoundError
from tasuki.system.tasks import Tasks


class OpenQueue:
    """A queue whose stream is there.

    Args:
        driver: the driver's name, for errors.
        spec: the options that were given; those in force are in ``spec``.
        info: what the server says of the stream.
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
        """Take over what the server says of the stream."""
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
