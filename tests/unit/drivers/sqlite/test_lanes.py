"""Limits and lanes in a file: what a claim costs, what stays behind, and what another version leaves."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Limit, Nack, Outgoing, QueueSpec
from tasuki.drivers.sqlite.store import lanes, statements
from tasuki.testing.clock import FakeClock
from tests.unit.drivers.sqlite.conftest import connection_of, message

pytestmark = pytest.mark.anyio

SLOW = 0.001
"""Messages a second: none more comes during a test."""


def in_lane(lane: str, number: int, **options: Any) -> list[Outgoing]:
    return [message(f"{lane}{index}", lane=lane, **options) for index in range(number)]


async def declared(make: Any, clock: FakeClock | None = None, **options: Any) -> Any:
    driver = await make(clock=clock or FakeClock())
    await driver.declare(QueueSpec("q", **options))
    return driver


async def take(driver: Any, limit: int = 100) -> list[str]:
    return [received.id for received in await driver.receive("q", limit, 0.0)]


def rows(driver: Any, table: str) -> list[Any]:
    return [*connection_of(driver).execute(f"SELECT * FROM {table}")]


async def test_a_queue_without_them_runs_no_statement_for_them(make: Any) -> None:
    driver = await make()
    statements: list[str] = []
    connection_of(driver).set_trace_callback(statements.append)
    await driver.publish("q", [message("a"), message("b", delay=60.0)])
    (received,) = await driver.receive("q", 5, 0.0)
    await driver.settle("q", [Nack(received.receipt)])
    (received,) = await driver.receive("q", 5, 0.0)
    await driver.settle("q", [Ack(received.receipt)])
    await driver.purge("q")
    assert len(statements) > 10
    assert [sql for sql in statements if "lane" in sql.lower() or "limits" in sql.lower()] == []


async def test_a_blocked_lane_costs_a_claim_nothing(make: Any) -> None:
    """However long it is: its messages are neither read nor visited."""
    driver = await declared(make, fair=1, lane_limit=Limit(concurrency=2))
    steps = []
    for number in (10, 10_000):
        await driver.publish("q", [message(f"{number}-{index}", lane="full") for index in range(number)])
        await driver.publish("q", in_lane("full", 2))
        if number == 10:
            assert len(await take(driver)) == 2
        await driver.publish("q", [message("x", lane="other")])
        ticks: list[None] = []
        connection_of(driver).set_progress_handler(partial(ticks.append, None), 1)
        (received,) = await driver.receive("q", 10, 0.0)
        connection_of(driver).set_progress_handler(None, 0)
        assert received.id == "x"
        await driver.settle("q", [Ack(received.receipt)])
        steps.append(len(ticks))
    assert steps[1] <= steps[0] + 50, "instructions of SQLite's machine"
    assert steps[1] < 2500


async def test_a_lane_waits_for_its_rate_and_leaves_nothing_behind(make: Any) -> None:
    clock = FakeClock()
    driver = await declared(make, clock, fair=1, lane_limit=Limit(rate=2.0, burst=2))
    await driver.publish("q", [*in_lane("a", 4), *in_lane("b", 1)])
    assert await take(driver) == ["a0", "b0", "a1"]
    assert await take(driver) == []
    clock.advance(0.5)
    assert await take(driver) == ["a2"]
    clock.advance(0.5)
    assert await take(driver) == ["a3"]
    assert [row[1] for row in rows(driver, "lanes")] == ["a"], "its rate has not recovered"
    clock.advance(1.1)
    await driver.depth("q")
    assert rows(driver, "lanes") == []


async def test_lanes_can_be_switched_on_changed_and_off(make: Any) -> None:
    driver = await declared(make)
    await driver.publish("q", [message(f"old{number}", lane="gone", key="k") for number in range(4)])
    (held,) = await driver.receive("q", 1, 0.0)
    spec = QueueSpec("q", fair=1, lane_limit=Limit(concurrency=1))
    await driver.declare(spec)
    assert await take(driver) == [], "the held message is in the lane of the old ones"
    await driver.publish("q", [*in_lane("a", 3), *in_lane("b", 3)])
    await driver.settle("q", [Ack(held.receipt)])
    assert sorted(await take(driver)) == ["a0", "b0", "old1"]
    assert await driver.inspect(QueueSpec("q")) == spec
    await driver.declare(QueueSpec("q", fair=2))
    assert sorted(await take(driver)) == ["a1", "a2", "b1", "b2", "old2", "old3"]
    await driver.declare(QueueSpec("q", ordering="key", fair=1))
    await driver.publish("q", [message("k1", key="k")])
    await driver.declare(QueueSpec("q"))
    assert await driver.inspect(QueueSpec("q")) == QueueSpec("q")
    assert rows(driver, "lanes") == rows(driver, "limits") == []
    assert await take(driver) == ["k1"]


async def test_what_is_purged_leaves_no_lane(make: Any) -> None:
    clock = FakeClock()
    driver = await declared(make, clock, fair=1, lane_limit=Limit(rate=1.0))
    await driver.publish("q", [*in_lane("a", 3), *in_lane("b", 3)])
    assert len(await take(driver)) == 2
    assert await driver.purge("q") == 4
    for _ in range(2):
        clock.advance(2.0)
        await driver.depth("q")
    assert rows(driver, "lanes") == []
    await driver.delete("q")
    assert rows(driver, "limits") == []


async def test_a_limit_alone_makes_no_lanes(make: Any) -> None:
    clock = FakeClock()
    driver = await declared(make, clock, limit=Limit(concurrency=1), lease=1000.0)
    await driver.publish("q", in_lane("a", 3))
    assert await take(driver) == ["a0"]
    for _ in range(2):
        clock.advance(2.0)
        await driver.depth("q")
    assert rows(driver, "lanes") == []
    assert {row[-1] for row in rows(driver, "ready")} == {None}


async def test_a_claim_that_visits_very_many_in_vain_goes_on_later(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "VISITED", 10)
    driver = await declared(make, fair=1, lane_limit=Limit(rate=SLOW))
    await driver.publish("q", [message(f"{turn}-{lane}", lane=lane) for turn in "ab" for lane in map(str, range(55))])
    assert len(await take(driver)) == 55
    await driver.declare(QueueSpec("q", fair=1, lane_limit=Limit(rate=SLOW * 2)))
    await driver.publish("q", [message("x", lane="x")])
    assert [received.id for received in await driver.receive("q", 1, 5.0)] == ["x"]


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        (statements.FIRST_LANE, "lanes_in_turn"),
        (statements.DUE_LANES, "lanes_slow"),
        (statements.FORGET_LANES, "lanes_empty"),
        (statements.READY_IN_LANE, "ready_by_lane"),
        (statements.HELD_IN_LANE, "held_by_lane"),
        (statements.CLAIM, "PRIMARY KEY"),
    ],
)
async def test_a_statement_uses_its_index(make: Any, sql: str, index: str) -> None:
    driver = await make()
    values: Any = {"queue": 1, "now": 0, "most": 1} if ":queue" in sql else (0,) * sql.count("?")
    plan = [row[3] for row in connection_of(driver).execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert any(index in step for step in plan), plan
    assert not any((step.startswith("SCAN") and "messages" in step) or "TEMP B-TREE" in step for step in plan), plan
