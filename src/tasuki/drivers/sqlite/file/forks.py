"""What becomes of open files when the process forks.

A child inherits SQLite's own account of the locks that the process holds, but none of the locks: it would take a file
that its parent had open for one that is locked already. Others would then remove the log in which the child writes. So
a fork waits for the end of a transaction, and the child closes inherited files before it opens any.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import weakref
from typing import Protocol

from tasuki.drivers.sqlite.file import connections

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
        connections.close(connection)


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
