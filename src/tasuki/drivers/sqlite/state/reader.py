"""The thread that reads: gets and lists of stores, and what their watches tell, on a connection that cannot write.

So a long list holds up neither the event loop nor the writer.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from urllib.parse import quote

from tasuki.clock import Clock
from tasuki.contracts.state.store import Change, Entry, Page
from tasuki.drivers.sqlite.file import connections, errors
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.thread.requests import Request, answer
from tasuki.drivers.toolkit.guard import not_open
from tasuki.drivers.toolkit.stores import Deadlines, KeyRange, Watcher, key_range
from tasuki.errors import BrokerUnavailableError, DriverError
from tasuki.system.threads import HelperThread

MAX_PAGE_BYTES = 16 * 2**20
"""A page ends after this many bytes of values, so that memory stays bounded."""
_GET = """
    SELECT value, version FROM store_entries WHERE store = ? AND key = ? AND (expires IS NULL OR expires > ?)
"""

_LIST = """
    SELECT key, value, version FROM store_entries
    WHERE store = :store AND key >= :low AND (:high = '' OR key < :high) AND (expires IS NULL OR expires > :now)
    ORDER BY key LIMIT :limit
"""

_ALL = """
    SELECT key, value, version, expires FROM store_entries
    WHERE store = :store AND key >= :low AND (:high = '' OR key < :high) AND (expires IS NULL OR expires > :now)
"""

# By the number of the row: the index by key would be read from one end of the prefix to the other.
_PUT_SINCE = """
    SELECT key, value, version, expires FROM store_entries NOT INDEXED
    WHERE version > :version AND store = :store AND key >= :low AND (:high = '' OR key < :high) ORDER BY version
"""

_REMOVED_SINCE = "SELECT store, key, version FROM store_removals WHERE number > ? ORDER BY number"

_EXPIRED_SINCE = """
    SELECT key, version FROM store_entries INDEXED BY store_entries_expires
    WHERE expires > :since AND expires <= :now AND store = :store AND key >= :low AND (:high = '' OR key < :high)
