"""The memory driver's own decisions, beside the contract."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.memory.driver import MemoryDriver
from tasuki.errors import BrokerUnavailableError, QueueFullError, QueueNotFoundError
from tasuki.testing.clock import FakeClock

pytestmark = pytest.mark.anyio


async def opened(clock: FakeClock | None = None, **options: object) -> MemoryDriver:
    driver = MemoryDriver("memory", clock=clock)
    await driver.open()
    await driver.declare(QueueSpec("q", **options))  # type: ignore[arg-type]
    return driver


def message(id: str, **options: object) -> Outgoing:
    return Outgoing(id, b"", {}, **options)  # type: ignore[arg-type]


async def test_errors_name_the_thing_and_the_remedy() -> None:
    driver = MemoryDriver("app:memory")
    with pytest.raises(BrokerUnavailableError, match="driver 'app:memory' is not open; open it first"):
        await driver.depth("q")
    await driver.open()
    with pytest.raises(QueueNotFoundError, match="queue 'q' was never declared on driver 'app:memory'; declare it"):
        await driver.depth("q")
    await driver.declare(QueueSpec("q", max_length=0))
    with pytest.raises(QueueFullError, match="queue 'q' holds its max_length of 0 messages"):
        await driver.publish("q", [message("a")])
    assert driver.durability == "memory"


async def test_there_is_work_so_nothing_suspends() -> None:
    driver = await opened()
    for verb in (
        driver.publish("q", [message("a")]),
        driver.receive("q", 1, 60.0),
        driver.settle("q", [Release(2)]),
        driver.receive("q", 1, 60.0),
        driver.depth("q"),
    ):
        with pytest.raises(StopIteration):
            verb.send(None)


async def test_a_smaller_bound_keeps_what_is_there() -> None:
    driver = await opened()
    await driver.publish("q", [message("a"), message("b")])
    await driver.declare(QueueSpec("q", max_length=1))
    with pytest.raises(QueueFullError):
        await driver.publish("q", [message("c")])
    assert [item.id for item in await driver.receive("q", 5, 0.0)] == ["a", "b"]


async def test_ranks_disappear_when_they_are_empty() -> None:
    driver = await opened()
    for priority in range(10):
        await driver.publish("q", [message(str(priority), priority=priority)])
    assert [item.id for item in await driver.receive("q", 10, 0.0)] == [str(9 - number) for number in range(10)]
    assert list(driver._queues["q"].ready.by_priority) == [0]


async def test_waiters_do_not_pile_up() -> None:
    driver = await opened()
    for _ in range(20):
        await driver.receive("q", 1, 0.001)
    assert not driver._queues["q"].waiters


async def test_a_close_with_a_cancelled_waiter() -> None:
    driver = await opened()
    gone = asyncio.create_task(driver.receive("q", 1, 10.0))
    await asyncio.sleep(0)
    gone.cancel()
    await driver.close()
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_wake_up_that_meets_a_close_takes_nothing() -> None:
    driver = await opened()
    waiting = asyncio.create_task(driver.receive("q", 1, 10.0))
    await asyncio.sleep(0)
    await driver.publish("q", [message("a")])
    await driver.close()
    assert await waiting == []
    await driver.open()
    assert (await driver.depth("q")).ready == 1


async def test_the_end_of_a_wait_and_a_message_at_once() -> None:
    driver = await opened()
    waiting = asyncio.create_task(driver.receive("q", 1, 0.0001))
    await asyncio.sleep(0)
    await driver.publish("q", [message("a")])
    assert [item.id for item in await waiting] == ["a"]


async def test_keys_of_held_messages_survive_a_purge() -> None:
    driver = await opened(ordering="key")
    await driver.publish("q", [message("a", key="k"), message("b"), message("c", key="k")])
    held = await driver.receive("q", 2, 0.0)
    assert await driver.purge("q") == 1
    await driver.publish("q", [message("d", key="k")])
    assert await driver.receive("q", 1, 0.0) == []
    await driver.settle("q", [Ack(item.receipt) for item in held])
    (last,) = await driver.receive("q", 1, 0.0)
    assert last.id == "d"
    await driver.settle("q", [Ack(last.receipt)])
    assert not driver._queues["q"].lines


async def test_ordering_switched_on_with_messages_of_one_key_held_and_waiting() -> None:
    clock = FakeClock()
    driver = await opened(clock)
    await driver.publish("q", [message(name, key="k") for name in "abcd"] + [message("x")])
    first, second, plain = await driver.receive("q", 2, 0.0) + (await driver.receive("q", 3, 0.0))[2:]
    await driver.settle("q", [])
    await driver.declare(QueueSpec("q", ordering="key"))
    held = {item.id: item.receipt for item in (first, second, plain)}
    await driver.settle("q", [Ack(held["a"]), Nack(held["b"], 5.0), Ack(held["x"])])
    await driver.close()
    await driver.open()
    names = []
    for _ in range(4):
        clock.advance(10.0)
        got = await driver.receive("q", 5, 0.0)
        names += [item.id for item in got]
        await driver.settle("q", [Ack(item.receipt) for item in got])
    assert names == ["b", "c", "d"]


async def test_a_publish_forgets_few_of_many_outdated_ids() -> None:
    clock = FakeClock()
    driver = await opened(clock, dedup_window=60.0)
    known = driver._queues["q"].known
    await driver.publish("q", [message(str(number)) for number in range(1000)])
    clock.advance(61.0)
    await driver.publish("q", [message("999")])
    assert (await driver.depth("q")).ready == 1001, "outdated: stored again, though it was not forgotten yet"
    assert len(known) > 980, "one publish does not pay for a thousand ids"
    await driver.publish("q", [message("999")])
    assert (await driver.depth("q")).ready == 1001
    for number in range(100):
        await driver.publish("q", [message(f"new {number}")])
    assert len(known) == 101, "all outdated ids are gone, and no others"
