"""The store of SQLite keeps the contract."""

from __future__ import annotations

from pathlib import Path

from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.testing.conformance import ShiftedClock
from tasuki.testing.conformance.stores import StoreConformance
from tests.support.settings import parsed


class TestSQLiteStore(StoreConformance):
    def make_driver(self, place: Path, clock: ShiftedClock) -> SQLiteDriver:
        return SQLiteDriver("sqlite", parsed(SQLiteSettings, path=place / "queue.db", busy_timeout=1.0), clock)
