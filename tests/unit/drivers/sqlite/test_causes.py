"""The index of causes: its entries and its cost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Outgoing
from tests.unit.drivers.sqlite.conftest import connection_of

pytestmark = pytest.mark.anyio

A = "aaaaaaaaaaaa"


def letters(*ids: str) -> list[Outgoing]:
    return [Outgoing(id, b"", {"x_cause": A}) for id in ids]


def indexed(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        sql = "SELECT id FROM messages INDEXED BY messages_by_cause WHERE cause IS NOT NULL ORDER BY id"
        return [row[0] for row in connection.execute(sql)]


async def test_a_message_without_a_cause_is_in_no_index_and_takes_the_same_statements(
    make: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await make()
    seen: list[str] = []
    connection_of(driver).set_trace_callback(seen.append)
    assert not await driver.publish("q", [Outgoing(f"{number}", b"", {"n": 1}) for number in range(3)])
    got = await driver.receive("q", 3, 1.0)
    await driver.settle("q", [Ack(each.receipt) for each in got])
    assert seen
    assert not [sql for sql in seen if "cause" in sql]
    await driver.publish("q", [*letters("a"), Outgoing("plain", b"", {}), *letters("b")])
    assert [sql for sql in seen if "cause" in sql] == [
        f"UPDATE messages SET cause = '{A}' WHERE seq = {seq}" for seq in (4, 6)
    ]
    assert indexed(path) == ["a", "b"]
    got = await driver.receive("q", 3, 1.0)
    await driver.settle("q", [Ack(each.receipt) for each in got])
    assert indexed(path) == []


async def test_the_groups_are_read_from_the_index_alone(make: Any) -> None:
    driver = await make()
    await driver.publish("q", letters(*(f"{number}" for number in range(100))))
    connection = connection_of(driver)
    plans = [
        " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}"))
        for sql in (
            "SELECT cause, count(*), min(published_at), max(published_at) FROM messages INDEXED BY messages_by_cause "
            "WHERE queue = 1 AND cause IS NOT NULL GROUP BY cause",
            "SELECT seq, published_at FROM messages INDEXED BY messages_by_cause WHERE queue = 1 AND cause IS NOT NULL "
            "AND cause = 'a' ORDER BY published_at DESC, seq DESC LIMIT 10 OFFSET 5",
        )
    ]
    assert all("COVERING INDEX messages_by_cause" in plan and "TEMP B-TREE" not in plan for plan in plans), plans


async def test_a_body_of_any_size_costs_a_count_nothing(make: Any) -> None:
    driver = await make()
    await driver.publish("q", [Outgoing("big", b"x" * 3_000_000, {"x_cause": A})])
    [found] = (await driver.causes("q", 10)).counts
    assert found.newest is not None
    assert (found.newest.body, found.ids) == (b"", ("big",))
    [shown] = await driver.peek_cause("q", A, 10)
    assert len(shown.body) == 3_000_000
