"""Peeks, purges and removals in parts."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.sqlite import driver as module
from tasuki.drivers.sqlite.driver import SQLiteDriver
from tasuki.drivers.sqlite.store import browsing, statements
from tasuki.drivers.sqlite.thread.requests import Call
from tests.unit.drivers.sqlite.conftest import connection_of, message

pytestmark = pytest.mark.anyio


async def test_a_purge_is_bounded_by_when_it_began(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = await make()
    monkeypatch.setattr(browsing, "FIRST", 3)
    monkeypatch.setattr(browsing, "SECONDS", 0.0)
    await driver.publish("q", [message(str(number)) for number in range(8)])
    removed, _ = await asyncio.gather(driver.purge("q"), publish_later(driver))
    assert removed == 8
    assert (await driver.depth("q")).ready == 1


async def test_a_removal_is_of_several_transactions(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    driver = await make()
    for queue in ("q", "other"):
        await driver.declare(QueueSpec(queue))
    for number in range(20):
        await driver.publish("q" if number % 2 else "other", [message(f"{number}")])
    assert await driver.remove("q", [f"{number}" for number in range(20) if number != 7]) == 9
    assert [item.id for item in await driver.peek("q", 99)] == ["7"]
    assert len(await driver.peek("other", 99)) == 10


@pytest.mark.parametrize("statement", [statements.NAMED, statements.EXPEDITE, browsing.LOCATE])
async def test_messages_are_found_by_the_index_of_ids(make: Any, statement: str) -> None:
    values = {"queue": 1, "ids": '["a"]', "now": 0.0}
    plan = [row[3] for row in connection_of(await make()).execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any("USING COVERING INDEX messages_by_id (queue=? AND id=?)" in step for step in plan), plan
    assert not [step for step in plan if step in ("SCAN messages", "SCAN delayed")]


async def test_a_file_that_has_no_index_of_ids_is_searched(make: Any) -> None:
    """One that an earlier tree made: its layout has the same number."""
    driver = await make()
    await driver.publish("q", [message("a"), message("b")])
    connection_of(driver).execute("DROP INDEX messages_by_id")
    assert await driver.locate("q", ["a"]) == {"a": "ready"}
    assert [each.id for each in await driver.find("q", ["b"])] == ["b"]
    assert await driver.remove("q", ["a", "b"]) == 2


async def test_a_purge_leaves_a_queue_of_the_same_name_that_is_declared_while_it_runs(make: Any) -> None:
    driver = await make()
    await driver.publish("q", [message("old")])
    extent = await driver._guard.get().submit(Call("q", lambda store, number: store.purging.begin(number)))
    await driver.delete("q")
    await driver.declare(QueueSpec("q"))
    await driver.publish("q", [message("new")])
    assert await driver._guard.get().submit(Call("q", lambda store, number: store.purging.run(number, extent))) == (
        0,
        True,
    )


async def test_the_number_of_a_message_is_not_used_again_in_its_queue(make: Any, path: Path) -> None:
    driver = await make()
    numbers = []
    for batch in (1, 3, 2):
        await driver.publish("q", [message(str(number)) for number in range(batch)])
        with closing(sqlite3.connect(path)) as connection:
            numbers += [number for (number,) in connection.execute("SELECT seq FROM messages ORDER BY seq")]
        assert await driver.purge("q") == batch
    assert numbers == [1, 2, 3, 4, 5, 6]


async def publish_later(driver: SQLiteDriver) -> None:
    await driver.depth("q")
    await driver.publish("q", [message("new")])
