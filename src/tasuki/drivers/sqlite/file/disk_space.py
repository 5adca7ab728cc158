"""Room on the disk: a publish is refused while acks can still be written."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from typing import Literal

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
        self._database = database
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
        stat = os.statvfs(os.path.dirname(self._database))
        return stat.f_bavail * stat.f_frsize


def _reserve(file: int, size: int) -> None:
    """Take so many bytes of the disk for an empty file. Raises OSError when there are none."""
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
