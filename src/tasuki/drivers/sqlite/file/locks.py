"""The locks beside a database file: one for each open driver, and the turn of the writers."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from contextlib import suppress

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
