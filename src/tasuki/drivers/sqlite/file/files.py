"""The files of a queue: database, holders' locks and ballast, and what their errors mean."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from tasuki.drivers.sqlite.schema.schema import migrate
from tasuki.errors import AccessDeniedError, BrokerUnavailableError, DriverError, Outcome, QueueFullError

MAX_WAL_BYTES = 64 * 2**20
BALLAST_BYTES = 2**20
_STEP = 0.01
_PATIENCE = 0.25
"""Seconds after which a writer does without its turn: a stopped process may have it."""
_SPARE_BYTES = 4 * 2**20
_FULL = {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "ENOSPC", "EDQUOT"}
_BROKEN = {"SQLITE_NOTADB", "SQLITE_CORRUPT"}
_DENIED = {"SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "EACCES", "EPERM", "EROFS"}
_GONE = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL", "SQLITE_NOMEM"}


@contextmanager
def translated(driver: str, path: str, outcome: Outcome = "rejected") -> Iterator[None]:
    """Raise a DriverError that names the file and the remedy for every error of SQLite or of the file system."""
    try:
        yield
    except DriverError:
        raise
    except Exception as problem:
        kind, text = _meaning(problem)
        # A full disk is found before anything is written: the transaction is undone, whenever that is.
        outcome = "rejected" if kind is QueueFullError else outcome
        raise kind(f"SQLite file {path!r}: {text} ({problem})", driver=driver, outcome=outcome) from problem


def _meaning(problem: Exception) -> tuple[type[DriverError], str]:
    name = error_name(problem)
    if name in _FULL:
        return QueueFullError, "the disk is full; free some space, acks still go through"
    short = "_".join(name.split("_")[:2])
    if short in _DENIED:
        return AccessDeniedError, "this user may not write there; check the owner and mode of the file and its folder"
    if short in _BROKEN:
        return DriverError, "not a readable database; move it away to start anew, or restore a backup"
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
    """Whether the connection is in doubt: after a failed fsync, only a new one sees what is on the disk."""
    return error_name(problem).startswith(("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CANTOPEN"))


def boot_id() -> str:
    """A text that changes when the machine restarts; empty where there is none, then the locks alone tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


