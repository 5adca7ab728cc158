"""What a fork does to open SQLite files, step by step; tests/e2e/test_connections.py connections."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.file import connections
from tasuki.drivers.sqlite.settings import SQLiteSettings
from tasuki.drivers.sqlite.thread.writer import Writer
from tests.support.settings import parsed

pytestmark = pytest.mark.anyio


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    driver = SQLiteDriver("test", parsed(SQLiteSettings, path=tmp_path / "queue.db"))
    await driver.open()
    await driver.declare(QueueSpec("q"))
    yield driver._guard.get()
    await driver.close()


@pytest.fixture
def as_child(writer: Writer) -> Iterator[list[sqlite3.Connection]]:
    """This process may take itself for a forked child; gives what it then closes, which stays open.

    The drivers of other tests that are not collected yet take no part: they would stay locked.
    """
    closed: list[sqlite3.Connection] = []
    with pytest.MonkeyPatch.context() as patch:  # over before the driver closes, which then closes its connection
        patch.setattr(connections, "_threads", weakref.WeakSet([writer]))
        patch.setattr(connections, "_inherited", [])
        patch.setattr(connections, "_connections", [])
        patch.setattr(connections, "close", closed.append)
        patch.setattr(Writer, "forget_parent", lambda self: self._database.connection)
        yield closed


async def test_a_child_closes_its_parents_connection_before_it_opens_one(
    writer: Writer, as_child: list[sqlite3.Connection]
) -> None:
    connections._before()
    assert writer.at_work.locked(), "a transaction could begin amid the fork"
    at_rest = connections._forking.at_rest
    connections._in_child()
    assert writer in connections._inherited
    assert as_child == []
    connections.close_inherited()
    connections.close_inherited()
    assert as_child == [writer._database.connection]
    connections._forking.at_rest = at_rest
    connections._in_parent()
    assert not writer.at_work.locked()


async def test_a_connection_amid_a_transaction_is_left_alone(
    writer: Writer, as_child: list[sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 0.01)
    with writer.at_work:
        connections._before()
        connections._in_child()
        connections.close_inherited()
    assert writer in connections._inherited
    assert writer._database.connection not in as_child
