"""Opening: transactions for handlers, each with the write lock of the file from its begin on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Literal

from tasuki.drivers.sqlite.file.errors import error_name, translated
from tasuki.drivers.sqlite.file.locks import turn_file
from tasuki.drivers.sqlite.within.borrowed import check_begun, check_file, raw
from tasuki.drivers.toolkit.given import check_sqlalchemy, ended_within, opened_by
from tasuki.errors import UnsupportedError

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
