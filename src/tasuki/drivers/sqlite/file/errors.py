"""Errors of SQLite and of the file system for a caller; and a publish on a full disk, refused while acks still fit."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

from tasuki.errors import AccessDeniedError, BrokerUnavailableError, DriverError, Outcome, StorageFullError

MAX_WAL_BYTES = 64 * 2**20
BALLAST_BYTES = 2**20
_SPARE_BYTES = 4 * 2**20


class DiskSpace:
    """Keeps enough of the disk free for acks: a full disk must not stop the queue from emptying.

    A publish is refused before the disk is full: the content of the log may have to move into the database, so there
    must be room for all of it. If other files fill the disk, the ballast file is given up, and nothing is published
    until it is back.
    """

    def __init__(self, database: str) -> None:
        self._database, self._folder = database, os.path.dirname(database)
        self._ballast = f"{database}.ballast"

    def admits(self, need: int, connection: sqlite3.Connection) -> bool:
        """Whether ``need`` bytes may be published; costs three system calls while there is plenty."""
        ballast = os.path.exists(self._ballast)
        if ballast and self._free() > self.log_size() + need + _SPARE_BYTES:
            return True
        self.shrink_log(connection)
        if not ballast and not self.restore():
            return False
        # What fits into free pages of the database takes room in the log only, for as long as it is there.
        growth = max(need - pages_bytes(connection, "freelist_count"), 0)
        return self._free() > need + (growth + BALLAST_BYTES if growth else 0)

    def give_up_ballast(self) -> None:
        """The disk is full: make room for acks."""
        with suppress(FileNotFoundError):
            os.unlink(self._ballast)

    def restore(self) -> bool:
        """Set the ballast aside, if that leaves some room; False: it does not."""
        if os.path.exists(self._ballast):
            return True
        if self._free() < BALLAST_BYTES * 1.5:
            return False
        file = os.open(self._ballast, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _reserve(file, BALLAST_BYTES)
        except OSError:
            self.give_up_ballast()
            return False
        finally:
            os.close(file)
        return True

    def shrink_log(self, connection: sqlite3.Connection) -> None:
        """Move the log into the database; not where it may not fit: half of it would use up the room of the acks."""
        growth = pages_bytes(connection, "page_count") - os.stat(self._database).st_size
        if self._free() >= growth:
            truncate_log(connection)

    def log_size(self) -> int:
        """Bytes of the write-ahead log."""
        try:
            return os.stat(f"{self._database}-wal").st_size
        except FileNotFoundError:
            return 0

    def is_log_long(self) -> bool:
        """Whether the log should be moved into the database."""
        return self.log_size() > MAX_WAL_BYTES

    def _free(self) -> int:
        stat = os.statvfs(self._folder)
        return stat.f_bavail * stat.f_frsize


def _reserve(file: int, size: int) -> None:
    """Take this many bytes of the disk for an empty file. Raises OSError when there are none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    while size > 0:  # macOS has no such call
        size -= os.write(file, bytes(min(size, 2**20)))


def pages_bytes(connection: sqlite3.Connection, count: Literal["page_count", "freelist_count"]) -> int:
    """Size of the database including its log, or of its unused part."""
    pages = connection.execute(f"PRAGMA {count}").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])


def truncate_log(connection: sqlite3.Connection) -> None:
    """Move the write-ahead log into the database and free its room; left for later while another connection reads."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_FULL = {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "ENOSPC", "EDQUOT"}
_BROKEN = {"SQLITE_NOTADB", "SQLITE_CORRUPT"}
_DENIED = {"SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "EACCES", "EPERM", "EROFS"}
_NO_FILE = {"EISDIR", "ENOTDIR"}
_GONE = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL", "SQLITE_NOMEM"}


@contextmanager
def translated(driver: str, path: str, outcome: Outcome = "rejected") -> Iterator[None]:
    """Raise a DriverError that names the file and the remedy for every error of SQLite or of the file system."""
    try:
        yield
    except DriverError:
        raise
    except Exception as problem:
        raise translation(problem, driver, path, outcome) from problem


def translation(problem: Exception, driver: str, path: str, outcome: Outcome) -> DriverError:
    """The DriverError for an error of SQLite or of the file system."""
    kind, text = _meaning(problem)
    # A full disk is found before anything is written: the transaction is undone, whenever that is.
    outcome = "rejected" if kind is StorageFullError else outcome
    return kind(f"SQLite file {path!r}: {text} ({problem})", driver=driver, outcome=outcome)


def _meaning(problem: Exception) -> tuple[type[DriverError], str]:
    name = error_name(problem)
    if name in _FULL:
        return StorageFullError, "the disk is full; free some space, acks still go through"
    short = "_".join(name.split("_")[:2])
    if short in _DENIED:
        return AccessDeniedError, "this user may not write there; check the owner and mode of the file and its folder"
    if short in _BROKEN:
        return DriverError, "not a readable database; move it away to start with a new one, or restore a backup"
    if short in _NO_FILE:
        return DriverError, "no file can be there; write the path of a file, such as .tasuki/queue.db"
    if short == "SQLITE_BUSY":
        return BrokerUnavailableError, "locked by another process for longer than busy_timeout"
    if short in _GONE or isinstance(problem, OSError):
        return BrokerUnavailableError, "its storage refuses to work"
    return DriverError, "SQLite refuses"


def error_name(problem: BaseException | None) -> str:
    """SQLite's symbolic name of an error, the system's for others, or an empty text."""
    if isinstance(problem, OSError):
        return errno.errorcode.get(problem.errno or 0, "")
    return str(getattr(problem, "sqlite_errorname", ""))


def must_reopen(problem: BaseException | None) -> bool:
    """Whether the connection is in doubt: after a failed fsync, only a new one sees the disk's content."""
    return error_name(problem).startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN"))
