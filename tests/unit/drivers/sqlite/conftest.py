"""Drivers on a file of each test, whose statements fail on demand."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tasuki.contracts.driver import Outgoing, QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tests.support.settings import parsed


class Faulty(sqlite3.Connection):
    """A connection whose statements fail on demand: SQL text to SQLite's name of the error."""

    faults: ClassVar[dict[str, str]] = {}

    def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
        for text, name in self.faults.items():
            if text in sql:
                problem = sqlite3.OperationalError(f"injected {name}")
                problem.sqlite_errorname = name
                raise problem
        return super().execute(sql, *arguments)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: connect(path, factory=Faulty, **options))
    Faulty.faults = {}
    yield Faulty.faults
    Faulty.faults = {}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
async def make(path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Open drivers on the path with the queue ``q``; closed at the end."""
    drivers: list[SQLiteDriver] = []

    async def make(**options: Any) -> SQLiteDriver:
        clock = options.pop("clock", None)
        driver = SQLiteDriver("sqlite", parsed(SQLiteSettings, path=path, **{"busy_timeout": 0.2, **options}), clock)
        drivers.append(driver)
        await driver.open()
        await driver.declare(QueueSpec("q"))
        return driver

    yield make
    Faulty.faults = {}
    for driver in drivers:
        await driver.close()


def message(id: str = "m", body: bytes = b"", **options: Any) -> Outgoing:
    return Outgoing(id, body, {}, **options)


def connection_of(driver: SQLiteDriver) -> Any:
    return driver._guard.get()._database.connection
