"""The tables of a file: made once, and brought up to date by the first process that is newer (docs/adr/0016)."""

from __future__ import annotations

import sqlite3
from importlib.resources import files

from tasuki.drivers.toolkit.layout import Layout, is_outdated
from tasuki.errors import DriverError

LAYOUT = Layout(version=11, min_version=4)
STEPS = ("schema.sql", *(f"schema_{version}.sql" for version in range(2, LAYOUT.version + 1)))
"""What makes each version out of the one before."""
LIMITED = 8
"""The oldest version that keeps limits and lanes."""
APPLICATION_ID = 0x7461736B  # "task": tells our file from another program's


def migrate(connection: sqlite3.Connection, driver: str, path: str) -> None:
    """Make the tables, or add what this version adds.

    Raises:
        DriverError: the file belongs to another program, or to versions of Tasuki that ours cannot work beside.
    """
    found = _found(connection, driver, path)
    if found is not None and not is_outdated(found, LAYOUT, place=f"SQLite file {path!r}", driver=driver):
        return
    steps = STEPS[0 if found is None else found.version :]
    script = "".join(files(__package__).joinpath(name).read_text(encoding="utf-8") for name in steps)
    connection.executescript(
        f"BEGIN IMMEDIATE; {script}; UPDATE layout SET min_version = max(min_version, {LAYOUT.min_version}); "  # noqa: S608
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {LAYOUT.version}; COMMIT;"
    )


def admit(connection: sqlite3.Connection, *, has_limits: bool) -> None:
    """Say which versions may start on the file: none that knows no limits, while a queue of it has some.

    A running process of such a version goes on. Inside a transaction.
    """
    if has_limits:
        connection.execute("UPDATE layout SET min_version = max(min_version, ?)", (LIMITED,))
    elif connection.execute("PRAGMA user_version").fetchone()[0] <= LAYOUT.version:  # a newer one may need more
        connection.execute("UPDATE layout SET min_version = ?", (LAYOUT.min_version,))


def _found(connection: sqlite3.Connection, driver: str, path: str) -> Layout | None:
    """The layout of the file; None: it is empty."""
    execute = connection.execute
    if execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        if execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            problem = f"SQLite file {path!r} belongs to another program; give the driver its own file"
            raise DriverError(problem, driver=driver)
        return None
    version = execute("PRAGMA user_version").fetchone()[0]
    if version < 4:  # the versions that did not say it yet
        return Layout(version, version)
    return Layout(version, execute("SELECT min_version FROM layout").fetchone()[0])
