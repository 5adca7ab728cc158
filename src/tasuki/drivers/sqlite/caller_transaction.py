"""Transactions of callers: opened with the write lock of the file, and the verbs on a connection of the caller's."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, ClassVar, Literal, cast

from tasuki.clock import Clock
from tasuki.contracts.driver import Answers, Driver, Outgoing, Receipt, Settlement
from tasuki.contracts.groups import settled_too_late
from tasuki.drivers.sqlite.file.connections import turn_file
from tasuki.drivers.sqlite.file.errors import error_name, translated
from tasuki.drivers.sqlite.store.statements import Encoded
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.toolkit.given import check_sqlalchemy, ended_within, opened_by
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.drivers.toolkit.results import answered_in_order, check_bounds, stored_in_order
from tasuki.errors import QueueFullError, UnsupportedError

KNOWN = "a connection of sqlite3, or a synchronous connection or session of SQLAlchemy"


class Borrowed:
    """The two methods that the store needs, whatever the caller has set for the rows of its own statements."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        """See sqlite3."""
        return self._cursor().execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> sqlite3.Cursor:
        """See sqlite3."""
        return self._cursor().executemany(sql, rows)

    def _cursor(self) -> sqlite3.Cursor:
        cursor = sqlite3.Cursor(self._connection)
        cursor.row_factory = None
        return cursor


def raw(connection: Any) -> sqlite3.Connection:
    """The connection of sqlite3 behind one of the caller's. Raises UnsupportedError: it is none of those."""
    if isinstance(connection, sqlite3.Connection):
        return connection
    packages = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    if "sqlalchemy" in packages and not hasattr(connection, "run_sync"):
        found = connection.connection
        if callable(found):  # of a session
            found = found().connection
        if isinstance(found.dbapi_connection, sqlite3.Connection):
            return found.dbapi_connection
    name = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise UnsupportedError(f"cannot work in a transaction of a {name}: give {KNOWN}")


def check_file(connection: sqlite3.Connection, path: str) -> None:
    """Raise UnsupportedError unless the connection has the driver's file open, and no other.

    A commit over two files is not atomic with a write-ahead log: after a power failure one of them may lack it.
    """
    cursor = sqlite3.Cursor(connection)
    cursor.row_factory = None
    files = {str(name): str(file) for _, name, file in cursor.execute("PRAGMA database_list")}
    if not _is_same(files.get("main", ""), path):
        shown = files.get("main") or "a database in memory"
        raise UnsupportedError(
            f"the connection is to {shown!r}, and the queue is in {path!r}: one transaction cannot cover both; keep "
            "the rows of its handlers in the file of the queue"
        )
    if others := sorted(set(files) - {"main", "temp"}):
        raise UnsupportedError(
            f"the connection has other files attached ({', '.join(others)}): a commit over two files is not one step "
            "after a power failure; detach them"
        )


def check_begun(connection: sqlite3.Connection) -> None:
    """Raise UnsupportedError unless a transaction is open."""
    if not connection.in_transaction:
        remedy = "connection.execute('BEGIN IMMEDIATE')"
        raise UnsupportedError(f"the connection is in no transaction, so there is nothing to work in: {remedy}")


def _is_same(file: str, path: str) -> bool:
    try:
        return bool(file) and os.path.samefile(file, path)
    except OSError:
        return False


_FIRST_PAUSE, _LONGEST_PAUSE = 0.0005, 0.005
"""Seconds between two attempts to get the lock."""

_MARK = "tasuki_transaction"
"""The savepoint at the begin of each transaction."""

_PATIENCE = 0.25
"""Seconds after which it does without its turn: a stopped process may have it."""


