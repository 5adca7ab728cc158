"""Unique messages in a file: what they cost, and what stays behind."""

from __future__ import annotations

from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Unique
from tasuki.testing.clock import FakeClock
from tests.unit.drivers.sqlite.conftest import connection_of, message

pytestmark = pytest.mark.anyio


def unique(id: str, key: str, span: Any = "pending", act: Any = "keep", delay: float = 0.0) -> Outgoing:
    return message(id, delay=delay, unique=Unique(key, span, act, 1000.0))


def keys_of(driver: Any) -> set[str]:
    return {key for (key,) in connection_of(driver).execute("SELECT key FROM uniques")}


async def test_a_queue_without_unique_messages_never_reads_the_table(make: Any) -> None:
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
    assert [sql for sql in statements if "unique" in sql.lower()] == []


async def test_a_batch_of_many_is_one_transaction(make: Any) -> None:
    driver = await make()
    statements: list[str] = []
    connection_of(driver).set_trace_callback(statements.append)
    assert not await driver.publish("q", [unique(f"{number}", f"k{number}") for number in range(50)])
    assert sum(sql.startswith("COMMIT") for sql in statements) == 1


async def test_rows_of_messages_that_are_gone_go_too(make: Any) -> None:
    clock = FakeClock()
    driver = await make(clock=clock)
    await driver.publish("q", [unique(f"{number}", f"a{number}") for number in range(5)])
    await driver.publish("q", [unique("w", "b", 60.0)])
    held = await driver.receive("q", 10, 0.0)
    await driver.settle("q", [Ack(received.receipt) for received in held])
    for number in range(9):
        await driver.publish("q", [unique(f"c{number}", f"c{number % 3}")])
        await driver.purge("q")
    assert keys_of(driver) <= {"b", "c0", "c1", "c2"}
    assert "b" in keys_of(driver), "a window is kept"
    clock.advance(61.0)
    for number in range(9):
        await driver.publish("q", [unique(f"d{number}", f"d{number}")])
    assert "b" not in keys_of(driver)


async def test_a_retry_that_waits_elsewhere_is_found(make: Any) -> None:
    """Its place is not the one that the row remembers."""
    driver = await make(clock=FakeClock())
    await driver.publish("q", [unique("a", "k", delay=5.0)])
    for act, id, other in (("extend", "b", "a"), ("replace", "c", "b"), ("extend", "d", "c")):
        driver._clock.advance(1001.0)
        (received,) = await driver.receive("q", 1, 0.0)
        await driver.settle("q", [Nack(received.receipt, 30.0, "an error")])
        (merged,) = await driver.publish("q", [unique(id, "k", act=act, delay=5.0)])
        assert (merged.how, merged.other) == ({"extend": "extended", "replace": "replaced"}[act], other)
        depth = await driver.depth("q")
        assert (depth.ready + depth.delayed, depth.in_flight) == (1, 0)
    assert connection_of(driver).execute("SELECT * FROM errors").fetchall() == []


async def test_in_a_line_of_its_key(make: Any) -> None:
    driver = await make()
    await driver.declare(QueueSpec("q", ordering="key"))
    await driver.publish("q", [message("first", key="line"), message("a", key="line", unique=Unique("k"))])
    await driver.publish("q", [unique("b", "k", act="replace")])
    (held,) = await driver.receive("q", 5, 0.0)
    await driver.publish("q", [unique("c", "k", act="extend", delay=60.0)])
    await driver.settle("q", [Ack(held.receipt)])
    assert await driver.receive("q", 5, 0.0) == []
    assert [item.id for item in await driver.peek("q", 5)] == ["c"]
