"""The SQLite driver keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.testing.conformance import DriverConformance, ShiftedClock
from tests.support.settings import parsed
from tests.support.sqlite_files import backup, replace


class TestSQLite(DriverConformance):
    removes_within = 8.0

    def make_driver(self, place: Path, clock: ShiftedClock) -> SQLiteDriver:
        return SQLiteDriver("sqlite", parsed(SQLiteSettings, path=place / "queue.db", busy_timeout=1.0), clock)

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    async def save(self, place: Path) -> None:
        """A backup, as SQLite's shell makes it."""
        backup(place / "queue.db", place / "saved.db")

    async def restore(self, place: Path) -> None:
        """Replace the open file by the backup."""
        replace(place / "saved.db", place / "queue.db")

    @asynccontextmanager
    async def broken(self, place: Path) -> AsyncIterator[None]:
        """A foreign program sits on the lock."""
        with closing(sqlite3.connect(place / "queue.db", isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
