"""What the verbs of a store that write do to its tables, inside the transaction of a group: no threads, no waiting."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from tasuki.contracts.state.store import Grant
from tasuki.drivers.toolkit import limits
from tasuki.drivers.toolkit.limits import Bucket

KEPT = 60.0
"""Seconds for which a removal is kept for watches; one that has missed more lists all keys again."""
SWEPT = 1000
"""Most rows of a table that one sweep removes, so that it does not hold up the group."""
_SWEPT_BY_PUT = 2
"""The same for a put with a ttl: so expired rows never become more than the living ones for long."""

_VERSION = "SELECT version, expires FROM store_entries WHERE store = ? AND key = ?"
# A version is a time in microseconds, or the last version and 1 where that is more: so the versions rise also after the
# file was put back to an earlier state, and no version comes again.
_PUT = """
    INSERT OR REPLACE INTO store_entries (version, store, key, value, expires)
    VALUES (max(?, 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'store_entries'), 0)), ?, ?, ?, ?)
"""
_REMOVED = "INSERT INTO store_removals (store, key, version, at) VALUES (?, ?, ?, ?)"
_EXPIRED = """
    DELETE FROM store_entries WHERE version IN
        (SELECT version FROM store_entries WHERE expires <= ? ORDER BY expires LIMIT ?)
    RETURNING store, key, version
"""
_FORGET_REMOVALS = """
    DELETE FROM store_removals WHERE number IN (SELECT number FROM store_removals ORDER BY number LIMIT ?) AND at < ?
"""
_FORGET_BUCKETS = """
    DELETE FROM store_buckets WHERE (store, key) IN
        (SELECT store, key FROM store_buckets WHERE full_at <= ? ORDER BY full_at LIMIT ?)
"""
_FORGET_PLACES = """
    DELETE FROM store_places WHERE (store, key, holder) IN
        (SELECT store, key, holder FROM store_places WHERE until <= ? ORDER BY until LIMIT ?)
"""
_BUCKET = "SELECT level, at, rate, burst, top FROM store_buckets WHERE store = ? AND key = ?"
_KEEP_BUCKET = """
    INSERT OR REPLACE INTO store_buckets (store, key, level, at, rate, burst, top, full_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_END_PLACES = "DELETE FROM store_places WHERE store = ? AND key = ? AND until <= ?"
_HOLDERS = "SELECT count(*), coalesce(max(holder = ?), 0) FROM store_places WHERE store = ? AND key = ?"
_HOLD = "INSERT OR REPLACE INTO store_places (store, key, holder, until) VALUES (?, ?, ?, ?)"
_RELEASE = "DELETE FROM store_places WHERE store = ? AND key = ? AND holder = ?"


class VersionConflict(int):
    """The answer to a conditional write on another version: the version that the key has, 0 if it is absent."""


class StoreTables:
    """One connection's view of one store, at one time (Unix seconds)."""

    def __init__(self, connection: sqlite3.Connection, store: str, now: float) -> None:
        self._connection = connection
        self._execute = connection.execute
        self._store = store
        self._now = now

    def put(self, key: str, value: bytes, ttl: float | None, expected: int | None) -> int:
        """Write; returns the new version, or a VersionConflict."""
        if expected is not None:
            found = self._version(key)
            if found != expected:
                return VersionConflict(found)
        if ttl is not None:
            sweep_entries(self._connection, self._now, _SWEPT_BY_PUT)
        expires = None if ttl is None else self._now + ttl
        return int(self._execute(_PUT, (self._version_now, self._store, key, value, expires)).lastrowid or 0)

    def put_all(self, entries: Sequence[tuple[str, bytes]], ttl: float | None) -> None:
        """Write all."""
        if ttl is not None:
            sweep_entries(self._connection, self._now, _SWEPT_BY_PUT * len(entries))
        expires = None if ttl is None else self._now + ttl
        rows = [(self._version_now, self._store, key, value, expires) for key, value in entries]
        self._connection.executemany(_PUT, rows)

    @property
    def _version_now(self) -> int:
        return int(self._now * 1_000_000)

    def delete(self, key: str, expected: int | None) -> bool | VersionConflict:
        """Remove; returns whether the key was there, or a VersionConflict."""
        found = self._version(key)
        if expected is not None and found != expected:
            return VersionConflict(found)
        if found:
            self._execute("DELETE FROM store_entries WHERE version = ?", (found,))
            self._execute(_REMOVED, (self._store, key, found, self._now))
        return found > 0

    def _version(self, key: str) -> int:
        """The version of a key; 0: it is absent, or has expired."""
        row = self._execute(_VERSION, (self._store, key)).fetchone()
        return 0 if row is None or (row[1] is not None and row[1] <= self._now) else int(row[0])

    def take(self, key: str, tokens: int, rate: float, burst: int) -> Grant:
        """Take tokens of a bucket."""
        grant, left = limits.take(self._bucket(key, rate, burst), tokens)
        self._keep(key, left)
        return grant

    def give(self, key: str, tokens: int, rate: float, burst: int) -> None:
        """Return tokens to a bucket."""
        self._keep(key, limits.give(self._bucket(key, rate, burst), tokens))

    def _bucket(self, key: str, rate: float, burst: int) -> Bucket:
        row = self._execute(_BUCKET, (self._store, key)).fetchone()
        return limits.at(None if row is None else Bucket(*row), self._now, rate, burst)

    def _keep(self, key: str, bucket: Bucket) -> None:
        self._execute(_KEEP_BUCKET, (self._store, key, *bucket, bucket.full_at))

    def hold(self, key: str, holder: str, places: int, lease: float) -> float | None:
        """Take or renew a place; returns when the lease ends, None: all places are taken."""
        self._execute(_END_PLACES, (self._store, key, self._now))
        count, is_held = self._execute(_HOLDERS, (holder, self._store, key)).fetchone()
        if not is_held and count >= places:
            return None
        until = self._now + lease
        self._execute(_HOLD, (self._store, key, holder, until))
        return until

    def release(self, key: str, holder: str) -> None:
        """Free the place of a holder."""
        self._execute(_RELEASE, (self._store, key, holder))


def sweep_entries(connection: sqlite3.Connection, now: float, most: int) -> None:
    """Remove expired entries of all stores, and note them for the watches."""
    gone = connection.execute(_EXPIRED, (now, most)).fetchall()
    if gone:
        connection.executemany(_REMOVED, [(*row, now) for row in gone])


def sweep(connection: sqlite3.Connection, now: float) -> None:
    """Remove a bounded number of expired entries, full buckets, ended places and old removals, of all stores."""
    sweep_entries(connection, now, SWEPT)
    connection.execute(_FORGET_BUCKETS, (now, SWEPT))
    connection.execute(_FORGET_PLACES, (now, SWEPT))
    connection.execute(_FORGET_REMOVALS, (SWEPT, now - KEPT))
