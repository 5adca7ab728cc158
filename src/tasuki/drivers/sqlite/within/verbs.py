"""WithinSQLite: the verbs of the driver in a transaction of the caller's: on a second connection to the same file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, ClassVar, cast

from tasuki.clock import Clock
from tasuki.contracts.driver import Answers, Driver, Outgoing, Receipt, Settlement
from tasuki.contracts.groups import settled_too_late
from tasuki.drivers.sqlite.encoding import Encoded
from tasuki.drivers.sqlite.file.errors import translated
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.sqlite.within.borrowed import Borrowed, check_begun, check_file, raw
from tasuki.drivers.sqlite.within.opening import Opening
from tasuki.drivers.toolkit.known_queues import KnownQueues
from tasuki.drivers.toolkit.results import answered_in_order, check_bounds, stored_in_order
from tasuki.errors import QueueFullError

_SWEPT = 10
"""Outdated keys that each claim removes."""
_FORGET = "DELETE FROM inbox WHERE (consumer, key) IN (SELECT consumer, key FROM inbox WHERE until <= ? LIMIT ?)"
_FIND = "SELECT coalesce(result, x'') FROM inbox WHERE consumer = ? AND key = ? AND until > ?"
_CLAIM = "INSERT OR REPLACE INTO inbox (consumer, key, until) VALUES (?, ?, ?)"
_REMEMBER = "UPDATE inbox SET result = ? WHERE consumer = ? AND key = ?"


class WithinSQLite(Driver):
    """They run in the caller's thread: the connection is bound to it."""

    one_writer: ClassVar[float | None] = 0.1
    _path: str
    _clock: Clock
    _opening: Opening

    @abstractmethod
    def _check(self, queue: str) -> None: ...
    @abstractmethod
    def _check_open(self, queue: str = "") -> None: ...
    @abstractmethod
    def _encoded(self, queue: str, batch: Sequence[Outgoing]) -> Encoded: ...
    @abstractmethod
    def _full(self, queue: str) -> QueueFullError: ...

    async def publish_within(self, connection: Any, queue: str, batch: Sequence[Outgoing]) -> Answers:
        """Store the messages for which there is room."""
        self._check(queue)
        is_unique = check_bounds(batch, driver=self.name, queue=queue, unique=self.capabilities.unique)
        work = self._encoded(queue, batch)
        if not work.rows:
            return stored_in_order(len(batch), 0, work.refused, self._full(queue)) if batch else ()
        with self._store(connection) as store:
            number = store.queues.find(queue)
            if is_unique:
                answers = store.uniques.publish(store, number, work)
                store.save()
                return answered_in_order(len(batch), answers, work.refused, self._full(queue))
            stored = store.publish(number, work.rows, work.delays, work.always, work.lanes)
            store.save()
        if stored == len(batch):
            return ()
        return stored_in_order(len(batch), stored, work.refused, self._full(queue))

    async def hold_within(self, connection: Any, queue: str, batch: Sequence[Receipt], *, settles: bool = True) -> None:
        """Look whether they are held: the write lock is ours, so no other process changes that."""
        self._check_open(queue)
        if settles:
            return
        with self._store(connection) as store:
            number = store.queues.find_held(queue)
            is_stale = not all(store.is_held(number, each) for each in batch)
            store.save()
        if is_stale:
            raise settled_too_late(self.name, queue)

    async def settle_within(self, connection: Any, queue: str, batch: Sequence[Settlement]) -> None:
        """End deliveries; a stale receipt rolls the caller's transaction back."""
        self._check_open(queue)
        if not batch:
            return
        with self._store(connection) as store:
            if not store.settle(store.queues.find_held(queue), batch):
                store.save()
                return
            raw(connection).execute("ROLLBACK")
        raise settled_too_late(self.name, queue)

    async def claim_within(self, connection: Any, consumer: str, key: str, ttl: float) -> bytes | None:
        """Look for the row of the key, and insert it: the write lock is ours."""
        self._check_open()
        now = self._clock.time()
        with self._store(connection) as store:
            execute = store.connection.execute
            if found := execute(_FIND, (consumer, key, now)).fetchone():
                return bytes(found[0])
            execute(_FORGET, (now, _SWEPT))
            execute(_CLAIM, (consumer, key, now + ttl))
            return None

    async def remember_within(self, connection: Any, consumer: str, key: str, result: bytes) -> None:
        """Update the row of the key."""
        self._check_open()
        with self._store(connection) as store:
            store.connection.execute(_REMEMBER, (result, consumer, key))

    def transaction(self, connection: Any = None, *, sync: bool = False) -> AbstractAsyncContextManager[Any]:
        """With the only write lock of the file; a connection of sqlite3, or the caller's."""
        self._check_open()
        return self._opening.transaction(connection, sync=sync)

    @contextmanager
    def _store(self, connection: Any) -> Iterator[Store]:
        """The view of the caller's connection, for one verb. It makes no queue."""
        behind = raw(connection)
        with translated(self.name, self._path):
            if behind is not connection and not behind.in_transaction:  # SQLAlchemy begins with the first change
                behind.execute("BEGIN IMMEDIATE")
            check_begun(behind)
            check_file(behind, self._path)
            yield Store(cast("Any", Borrowed(behind)), self.name, self._clock, 0, KnownQueues(self.name))
