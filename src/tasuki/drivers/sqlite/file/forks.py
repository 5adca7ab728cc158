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

from tasuki.drivers.sqlite.file import connections
from tasuki.drivers.sqlite.thread.writer import Writer

PATIENCE = 5.0
"""Seconds that a fork waits for the end of a transaction, which may wait for the lock of another process."""

_writers: weakref.WeakSet[Writer] = weakref.WeakSet()
_inherited: list[Writer] = []
"""The parent's writers: never freed, for that could use a connection that was amid something."""
_connections: list[sqlite3.Connection] = []
"""The connections that were at rest at the fork, and can be closed."""


class _Forking(threading.local):
    at_rest: tuple[Writer, ...] = ()


_forking = _Forking()


def watch(writer: Writer) -> None:
    """Let a writer be at rest whenever the process forks."""
    _writers.add(writer)


def close_inherited() -> None:
    """In a forked child, before it opens a file: close the connections of its parent; elsewhere nothing."""
    while _connections:
        connection = _connections.pop()
        if sys.version_info >= (3, 12):  # the processes that have it open merge the log
            connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        connections.close(connection)


def _before() -> None:
    writers = sorted(_writers, key=id)  # two threads that fork at a time must not wait for each other
    _forking.at_rest = tuple(writer for writer in writers if writer.at_work.acquire(timeout=PATIENCE))


def _in_parent() -> None:
    for writer in _forking.at_rest:
        writer.at_work.release()
    _forking.at_rest = ()


def _in_child() -> None:
    for writer in list(_writers):
        _inherited.append(writer)
        connection = writer.forget_parent()
        if connection is not None and writer in _forking.at_rest:
            _connections.append(connection)
    _writers.clear()
    _forking.at_rest = ()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
