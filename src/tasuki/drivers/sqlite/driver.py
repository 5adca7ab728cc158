"""The driver: checks and encodes on the event loop, and leaves the rest to the writer's thread."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tasuki.clock import Clock, SystemClock
from tasuki.contracts.driver import (
    ACTS,
    SPANS,
    Ability,
    Answers,
    Capabilities,
    Causes,
    Depth,
    Durability,
    Move,
    Outgoing,
    QueueSpec,
    Receipt,
    Received,
    Settlement,
    Transfer,
    Where,
)
from tasuki.contracts.groups import stale
from tasuki.drivers.sqlite.caller_transaction import Opening, WithinSQLite
from tasuki.drivers.sqlite.file import connections
from tasuki.drivers.sqlite.file.database import Database
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.state.reader import Reader
from tasuki.drivers.sqlite.state.store import SQLiteStore
from tasuki.drivers.sqlite.store import browsing
from tasuki.drivers.sqlite.store.browsing import AT_ONCE, Extent, Walk, locate, moment, show, step
from tasuki.drivers.sqlite.store.statements import Encoded, encoded
from tasuki.drivers.sqlite.store.store import COUNTED, NOTHING_DUE, Store
from tasuki.drivers.sqlite.thread.requests import (
    Call,
    DeliveryCall,
    Leaving,
    Outcome,
    Publish,
    PublishUnique,
    Receive,
    Request,
    Step,
    moving,
    transferring,
)
from tasuki.drivers.sqlite.thread.writer import Writer
from tasuki.drivers.toolkit.guard import Guard, KnownQueues
from tasuki.drivers.toolkit.results import (
    Found,
    Transfers,
    answer,
    answered_in_order,
    check_bounds,
    full,
    number_in,
    storable,
    stored_in_order,
)
from tasuki.errors import (
    DriverError,
    QueueFullError,
    QueueNotFoundError,
    UnsupportedError,
)
from tasuki.message import Message
from tasuki.system.tasks import OnFailure

_ABILITIES: frozenset[Ability] = frozenset({
    "ordered", "ordering_key", "native_priority", "leases", "sees_deaths", "exact_depth", "keeps_errors",
    "max_length", "dedup", "limits",
})  # fmt: skip
CAPABILITIES = Capabilities(
    "power",
    _ABILITIES,
    unique=frozenset({*SPANS, *ACTS}),
    max_message_bytes=256 * 2**20,
)
OLDEST_SQLITE = (3, 35, 0)
"""RETURNING."""


class SQLiteDriver(WithinSQLite):
    """Keeps queues in one SQLite file; see the table of the package.

    Args:
        name: the entry's id.
        settings: the file and how it is written. Files of its name with ``-wal``, ``-shm``, ``.holders`` and
            ``.ballast`` belong to it.
        clock: the time.
    """

    capabilities = CAPABILITIES

    def __init__(self, name: str, settings: SQLiteSettings, clock: Clock | None = None) -> None:
        super().__init__(name)
        self._path = os.path.abspath(settings.path)
        self._settings = settings
        self._clock = clock or SystemClock()
        self._known: KnownQueues[QueueSpec] = KnownQueues(name)
        self._guard: Guard[Writer] = Guard(name)
        self._readers: Guard[Reader] = Guard(name)
        self._opening = Opening(name, self._path, settings.synchronous, settings.busy_timeout)

    @property
    def durability(self) -> Durability:
        """``power`` with ``synchronous = full``, else ``broker``."""
        return "power" if self._settings.synchronous == "full" else "broker"

    async def open(self) -> None:
        """Open the file, and declare the earlier queues again; the first declared queue creates the file."""
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            problem = f"driver {self.name!r} needs SQLite 3.35 or newer; this Python has {sqlite3.sqlite_version}"
            raise UnsupportedError(problem, driver=self.name)
        async with self._guard.changing():
            if self._guard.current is not None:
                return
            connections.close_inherited()
            database = Database(self.name, self._path, self._settings, self._clock, self._known)
            writer = Writer(self.name, database, self._clock, self._known)
            reader = Reader(self.name, self._path, self._settings, self._clock)
            database.alone = reader.aside
            connections.watch(writer)
            connections.watch(reader)
            writer.start()
            self._guard.opened(writer)
            self._readers.opened(reader)
            async with OnFailure(self.close):
                if self._known.declared() or self._has_file():
                    await writer.submit(Call("", lambda store, _: store.queues.declare_all()))

    async def close(self) -> None:
        """Release held messages, merge the log into the file, and close it."""
        writer, reader = self._guard.current, self._readers.current
        if reader is not None:
            await reader.stop()
        if writer is not None:
            await writer.stop()
        self._guard.closed(writer)
        self._readers.closed(reader)

    def store(self, name: str) -> SQLiteStore:
        """A store in the same file; its first open starts the thread that reads."""
        return SQLiteStore(name, self, self._guard, self._readers, self._clock)

    async def declare(self, spec: QueueSpec) -> None:
        """Make the queue exist in the file; its options hold for all processes, the last declaration wins."""
        self._known.declare(spec.name, spec)
        if self._guard.current is not None:
            await self._ask(Call("", lambda store, _: store.queues.declare(spec)))

    async def undeclare(self, queue: str) -> None:
        """Forget the queue; a waiting receive ends, and open deliveries can still be settled."""
        if self._known.forget(queue) is not None and self._guard.current is not None:
            await self._ask(Call("", lambda store, _: store.queues.leave(queue)))

    async def inspect(self, spec: QueueSpec) -> QueueSpec:
        """Read the queue's options from the file; no later verb makes the queue. Never creates the file."""
        self._guard.get(spec.name)
        if not self._has_file():
            file = f"{self._path!r} does not exist or is empty"
            problem = f"driver {self.name!r}: queue {spec.name!r} is in no database file: {file}"
            raise QueueNotFoundError(problem, driver=self.name, queue=spec.name)
        found: QueueSpec = await self._ask(Call("", lambda store, _: store.queues.inspect(spec)))
        self._known.inspect(found.name, found)
        return found

    def _has_file(self) -> bool:
        """Whether there is a file with content: an empty one is made into a database by the first declared queue."""
        try:
            return os.stat(self._path).st_size > 0
        except OSError:
            return False

    async def publish(self, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Store the messages for which there is room, in one transaction with whatever else has queued up."""
        self._check(queue)
        is_unique = check_bounds(batch, driver=self.name, queue=queue, unique=self.capabilities.unique)
        work = self._encoded(queue, batch)
        if is_unique:
            answers = await self._ask(PublishUnique(queue, work)) if work.rows else ()
            return answered_in_order(len(batch), answers, work.refused, self._full(queue))
        stored = await self._ask(Publish(queue, work)) if work.rows else 0
        if stored == len(batch):
            return ()
        return stored_in_order(len(batch), stored, work.refused, self._full(queue))

    def _encoded(self, queue: str, batch: Sequence[Outgoing]) -> Encoded:
        most = self.capabilities.max_message_bytes or 0
        return encoded(batch, driver=self.name, queue=queue, now=self._clock.time(), most=most)

    def _full(self, queue: str) -> QueueFullError:
        spec = self._known.find(queue)
        return full(queue, spec.max_length if spec else None, driver=self.name)

    async def receive(self, queue: str, limit: int, wait: float) -> list[Received]:
        """Take messages; release the messages of a cancelled caller."""
        self._check(queue)
        if limit <= 0:
            return []
        request = Receive(queue, limit, self._clock.monotonic() + wait)
        writer = self._guard.get(queue)
        with OnFailure(lambda: writer.give_back(request)):
            taken: list[Received] = await writer.submit(request)
        return taken

    async def start(self, queue: str, batch: Sequence[Receipt]) -> Sequence[Receipt]:
        """Record that the handlers of deliveries begin; committed when this returns."""
        return await self._stale(Store.start, queue, batch)

    async def settle(self, queue: str, batch: Sequence[Settlement]) -> Sequence[Receipt]:
        """End deliveries; committed when this returns."""
        return await self._stale(Store.settle, queue, batch)

    async def move(self, queue: str, batch: Sequence[Move]) -> Sequence[DriverError | None]:
        """Store and ack in one transaction."""
        self._guard.get(queue)
        results: list[DriverError | None] = [None] * len(batch)
        steps: dict[int, Step] = {}
        for index, move in enumerate(batch):
            try:
                self._check(move.to)
                check_bounds(move.messages, driver=self.name, queue=move.to)
                work = self._encoded(move.to, move.messages)
            except DriverError as error:
                results[index] = error
                continue
            if work.refused:
                results[index] = next(iter(work.refused.values()))
            else:
                steps[index] = Step(move.receipt, move.to, work)
        outcomes = await self._ask(moving(queue, [*steps.values()])) if steps else ()
        for index, outcome in zip(steps, outcomes, strict=True):
            results[index] = self._outcome(queue, batch[index], outcome)
        return answer(results)

    def _outcome(self, queue: str, move: Move, outcome: Outcome) -> DriverError | None:
        if outcome == "stale":
            return stale(move.receipt, driver=self.name, queue=queue)
        return self._full(move.to) if outcome == "full" else outcome

    async def extend(self, queue: str, batch: Sequence[Receipt], lease: float) -> Sequence[Receipt]:
        """Set the leases; safe in any thread with a loop."""
        return await self._stale(partial(Store.extend, lease=lease), queue, batch)

    async def _stale(self, work: Callable[[Store, int, Any], list[Receipt]], queue: str, batch: Any) -> list[Receipt]:
        """Do something with deliveries; returns the stale receipts."""
        if not batch:
            return []
        stale: list[Receipt] = await self._ask(DeliveryCall(queue, lambda store, number: work(store, number, batch)))
        return stale

    async def depth(self, queue: str) -> Depth:
        """Read the counters; the delayed messages that are due are counted in parts, where they are very many."""
        self._check(queue)
        counted, place = 0, NOTHING_DUE
        while True:
            counted_from = partial(Store.depth, since=place)
            depth, more = await self._ask(Call(queue, counted_from))
            if more is None:
                break
            counted, place = counted + COUNTED, more
        whole: Depth = replace(depth, ready=depth.ready + counted, delayed=max(depth.delayed - counted, 0))
        return whole

    async def peek(self, queue: str, limit: int, after: int = 0) -> list[Message]:
        """Show waiting messages: receivable ones in order, those behind their key, delayed ones by their time."""
        self._check(queue)
        walk = Walk(after, limit)
        while not walk.is_over:
            await self._ask(Call(queue, lambda store, number: step(store.connection, number, walk, self._clock.time())))
        return walk.found

    async def find(self, queue: str, ids: Collection[str]) -> list[Message]:
        """Find them by the index of ids, and read them on the thread that reads."""
        self._check(queue)
        places = await self._find(queue, storable(ids))
        seqs = sorted(seq for found in places.values() for seq in found)
        if not seqs:
            return []
        now = self._clock.time()

        def read(file: sqlite3.Connection, number: int) -> list[Message]:
            with moment(file):
                return show(file, number, seqs, now)

        found: list[Message] = await self._look(queue, read)
        return found

    async def locate(self, queue: str, ids: Collection[str]) -> dict[str, Where]:
        """Find them by the index of ids, on the thread that reads: the writer goes on."""
        wanted, now = storable(ids), self._clock.time()
        found: dict[str, Where] = await self._look(queue, lambda file, number: locate(file, number, wanted, now))
        return found

    async def causes(self, queue: str, most: int, also: Collection[str] = ()) -> Causes:
        """Read the index of causes, on the thread that reads: the writer goes on."""
        now = self._clock.time()
        counted: Causes = await self._look(queue, lambda file, number: browsing.count(file, number, most, also, now))
        return counted

    async def peek_cause(
        self, queue: str, cause: str, limit: int, after: int = 0, *, newest_first: bool = False
    ) -> list[Message]:
        """Walk along the index of causes, on the thread that reads."""
        now = self._clock.time()
        peek = partial(browsing.peek, cause=cause, limit=limit, after=after, newest_first=newest_first, now=now)
        found: list[Message] = await self._look(queue, peek)
        return found

    async def _look(self, queue: str, work: Callable[[sqlite3.Connection, int], Any]) -> Any:
        """What ``work`` sees in the file, after all that was done before."""
        self._check(queue)
        number = await self._ask(Call(queue, lambda _, number: number))
        reader = self._readers.get(queue)
        reader.start()
        return await reader.read(lambda file: work(file, number))

    async def purge(self, queue: str) -> int:
        """Remove the messages that waited when the call began, in several transactions."""
        self._check(queue)
        extent: Extent = await self._ask(Call(queue, lambda store, number: store.purging.begin(number)))
        removed, is_over = 0, False
        while not is_over:
            count, is_over = await self._ask(Call(queue, lambda store, number: store.purging.run(number, extent)))
            removed += count
        return removed

    async def remove(self, queue: str, ids: Collection[str], places: Collection[str] = ()) -> int:
        """Remove some in each transaction."""
        self._check(queue)
        named, seqs, removed = list(ids), frozenset(map(number_in, places)), 0
        while named:
            part, named = named[:AT_ONCE], named[AT_ONCE:]
            removed += await self._ask(Call(queue, partial(_remove, ids=part, seqs=seqs)))
        return removed

    async def expedite(self, queue: str, ids: Collection[str]) -> int:
        """Find them by the index of ids, in one transaction."""
        self._check(queue)
        count: int = await self._ask(Call(queue, lambda store, number: store.purging.expedite(number, ids)))
        return count

    async def transfer(self, queue: str, batch: Sequence[Transfer]) -> Sequence[DriverError | None]:
        """Take out and store in one transaction for each target, after a search for messages that were not shown."""
        self._check(queue)
        transfers: Transfers[int] = Transfers(self.name, queue, batch, self._refusal)
        return await transfers.run(number_in, partial(self._find, queue), partial(self._transfer, queue))

    def _refusal(self, to: str, message: Outgoing) -> DriverError | None:
        self._check(to)
        return next(iter(self._encoded(to, (message,)).refused.values()), None)

    async def _find(self, queue: str, wanted: Collection[str]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = await self._ask(
            Call(queue, lambda store, number: store.purging.find(number, wanted))
        )
        return found

    async def _transfer(self, queue: str, to: str, found: Sequence[Found[int]]) -> list[int]:
        work = self._encoded(to, [each.message for each in found])
        leaving = [Leaving(each.place, each.id) for each in found]
        told: list[int] = await self._ask(transferring(queue, to, leaving, work))
        return told

    async def delete(self, queue: str) -> None:
        """Empty it in several transactions, then remove it; a process that still declares it makes it again."""
        self._check(queue)
        while await self._ask(Call("", lambda store, _: store.purging.shrink(queue))):
            pass
        with self._known.forgetting(queue):
            await self._ask(Call("", lambda store, _: store.queues.delete(queue)))

    async def _ask(self, request: Request) -> Any:
        return await self._guard.get(request.queue).submit(request)

    def _check(self, queue: str) -> None:
        self._guard.get(queue)
        self._known.get(queue)

    def _check_open(self, queue: str = "") -> None:
        self._guard.get(queue)


def _remove(store: Store, queue: int, ids: Collection[str], seqs: Collection[int | None]) -> int:
    return store.purging.remove(queue, ids, seqs)