class Opening:
    """Of one driver.

    Args:
        driver: its name, for errors.
        path: of the file.
        synchronous: as in the driver's settings.
        timeout: seconds to wait for the lock.
    """

    def __init__(self, driver: str, path: str, synchronous: str, timeout: float) -> None:
        self._driver = driver
        self._path = path
        self._synchronous = synchronous
        self._timeout = timeout

    @asynccontextmanager
    async def transaction(self, connection: Any, *, sync: bool) -> AsyncIterator[Any]:
        """See ``Driver.transaction``."""
        if connection is None:
            block = self._own(sync=sync)
        elif callable(connection) and not isinstance(connection, sqlite3.Connection):
            block = self._opened_by(connection)
        else:
            block = self._given(connection, sync=sync)
        async with block as opened:
            yield opened
        with suppress(OSError):  # a process that misses the wake-up finds the commit with its next sweep
            os.utime(turn_file(self._path))

    @asynccontextmanager
    async def _own(self, *, sync: bool) -> AsyncIterator[sqlite3.Connection]:
        with translated(self._driver, self._path):
            connection = sqlite3.connect(self._path, timeout=0.0, isolation_level=None)
        try:
            with translated(self._driver, self._path):
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                connection.execute(f"PRAGMA fullfsync = {int(self._synchronous == 'full')}")
            async with self._committed(connection, connection, sync=sync):
                yield connection
        finally:
            connection.close()

    @asynccontextmanager
    async def _opened_by(self, opener: Callable[[], Any]) -> AsyncIterator[Any]:
        async with opened_by(opener) as opened:
            behind = raw(opened)
            if behind is opened:
                check_begun(behind)
            else:  # of SQLAlchemy, which begins with the first change
                check_sqlalchemy(opened)
            check_file(behind, self._path)
            yield opened

    @asynccontextmanager
    async def _given(self, connection: Any, *, sync: bool) -> AsyncIterator[Any]:
        behind = raw(connection)
        if behind.in_transaction:
            raise UnsupportedError(
                "the connection is in a transaction already, which may have read before it could write: give one that "
                "is in none, and let context.transaction begin and commit it"
            )
        check_file(behind, self._path)
        async with self._committed(behind, connection, sync=sync):
            yield connection

    @asynccontextmanager
    async def _committed(self, behind: sqlite3.Connection, owner: Any, *, sync: bool) -> AsyncIterator[None]:
        with translated(self._driver, self._path):
            await self._begin(behind, sync=sync)
            behind.execute(f"SAVEPOINT {_MARK}")
        try:
            try:
                yield
            except UnsupportedError as error:
                if not behind.in_transaction:
                    raise ended_within() from error
                raise
            _check_mark(behind)
            with translated(self._driver, self._path, "unknown"):
                _end(behind, owner, "commit")
        except BaseException:
            with suppress(sqlite3.Error):
                _end(behind, owner, "rollback")
            raise

    async def _begin(self, connection: sqlite3.Connection, *, sync: bool) -> None:
        """Begin with the lock in hand. Another writer of this process or another one is waited for in turn."""
        waited, pause = 0.0, _FIRST_PAUSE
        with _Turn(self._path).taken() as turn:
            while True:
                is_last = waited >= self._timeout
                if (turn.is_mine or waited > _PATIENCE) and _has_begun(connection, is_last=is_last):
                    return
                if sync:
                    time.sleep(pause)  # noqa: ASYNC251 - no event loop runs in this thread
                else:
                    await asyncio.sleep(pause)
                waited, pause = waited + pause, min(pause * 1.5, _LONGEST_PAUSE)
                turn.take()


def _check_mark(behind: sqlite3.Connection) -> None:
    """Raise HandlerError unless the transaction is the one that was begun: a commit or rollback ends its savepoints."""
    try:
        behind.execute(f"RELEASE {_MARK}")
    except sqlite3.Error as error:
        raise ended_within() from error


def _end(behind: sqlite3.Connection, owner: Any, how: Literal["commit", "rollback"]) -> None:
    """By the owner's own method, or, for sqlite3, by a statement: its methods do nothing with ``autocommit``."""
    if owner is not behind:
        getattr(owner, how)()
    elif behind.in_transaction:
        behind.execute(how)


def _has_begun(connection: sqlite3.Connection, *, is_last: bool) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as problem:
        if is_last or not error_name(problem).startswith("SQLITE_BUSY"):
            raise
        return False
    return True


class _Turn:
    """The turn of the writers, by its own descriptor; see ``HolderLocks``."""

    def __init__(self, path: str) -> None:
        self._path = turn_file(path)
        self._file = -1
        self.is_mine = False

    @contextmanager
    def taken(self) -> Iterator[_Turn]:
        """Try to take it; it is passed on at the end of the block."""
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.take()
            yield self
        finally:
            os.close(self._file)

    def take(self) -> None:
        """Try again."""
        if self.is_mine:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        self.is_mine = True


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
