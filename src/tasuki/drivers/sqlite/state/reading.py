"""What the verbs of a store that read ask of its tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from tasuki.contracts.state.store import Change, Entry, Page
from tasuki.drivers.toolkit.state.key_range import KeyRange, key_range
from tasuki.drivers.toolkit.state.watching import Deadlines, Watcher

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
