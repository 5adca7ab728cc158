"""What the errors of SQLite and of the file system mean to a caller."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tasuki.errors import AccessDeniedError, BrokerUnavailableError, DriverError, Outcome, StorageFullError

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
