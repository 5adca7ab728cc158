"""The tables of a file, made once (docs/adr/0065)."""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from tasuki.drivers.toolkit.layout import require
from tasuki.errors import DriverError

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
