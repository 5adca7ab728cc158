"""The file as one driver has it open: the connection, made again where it is in doubt, and room for it on the disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress

from tasuki.clock import Clock
from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqlite.file import connections, errors
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.store.store import Store
from tasuki.drivers.toolkit.guard import KnownQueues
from tasuki.errors import BrokerUnavailableError, DriverError, Outcome


class Failing:
    """Gives ``fail`` each error of its block. A generator would cost each turn of the writer 27 calls more."""

    def __init__(self, fail: Callable[[Exception, Outcome], None], outcome: Outcome) -> None:
        self._fail, self._outcome = fail, outcome

    def __enter__(self) -> None:
        """Nothing has failed yet."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            self._fail(error, self._outcome)


class Database:
    """Belongs to the writer's thread; nothing is opened before it is needed.

    Args:
        driver: its name, for errors.
        path: of the file.
        settings: how it is written, and how long to wait for the lock of another process.
        clock: the time.
        known: the queues of this process.
    """

    store: Store
    """The view of the newest connection."""
    on_connect: Callable[[], None]
    """Called after each new connection, before its first transaction."""

    def __init__(
        self, driver: str, path: str, settings: SQLiteSettings, clock: Clock, known: KnownQueues[QueueSpec]
    ) -> None:
        self._driver = driver
        self.path = path
        self._settings = settings
        self._clock = clock
        self._known = known
        self.folder = connections.HolderLocks(path)
        self.connection: sqlite3.Connection | None = None
        self.holder = 0
        """The number of this connection among those that hold messages."""
        self.room = errors.DiskSpace(path)
        self.failing: Mapping[Outcome, Failing] = {
            "rejected": Failing(self.fail, "rejected"),
            "unknown": Failing(self.fail, "unknown"),
        }
        """By the outcome of what fails: undoes the transaction and translates the error."""
        self.alone: Callable[[], AbstractContextManager[object]] = nullcontext
        """While it is entered, this process has no other connection to the file."""
        self._identity = self._log_identity = (0, 0)
        self._log_head, self._log_written = b"", 0
        """Of the last connection, as ``drop_log`` takes them."""

    def fail(self, error: Exception, outcome: Outcome) -> None:
        """Undo the transaction, and raise the error as a DriverError if it is none.

        After some errors only a new connection can be trusted.
        """
        if isinstance(error, DriverError):
            self._undo(error.__cause__)
            return
        self._undo(error)
        raise errors.translation(error, self._driver, self.path, outcome) from error

    def _undo(self, cause: BaseException | None) -> None:
        """Undo the transaction that failed for this cause."""
        if self.connection is not None:
            self.store.undo()
            if errors.must_reopen(cause) or not connections.has_rolled_back(self.connection):
                self.disconnect()

    def connected(self) -> sqlite3.Connection:
        """The connection, opened if there is none."""
        if self.connection is not None:
            return self.connection
        self.folder.enter()
        self.folder.wait_turn(self._settings.busy_timeout)
        try:
            connection, self.holder = self._connect()
        finally:
            self.folder.pass_turn()
        self.connection = connection
        self._identity = connections.identity(self.path)
        self._log_identity = connections.identity(connections.log_of(self.path))
        self.store = Store(connection, self._driver, self._clock, self.holder, self._known)
        self.on_connect()
        self.room.restore()
        return connection

    def _connect(self) -> tuple[sqlite3.Connection, int]:
        if connections.identity(self.path) == self._identity:
            return connections.connect(self._driver, self.path, self._settings, self.folder.name)
        with self.alone():
            connections.drop_log(self._driver, self.path, self._log_head, self._log_written)
            return connections.connect(self._driver, self.path, self._settings, self.folder.name)

    def begin(self) -> sqlite3.Connection:
        """Begin a transaction with the write lock, within ``busy_timeout``.

        Raises:
            BrokerUnavailableError: the file was removed or replaced; this connection is closed.
        """
        connection = self.connected()
        self._check_file("rejected")
        connections.begin(connection, self.folder, self._settings.busy_timeout)
        self._check_file("rejected")  # it may have been replaced while this waited for its turn
        return connection

    def commit(self) -> None:
        """Commit the transaction, to the file that has the path now.

        Raises:
            BrokerUnavailableError: the file was removed or replaced before the commit was done.
        """
        assert self.connection is not None
        self.connection.execute("COMMIT")
        self._check_file("unknown", has_written=True)  # a commit to a file without a name would be lost with it

    def check_holder(self) -> None:
        """After another process's commit: the file may have an earlier state (``.restore`` of SQLite's shell).

        Raises:
            BrokerUnavailableError: the file does not know this connection; it is closed.
        """
        assert self.connection is not None
        sql = "SELECT 1 FROM holders WHERE holder = ? AND name = ?"
        if self.connection.execute(sql, (self.holder, self.folder.name)).fetchone() is None:
            self._reopen(f"SQLite file {self.path!r} was put back to an earlier state", "rejected")

    def _check_file(self, outcome: Outcome, *, has_written: bool = False) -> None:
        if connections.identity(self.path) != self._identity:
            self._log_written = connections.written_at(connections.log_of(self.path)) if has_written else 0
            self._reopen(f"SQLite file {self.path!r} was removed or replaced while it was open", outcome)

    def _reopen(self, problem: str, outcome: Outcome) -> None:
        self.store.undo()
        self.disconnect()
        raise BrokerUnavailableError(f"{problem}; it will be opened again", driver=self._driver, outcome=outcome)

    def make_room(self) -> None:
        """The disk is full: leave what there is to acks."""
        self.room.give_up_ballast()
        if self.connection is not None:
            self.room.shrink_log(self.connection)

    def disconnect(self) -> None:
        """Close the connection; the next one sees the disk's content."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self._log_head = b""
            # Known for certain while it is open: the inode of a file that is closed may be another file's.
            with suppress(OSError):
                log = connections.log_of(self.path)
                self._log_head = connections.head_of(log) if connections.identity(log) == self._log_identity else b""
            connections.close(connection)
