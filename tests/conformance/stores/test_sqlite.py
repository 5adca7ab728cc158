"""The store of SQLite keeps the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tasuki.contracts.state.store import Store
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.file.errors import DiskSpace
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tests.conformance import test_sqlite
from tests.support.settings import parsed


class TestSQLiteStore(StoreConformance):
    broken = test_sqlite.TestSQLite.broken
    save = test_sqlite.TestSQLite.save
    restore = test_sqlite.TestSQLite.restore

    def make_driver(self, place: Path, clock: ShiftedClock) -> SQLiteDriver:
        return SQLiteDriver("sqlite", parsed(SQLiteSettings, path=place / "queue.db", busy_timeout=1.0), clock)

    def version(self) -> str:
        return f"SQLite {sqlite3.sqlite_version}"

    @asynccontextmanager
    async def full(self, store: Store) -> AsyncIterator[None]:
        """The disk has no room for more; tests/faults/sqlite/test_storage.py fills one."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(DiskSpace, "admits", lambda *_: False)
            yield
