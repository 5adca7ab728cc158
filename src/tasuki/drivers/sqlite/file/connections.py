"""Connections to the database file and the locks beside it: opened, begun within a time, closed, and left by a fork.

A child inherits SQLite's own account of the locks that the process holds, but none of the locks: it would take a file
that its parent had open for one that is locked already. Others would then remove the log in which the child writes. So
a fork waits for the end of a transaction, and the child closes inherited files before it opens any.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import sys
import threading
import time
import uuid
import weakref
from contextlib import suppress
from importlib.resources import files
from typing import Protocol

from tasuki.drivers.sqlite.file.errors import MAX_WAL_BYTES, error_name
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.toolkit.stores import require
from tasuki.errors import BrokerUnavailableError, DriverError

STEP = 0.01
"""Seconds between two attempts to take a lock."""


def boot_id() -> str:
    """A text that changes when the machine restarts; empty where there is none: then the locks alone decide."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def turn_file(database: str) -> str:
    """The file that lets the writers of a database file take turns, and wakes them."""
    return os.path.join(f"{database}.holders", "turn")


class HolderLocks:
    """``<db>.holders/``: one locked file for each open driver, and the file that lets writers take turns.

    The latter wakes other processes too: it is touched after each commit that changed something.
    """

    def __init__(self, database: str) -> None:
        self.path = f"{database}.holders"
        self.name = str(uuid.uuid4())
        self.wakeup_file = turn_file(database)
        self._own = -1
        self._turn = -1

    def enter(self) -> None:
        """Create and lock this driver's own file, once; the lock ends with the process, however that ends."""
        if self._own >= 0:
            return
        os.makedirs(self.path, mode=0o700, exist_ok=True)
        if self._turn < 0:
            self._turn = os.open(self.wakeup_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._own = os.open(os.path.join(self.path, self.name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._own, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def leave(self) -> None:
        """Remove the file and let go of the locks."""
        if self._own >= 0:
            self.remove(self.name)
        self.drop()

    def drop(self) -> None:
        """Close the files only, in a forked child: the locks are its parent's."""
        for file in (self._own, self._turn):
            if file >= 0:
                os.close(file)
        self._own = self._turn = -1

    def remove(self, name: str) -> None:
        """Forget a holder's file; it has no effect any more, so it may also stay."""
        with suppress(OSError):
            os.unlink(os.path.join(self.path, name))

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

    def notify(self) -> None:
        """Wake the other processes after a commit. One that misses it finds the commit with its next sweep."""
        try:
            os.utime(self._turn)
        except OSError:
            pass

    def wait_turn(self, timeout: float) -> None:
        """Take the turn for the time of opening, so that ten processes do not create the schema at once."""
        waited = 0.0
        while not self.take_turn() and waited < timeout:
            time.sleep(STEP)
            waited += STEP


LAYOUT = 1
APPLICATION_ID = 0x7461736B  # "task": tells our file from another program's


def create(connection: sqlite3.Connection, driver: str, path: str) -> None:
    """Make the tables in an empty file. The caller holds the turn.

    Raises:
        DriverError: the file belongs to another program, or has another layout.
    """
    execute = connection.execute
    if execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        found = execute("PRAGMA user_version").fetchone()[0]
        require(found, LAYOUT, place=f"SQLite file {path!r}", instead="path", driver=driver)
        return
    if execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        problem = f"SQLite file {path!r} belongs to another program; give the driver its own file"
        raise DriverError(problem, driver=driver)
    script = files(__package__).joinpath("schema.sql").read_text(encoding="utf-8")
    connection.executescript(
        f"BEGIN IMMEDIATE; {script}; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {LAYOUT}; COMMIT;"
    )


_PATIENCE = 0.25
"""Seconds after which a writer does without its turn: a stopped process may have it."""
_LOG_HEAD = 32
"""Bytes of a log before its first frame (sqlite.org/fileformat2.html#walformat)."""


def connect(driver: str, path: str, settings: SQLiteSettings, name: str) -> tuple[sqlite3.Connection, int]:
    """Open the database, create it if it is not there (folder 0700, file 0600), and give the number of the holder.

    The caller holds the turn. Nothing here opens and closes a database file that another connection of this process
    uses: closing any descriptor would drop the locks that SQLite holds on it.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if os.path.isdir(path):  # SQLite could only say that it cannot open it
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    timeout, waited = settings.busy_timeout, 0.0
    while True:
        # One thread uses it; a forked child, where that thread is not, closes it in another.
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection, driver, path, settings.synchronous)
            holder = _register(connection, name)
            # From here on the writer waits for locks itself: in short steps, and in turns.
            connection.execute("PRAGMA busy_timeout = 0")
        except BaseException as problem:
            connection.close()
            # Another process that recovers or removes the log makes SQLite give up at once, whatever the timeout.
            if waited >= timeout or not error_name(problem).startswith("SQLITE_BUSY"):
                raise
            time.sleep(STEP)
            waited += STEP
        else:
            return connection, holder


def _prepare(connection: sqlite3.Connection, driver: str, path: str, synchronous: str) -> None:
    execute = connection.execute
    create(connection, driver, path)
    mode = execute("PRAGMA journal_mode = wal").fetchone()[0]
    if mode != "wal":
        raise DriverError(
            f"SQLite file {path!r}: no write-ahead log on this file system; use a local disk", driver=driver
        )
    execute(f"PRAGMA synchronous = {synchronous}")
    # On macOS fsync leaves it in the disk's own cache; elsewhere this does nothing (sqlite.org/pragma.html).
    execute(f"PRAGMA fullfsync = {int(synchronous == 'full')}")
    execute("PRAGMA cache_size = -16000")
    # Some builds overwrite deleted rows: that would write each body three times.
    execute("PRAGMA secure_delete = off")
    execute("PRAGMA wal_autocheckpoint = 2000")
    execute(f"PRAGMA journal_size_limit = {MAX_WAL_BYTES}")


def _register(connection: sqlite3.Connection, name: str) -> int:
    found = connection.execute("SELECT holder FROM holders WHERE name = ?", (name,)).fetchone()
    if found is None:
        sql = "INSERT INTO holders (name, boot) VALUES (?, ?) RETURNING holder"
        found = connection.execute(sql, (name, boot_id())).fetchone()
    return int(found[0])


def begin(connection: sqlite3.Connection, folder: HolderLocks, timeout: float) -> None:
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
    with suppress(sqlite3.Error):
        connection.close()


def log_of(path: str) -> str:
    """The write-ahead log of a database file."""
    return f"{path}-wal"


def head_of(log: str) -> bytes:
    """The first bytes of a write-ahead log, whose salts tell it from any other; empty: there is nothing in it."""
    try:
        with open(log, "rb") as file:
            return file.read(_LOG_HEAD)
    except FileNotFoundError:
        return b""


def drop_log(driver: str, path: str, old: bytes, written: int) -> None:
    """Remove the log of a file that another one has replaced: SQLite would write its pages into the new file.

    The caller holds the turn, so no other process opens the new file meanwhile. ``old``: the head of the old log.
    ``written``: when we wrote to it for the last time after the file was replaced, as its time of change; 0: never.

    Raises:
        BrokerUnavailableError: another process has written to it since the replacement. If that was a last transaction
            with the old file, that process removes it; else it has opened the new file with the old log.
    """
    log = log_of(path)
    try:
        if not old or head_of(log) != old:
            return
        if os.stat(log).st_mtime_ns > max(os.stat(path).st_ctime_ns, written):
            problem = (
                f"SQLite file {path!r} was replaced, and another process has written to the log of the old one since; "
                f"if it stays so, stop all processes, remove {log!r} and {path + '-shm'!r}, and put the file back again"
            )
            raise BrokerUnavailableError(problem, driver=driver, outcome="rejected")
    except FileNotFoundError:
        return
    for name in (log, f"{path}-shm"):
        with suppress(FileNotFoundError):
            os.unlink(name)


def written_at(path: str) -> int:
    """When a file was written for the last time, in nanoseconds; 0: there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except FileNotFoundError:
        return 0


def identity(path: str) -> tuple[int, int]:
    """Tells the file from another one of the same name; zeros: there is none."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return (stat.st_dev, stat.st_ino)


PATIENCE = 5.0
"""Seconds that a fork waits for the end of a transaction, which may wait for the lock of another process."""


class FileThread(Protocol):
    """A thread with its own connection."""

    at_work: threading.Lock
    """It has this while it uses the connection."""

    def forget_parent(self) -> sqlite3.Connection | None:
        """In a forked child: close what the child shares with its parent; gives the connection, untouched."""


_threads: weakref.WeakSet[FileThread] = weakref.WeakSet()

_inherited: list[FileThread] = []
"""The parent's threads: never freed, for that could use a connection that was amid something."""

_connections: list[sqlite3.Connection] = []
"""The connections that were at rest at the fork, and can be closed."""


class _Forking(threading.local):
    at_rest: tuple[FileThread, ...] = ()


_forking = _Forking()


def watch(thread: FileThread) -> None:
    """Let a thread be at rest whenever the process forks."""
    _threads.add(thread)


def close_inherited() -> None:
    """In a forked child, before it opens a file: close the connections of its parent; elsewhere nothing."""
    while _connections:
        connection = _connections.pop()
        if sys.version_info >= (3, 12):  # the processes that have it open merge the log
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        close(connection)


def _before() -> None:
    threads = sorted(_threads, key=id)  # two threads that fork at a time must not wait for each other
    _forking.at_rest = tuple(thread for thread in threads if thread.at_work.acquire(timeout=PATIENCE))


def _in_parent() -> None:
    for thread in _forking.at_rest:
        thread.at_work.release()
    _forking.at_rest = ()


def _in_child() -> None:
    for thread in list(_threads):
        _inherited.append(thread)
        connection = thread.forget_parent()
        if connection is not None and thread in _forking.at_rest:
            _connections.append(connection)
    _threads.clear()
    _forking.at_rest = ()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