class Folder:
    """``<db>.holders/``: one locked file for each open driver, and the file that lets writers take turns.

    The latter is the bell too: it is touched after each commit that changed something, for those that watch it.
    """

    def __init__(self, database: str) -> None:
        self.path = f"{database}.holders"
        self.name = str(uuid.uuid4())
        self.bell = os.path.join(self.path, "turn")
        self._own = -1
        self._turn = -1

    def enter(self) -> None:
        """Create and lock this driver's own file, once; the lock ends with the process, however that ends."""
        if self._own >= 0:
            return
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        if self._turn < 0:
            self._turn = os.open(self.bell, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._own = os.open(os.path.join(self.path, self.name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def leave(self) -> None:
        """Remove the file and let go of the locks."""
        if self._own >= 0:
            self.remove(self.name)
        self.drop()

    def drop(self) -> None:
        """Close the files only: what a forked child does with those of its parent."""
        for file in (self._own, self._turn):
            if file >= 0:
                os.close(file)
        self._own = self._turn = -1

    def remove(self, name: str) -> None:
        """Forget a holder's file; it tells nothing any more, so it may also stay."""
        try:
            os.unlink(os.path.join(self.path, name))
        except OSError:
            pass

    def is_alive(self, name: str) -> bool:
        """Whether the driver of that name still holds its lock."""
        try:
            file = os.open(os.path.join(self.path, name), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def take_turn(self) -> bool:
        """Try to be the next writer. Without turns, a busy writer would starve those that poll for the lock."""
        try:
            fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def pass_turn(self) -> None:
        """Let the next writer queue up."""
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def ring(self) -> None:
        """Tell the others that something was committed. One that does not hear it finds it with its next sweep."""
        try:
            os.utime(self._turn)
        except OSError:
            pass

    def wait_turn(self, timeout: float) -> None:
        """Take the turn for the time of opening, so that ten processes do not create the schema at once."""
        waited = 0.0
        while not self.take_turn() and waited < timeout:
            time.sleep(_STEP)
            waited += _STEP


class Room:
    """Keeps enough of the disk free for acks: a full disk must not stop the queue from emptying.

    A publish is refused before the disk is full: what is in the log may have to move into the database, so there must
    be room for all of it. Should others fill the disk, the ballast file is given up, and nothing is published until it
    is back.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._ballast = f"{database}.ballast"

    def admits(self, need: int, connection: sqlite3.Connection) -> bool:
        """Whether ``need`` bytes may be published; costs three looks at the file system while there is plenty."""
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
        try:
            os.unlink(self._ballast)
        except FileNotFoundError:
            pass

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

    def _free(self) -> int:
        stat = os.statvfs(os.path.dirname(self._database))
        return stat.f_bavail * stat.f_frsize


def _reserve(file: int, size: int) -> None:
    """Take so many bytes of the disk for an empty file. Raises OSError when there are none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    while size > 0:  # macOS has no such call
        size -= os.write(file, bytes(min(size, 2**20)))


def identity(path: str) -> tuple[int, int]:
    """Tells the file from another one of the same name; zeros: there is none."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)


def begin(connection: sqlite3.Connection, folder: Folder, timeout: float) -> None:
    """Begin a transaction with the write lock in hand (a later upgrade would fail at once), within ``timeout``."""
    waited, pause, is_mine = 0.0, 0.0005, folder.take_turn()
    try:
        while not ((is_mine or waited > _PATIENCE) and _has_begun(connection, is_last_try=waited >= timeout)):
            time.sleep(pause)
            waited, pause = waited + pause, min(pause * 1.5, 0.005)
            is_mine = is_mine or folder.take_turn()
    finally:
        if is_mine:
            folder.pass_turn()


def _has_begun(connection: sqlite3.Connection, *, is_last_try: bool) -> bool:
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as problem:
        if is_last_try or not error_name(problem).startswith("SQLITE_BUSY"):
            raise
        return False
    return True


def _register(connection: sqlite3.Connection, name: str) -> int:
    found = connection.execute("SELECT holder FROM holders WHERE name = ?", (name,)).fetchone()
    if found is None:
        sql = "INSERT INTO holders (name, boot) VALUES (?, ?) RETURNING holder"
        found = connection.execute(sql, (name, boot_id())).fetchone()
    return int(found[0])


def pages_bytes(connection: sqlite3.Connection, count: Literal["page_count", "freelist_count"]) -> int:
    """Size of the database with what is still in the log, or of its unused part."""
    pages = connection.execute(f"PRAGMA {count}").fetchone()[0]
    return int(pages * connection.execute("PRAGMA page_size").fetchone()[0])


def truncate_log(connection: sqlite3.Connection) -> None:
    """Move the write-ahead log into the database and free its room; left for later while somebody reads."""
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        pass


def has_rolled_back(connection: sqlite3.Connection) -> bool:
    """Undo the transaction, if SQLite has not done so itself; False: not even that works."""
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        return False
    return True


def close(connection: sqlite3.Connection) -> None:
    """Close a connection that may be broken."""
    try:
        connection.close()
    except sqlite3.Error:
        pass


def connect(driver: str, path: str, synchronous: str, timeout: float, name: str) -> tuple[sqlite3.Connection, int]:
    """Open the database, create it if it is not there (folder 0700, file 0600), and give the number of the holder.

    The caller holds the turn. Nothing here opens and closes a database file that another connection of this process
    uses: closing any descriptor would drop the locks that SQLite holds on it.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        pass
    waited = 0.0
    while True:
        # One thread uses it; a forked child, where that thread is not, closes it in another.
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, driver, path, synchronous)
            holder = _register(connection, name)
            # From here on the writer waits for locks itself: in short steps, and in turns.
            connection.execute("PRAGMA busy_timeout = 0")
        except BaseException as problem:
            connection.close()
            # Another process that recovers or removes the log makes SQLite give up at once, whatever the timeout.
            if waited >= timeout or not error_name(problem).startswith("SQLITE_BUSY"):
                raise
            time.sleep(_STEP)
            waited += _STEP
        else:
            return connection, holder


def _prepare(connection: sqlite3.Connection, driver: str, path: str, synchronous: str) -> None:
    execute = connection.execute
    migrate(connection, driver, path)
    mode = execute("PRAGMA journal_mode = wal").fetchone()[0]
    if mode != "wal":
        raise DriverError(
            f"SQLite file {path!r}: no write-ahead log on this file system; use a local disk", driver=driver
        )
    execute(f"PRAGMA synchronous = {synchronous}")
    # On macOS fsync leaves it in the disk's own cache; elsewhere this does nothing (sqlite.org/pragma.html).
    execute(f"PRAGMA fullfsync = {int(synchronous == 'full')}")
    execute("PRAGMA cache_size = -16000")
    # Some builds overwrite what is deleted: that would write each body three times.
    execute("PRAGMA secure_delete = off")
    execute("PRAGMA wal_autocheckpoint = 2000")
    execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")