"""

_NUMBER = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0)"


def get(connection: sqlite3.Connection, store: str, key: str, now: float) -> Entry | None:
    """The entry of a key."""
    row = connection.execute(_GET, (store, key, now)).fetchone()
    return None if row is None else Entry(key, *row)


def page(connection: sqlite3.Connection, store: str, keys: KeyRange, limit: int, now: float) -> Page:
    """At most ``limit`` entries; fewer where they are very large."""
    found: list[Entry] = []
    size = 0
    for entry in _entries(connection, store, keys, limit + 1, now):
        if len(found) == limit or (found and size + len(entry.value) > MAX_PAGE_BYTES):
            return Page(found, found[-1].key)
        found.append(entry)
        size += len(entry.value)
    return Page(found, "")


def _entries(connection: sqlite3.Connection, store: str, keys: KeyRange, limit: int, now: float) -> Iterator[Entry]:
    wanted = {"store": store, "low": keys.low, "high": keys.high, "now": now, "limit": limit}
    return (Entry(*row) for row in connection.execute(_LIST, wanted))


class StoreWatch:
    """Tells a watcher what changes in the file: which changes it knows, by the numbers of the rows."""

    def __init__(self, store: str, watcher: Watcher) -> None:
        self.store = store
        self.watcher = watcher
        self.is_over = False
        self._keys = key_range(watcher.prefix)
        self._version = -1
        self._removal = -1
        self._schema = -1
        self._at = 0.0
        self._deadlines = Deadlines()

    def is_due(self, now: float) -> bool:
        """Whether there may be something to tell though the file is the same: a key expires, or all entries are due."""
        return self._version < 0 or now < self._at or now >= self._deadlines.next

    def look(self, connection: sqlite3.Connection, now: float, *, is_changed: bool) -> None:
        """Tell what has changed; the caller has a transaction open, so that all is read at one moment.

        ``is_changed``: the file may have; without it, keys can only expire.
        """
        if self._keys is None:
            self.watcher.tell_all(())
        elif self._version < 0 or now < self._at:
            self._tell_all(connection, self._keys, now)
        else:
            if is_changed and not self._tell_changes(connection, self._keys, now):
                self._tell_all(connection, self._keys, now)
            for key, version in connection.execute(_EXPIRED_SINCE, {**self._wanted(self._keys), "now": now}):
                self.watcher.tell(Change(key, None, version))
            self._deadlines.due(now)
        self._at = now

    def has_reconnected(self) -> None:
        """Let the next check tell all entries."""
        self._version = -1

    def _tell_all(self, connection: sqlite3.Connection, keys: KeyRange, now: float) -> None:
        """Tell all entries: at first, and where changes may have been missed."""
        self._version, self._removal = _number(connection, "store_entries"), _number(connection, "store_removals")
        self._schema = _schema(connection)
        self._deadlines = Deadlines()
        entries: list[Entry] = []
        for *entry, expires in connection.execute(_ALL, {**self._wanted(keys), "now": now}):
            entries.append(Entry(*entry))
            self._deadlines.set(entries[-1].key, expires)
        self.watcher.tell_all(entries)

    def _tell_changes(self, connection: sqlite3.Connection, keys: KeyRange, now: float) -> bool:
        """Tell removals and puts; False: some removals are not to be found any more."""
        newest = _number(connection, "store_removals")
        if _schema(connection) != self._schema:
            return False  # the file was put back to an earlier state
        removals = connection.execute(_REMOVED_SINCE, (self._removal,)).fetchall()
        if len(removals) != newest - self._removal:
            return False
        for store, key, version in removals:
            if store == self.store:
                self.watcher.tell(Change(key, None, version))
        self._removal = newest
        wanted = {**self._wanted(keys), "version": self._version, "now": now}
        for key, value, version, expires in connection.execute(_PUT_SINCE, wanted):
            is_expired = expires is not None and expires <= now
            self.watcher.tell(Change(key, None if is_expired else value, version))
            self._deadlines.set(key, None if is_expired else expires)
        self._version = _number(connection, "store_entries")
        return True

    def _wanted(self, keys: KeyRange) -> dict[str, object]:
        return {"store": self.store, "low": keys.low, "high": keys.high, "since": self._at}


def _schema(connection: sqlite3.Connection) -> int:
    """A number that no write of ours changes. SQLite raises it when a backup is written into the file (backup.c).

    The numbers of rows do not show that: with the next write they may be as high as before.
    """
    return int(connection.execute("PRAGMA schema_version").fetchone()[0])


def _number(connection: sqlite3.Connection, table: str) -> int:
    """The last number that a row of the table got."""
    return int(connection.execute(_NUMBER, (table,)).fetchone()[0])


LOOK = 0.2
"""Seconds between two checks for changes of other processes, while there is a watch."""

_PAUSE = 0.005
"""Seconds between two checks at least, however much this process writes."""
_GROUP = 100
"""Most requests that are answered together."""
T = TypeVar("T")

Read = Callable[[sqlite3.Connection], T]


class FileMissingError(BrokerUnavailableError):
    """The database file is not where it was; the writer makes it again."""


class _Reading(Request):
    """Something to read."""

    def __init__(self, driver: str, work: Read[Any] | None = None) -> None:
        super().__init__()
        self.work = work
        """None: end the thread."""
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.future = self.answer
        self.error = DriverError("the thread that reads failed", driver=driver)  # until it is read


class Reader:
    """Serves the stores of one open driver; the first store starts its thread, and the first read opens the file."""

    def __init__(self, driver: str, path: str, settings: SQLiteSettings, clock: Clock) -> None:
        self._driver = driver
        self._path = path
        self._timeout = settings.busy_timeout
        self._clock = clock
        self._requests: SimpleQueue[_Reading | None] = SimpleQueue()
        self._entrance = threading.Lock()
        self._is_closed = False
        self._helper: HelperThread | None = None
        self._watches: list[StoreWatch] = []
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        self._seen_version = -1
        self._looked_at = self._look_at = 0.0
        self.at_work = threading.Lock()

    # Called from event loops.

    def start(self) -> None:
        """Start the thread, once. Raises BrokerUnavailableError without one."""
        with self._entrance:
            if self._helper is not None:
                return
            helper = HelperThread(f"tasuki-sqlite-{self._driver}-reader", self._run)
            try:
                helper.start()
            except RuntimeError as error:
                problem = f"cannot start the thread that reads: {error}"
                raise BrokerUnavailableError(problem, driver=self._driver) from error
            self._helper = helper

    async def read(self, work: Read[T]) -> T:
        """What ``work`` gives on the thread. Raises DriverError."""
        request = _Reading(self._driver, work)
        with self._entrance:
            if self._is_closed:
                raise not_open(self._driver)
            self._requests.put(request)
        result: T = await request.answer
        return result

    async def watch(self, watch: StoreWatch) -> None:
        """Tell its watcher all entries, then what changes."""

        def begin(connection: sqlite3.Connection) -> None:
            self._look(connection, watch, is_changed=True)
            self._watches.append(watch)
            if watch.is_over:  # its reader was cancelled meanwhile
                self.forget(watch)
            self._look_at = min(self._look_at, time.monotonic() + LOOK)

        await self.read(begin)

    def forget(self, watch: StoreWatch) -> None:
        """Tell it no more."""
        watch.is_over = True
        with suppress(ValueError):
            self._watches.remove(watch)

    def notify(self) -> None:
        """This process has changed something: let the watches know without delay."""
        if self._watches:
            self._requests.put(None)

    async def stop(self) -> None:
        """End the watches, close the file, end the thread. Idempotent."""
        for watch in list(self._watches):
            watch.watcher.end()
        stop = _Reading(self._driver)
        with self._entrance:
            is_first, self._is_closed = not self._is_closed, True
            if self._helper is None or not is_first:
                return
            self._requests.put(stop)
        await stop.answer

    def forget_parent(self) -> sqlite3.Connection | None:
        """In a forked child: the parent's connection, untouched."""
        return self._connection

    # Called from the thread that writes.

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Have no connection for the time of the block: the next read opens one.

        One that has opened a replaced file with the log of the old one would keep that log alive in this process.
        """
        with self.at_work:
            self._disconnect()
            yield

    # The thread.

    def _run(self, helper: HelperThread) -> None:
        is_over = False
        while not is_over:
            group = self._next()
            try:
                with self.at_work:
                    for request in group:
                        self._serve(request)
                    if self._watches and time.monotonic() >= self._look_at:
                        self._look_all()
                helper.works()
            finally:
                is_over = any(request.work is None for request in group)
                answer(group, lambda _: None)

    def _next(self) -> list[_Reading]:
        """The waiting requests; none: it is time to look for changes."""
        group: list[_Reading] = []
        try:
            wait = max(self._look_at - time.monotonic(), 0.0) if self._watches else None
            self._add(group, self._requests.get(timeout=wait))
            while len(group) < _GROUP:
                self._add(group, self._requests.get_nowait())
        except Empty:
            pass
        return group

    def _add(self, group: list[_Reading], request: _Reading | None) -> None:
        if request is not None:
            group.append(request)
        else:
            self._look_at = min(self._look_at, self._looked_at + _PAUSE)

    def _serve(self, request: _Reading) -> None:
        try:
            with self._failing():
                if request.work is None:
                    self._disconnect()
                else:
                    request.result = request.work(self._connected())
            request.error = None
        except DriverError as error:
            request.error = error

    def _look_all(self) -> None:
        with suppress(DriverError), self._failing():  # then again
            connection = self._connected()
            version = connection.execute("PRAGMA data_version").fetchone()[0]
            is_changed, self._seen_version = version != self._seen_version, version
            for watch in list(self._watches):
                self._look(connection, watch, is_changed=is_changed)
        self._looked_at = time.monotonic()
        self._look_at = self._looked_at + LOOK

    def _look(self, connection: sqlite3.Connection, watch: StoreWatch, *, is_changed: bool) -> None:
        now = self._clock.time()
        if not is_changed and not watch.is_due(now):
            return
        connection.execute("BEGIN")
        try:
            watch.look(connection, now, is_changed=is_changed)
        finally:
            connections.has_rolled_back(connection)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            with errors.translated(self._driver, self._path):
                yield
        except DriverError:
            self._disconnect()  # a new connection sees the disk's content
            raise

    def _connected(self) -> sqlite3.Connection:
        """The connection; another one where the file is another."""
        identity = connections.identity(self._path)
        if self._connection is not None and identity == self._identity:
            return self._connection
        self._disconnect()
        if identity == (0, 0):
            problem = f"SQLite file {self._path!r} was removed while it was open; it will be made again"
            raise FileMissingError(problem, driver=self._driver)
        # A forked child, where this thread is not, closes it in another.
        self._connection = sqlite3.connect(
            f"file:{quote(self._path)}?mode=ro",
            uri=True,
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        self._identity, self._seen_version = identity, -1
        for watch in list(self._watches):
            watch.has_reconnected()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connections.close(connection)
