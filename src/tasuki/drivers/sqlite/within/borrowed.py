"""Borrowed: a connection of the caller's to the driver's file, with its transaction, as the store uses one."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasuki.errors import UnsupportedError

KNOWN = "a connection of sqlite3, or a synchronous connection or session of SQLAlchemy"


class Borrowed:
    """The two methods that the store needs, whatever the caller has set for the rows of its own statements."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        """See sqlite3."""
        return self._cursor().execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any] | Mapping[str, Any]]) -> sqlite3.Cursor:
        """See sqlite3."""
        return self._cursor().executemany(sql, rows)

    def _cursor(self) -> sqlite3.Cursor:
        cursor = sqlite3.Cursor(self._connection)
        cursor.row_factory = None
        return cursor


def raw(connection: Any) -> sqlite3.Connection:
    """The connection of sqlite3 behind one of the caller's. Raises UnsupportedError: it is none of those."""
    if isinstance(connection, sqlite3.Connection):
        return connection
    packages = {base.__module__.partition(".")[0] for base in type(connection).__mro__}
    if "sqlalchemy" in packages and not hasattr(connection, "run_sync"):
        found = connection.connection
        if callable(found):  # of a session
            found = found().connection
        if isinstance(found.dbapi_connection, sqlite3.Connection):
            return found.dbapi_connection
    name = f"{type(connection).__module__}.{type(connection).__qualname__}"
    raise UnsupportedError(f"cannot work in a transaction of a {name}: give {KNOWN}")


def check_file(connection: sqlite3.Connection, path: str) -> None:
    """Raise UnsupportedError unless the connection has the driver's file open, and no other.

    A commit over two files is not atomic with a write-ahead log: after a power failure one of them may lack it.
    """
    cursor = sqlite3.Cursor(connection)
    cursor.row_factory = None
    files = {str(name): str(file) for _, name, file in cursor.execute("PRAGMA database_list")}
    if not _is_same(files.get("main", ""), path):
        shown = files.get("main") or "a database in memory"
        raise UnsupportedError(
            f"the connection is to {shown!r}, and the queue is in {path!r}: one transaction cannot cover both; keep "
            "the rows of its handlers in the file of the queue"
        )
    if others := sorted(set(files) - {"main", "temp"}):
        raise UnsupportedError(
            f"the connection has other files attached ({', '.join(others)}): a commit over two files is not one step "
            "after a power failure; detach them"
        )


def check_begun(connection: sqlite3.Connection) -> None:
    """Raise UnsupportedError unless a transaction is open."""
    if not connection.in_transaction:
        remedy = "connection.execute('BEGIN IMMEDIATE')"
        raise UnsupportedError(f"the connection is in no transaction, so there is nothing to work in: {remedy}")


def _is_same(file: str, path: str) -> bool:
    try:
        return bool(file) and os.path.samefile(file, path)
    except OSError:
        return False
