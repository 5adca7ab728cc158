"""Limits and lanes of the SQLite driver against the model of the memory driver."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sized
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, settings

from tasuki.contracts.driver import Driver, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tests.properties.limit_model import LEASE, LimitModel
from tests.properties.test_limits import LIMIT, LimitMachine, purged_with_a_message_held
from tests.support.settings import parsed


class SQLiteLimitModel(LimitModel):
    def make_driver(self) -> Driver:
        self.folder = tempfile.TemporaryDirectory(prefix="tasuki-")
        self.path = Path(self.folder.name) / "queue.db"
        return SQLiteDriver("sqlite", parsed(SQLiteSettings, path=self.path, synchronous="normal"), self.clock)

    def left_behind(self) -> Sized:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT lane FROM lanes").fetchall()

    def close(self) -> None:
        super().close()
        self.folder.cleanup()


class SQLiteLimitMachine(LimitMachine):
    model_class = SQLiteLimitModel


TestSQLiteLimits = SQLiteLimitMachine.TestCase
TestSQLiteLimits.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_a_lane_of_the_sqlite_driver_that_was_purged_goes_behind() -> None:
    purged_with_a_message_held(SQLiteLimitModel(), QueueSpec("q", lease=LEASE, fair=1, limit=LIMIT, lane_limit=LIMIT))
