"""Delayed messages at NATS: their lane, in which no ready message waits behind them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, Received
from tasuki.drivers.nats.receiving.pull_requests import BATCH
from tests.faults.nats.site import QUEUE, Site, declared, drained, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

STREAM = f"tasuki+{QUEUE}"
MANY = 3000


def delayed(number: int, delay: float = 3600.0) -> list[Outgoing]:
    return messages(*(f"delayed {index}" for index in range(number)), delay=delay)


async def consumer(site: Site, lane: str = "d") -> dict[str, Any]:
    return await site.ask(f"CONSUMER.INFO.{STREAM}.{lane}")


async def test_a_ready_message_does_not_wait_behind_delayed_ones(site: Site) -> None:
    driver = await site.driver(timeout=30)
    await declared(driver)
    for _ in range(3):
        assert not await driver.publish(QUEUE, delayed(MANY // 3))
    await driver.publish(QUEUE, messages("ready"))
    (got,) = await take(driver, 1)
    assert got.id == "ready"
    assert (await consumer(site))["delivered"]["consumer_seq"] <= 3 * BATCH


async def test_each_comes_before_its_time_once_and_goes_back_in_batches(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = await site.driver(timeout=30)
    await declared(driver)
    assert not await driver.publish(QUEUE, delayed(1000))
    found = driver._queues.found(QUEUE)
    assert found is not None
    sizes, write = [], found.records.write

    async def counted(connection: Any, notes: Any) -> None:
        sizes.append(len(notes))
        await write(connection, notes)

    monkeypatch.setattr(found.records, "write", counted)
    while (await consumer(site))["num_pending"]:
        assert not await driver.receive(QUEUE, 10, 0.6)
    assert (await consumer(site))["delivered"]["consumer_seq"] == 1000
    assert len([size for size in sizes if size]) <= 10
    depth = await driver.depth(QUEUE)
    assert (depth.ready, depth.in_flight, depth.delayed) == (0, 0, 1000)
    assert await driver.purge(QUEUE) == 1000


async def test_all_come_after_their_time_as_first_deliveries(site: Site) -> None:
    driver = await site.driver(timeout=30)
    await declared(driver)
    batch = [Outgoing(f"{index}", b"", {}, delay=0.2 * (index % 4)) for index in range(400)]
    assert not await driver.publish(QUEUE, batch)
    received: list[Received] = []
    while len(received) < len(batch):
        got = await take(driver, 1)
        received += got
        assert not await driver.settle(QUEUE, [Ack(each.receipt) for each in got])
    assert sorted(each.id for each in received) == sorted(message.id for message in batch)
    assert {(each.attempt, each.suspect) for each in received} == {(1, False)}
    assert not await drained(driver)


async def test_a_receive_that_waits_elsewhere_learns_of_their_lane(site: Site) -> None:
    driver, other = await site.driver(), await site.driver(is_direct=True)
    await declared(driver)
    await declared(other)
    waiting = asyncio.create_task(take(other, 1))
    await driver.publish(QUEUE, messages("a", delay=0.1))
    (received,) = await waiting
    assert received.id == "a"


async def test_a_lane_that_another_process_overwrote_is_found_again(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("a", delay=0.1))
    config = (await site.ask(f"STREAM.INFO.{STREAM}"))["config"]
    del config["metadata"]["tasuki.delayed"]
    await site.ask(f"STREAM.UPDATE.{STREAM}", **config)
    other = await site.driver(is_direct=True)
    await declared(other, max_length=100)
    assert (await site.ask(f"STREAM.INFO.{STREAM}"))["config"]["metadata"]["tasuki.delayed"] == "true"
    assert [each.id for each in await take(other, 1)] == ["a"]


async def notes(site: Site) -> int:
    answer = await site.ask("STREAM.INFO.tasuki+=book", subjects_filter="tasuki.b.r.>")
    return len(answer["state"].get("subjects") or ())


async def test_there_is_one_note_on_a_message_at_a_time(site: Site) -> None:
    """A removal reads every record between the first and the last that its filter finds: 20,000 came 49 s late."""
    driver = await site.driver(timeout=30)
    await declared(driver)
    assert not await driver.publish(QUEUE, delayed(50, 1.0))
    while (await consumer(site))["num_pending"]:
        await driver.receive(QUEUE, 10, 0.6)
    found = [await notes(site)]
    for attempt, delay in ((1, 0.2), (2, 0.3)):
        received = await take(driver, 50)
        assert {each.attempt for each in received} == {attempt}
        assert not await driver.settle(QUEUE, [Nack(each.receipt, delay) for each in received])
        found.append(await notes(site))
    assert not await driver.settle(QUEUE, [Ack(each.receipt) for each in await take(driver, 50)])
    assert [*found, await notes(site)] == [50, 50, 50, 0]


async def test_a_slow_publisher_hides_no_note_of_a_worker(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    driver, late = await site.driver(timeout=30), []
    await declared(driver)
    found = driver._queues.found(QUEUE)
    assert found is not None
    announce = found.records.announce

    async def noted(*given: Any) -> None:
        late.append(given)

    monkeypatch.setattr(found.records, "announce", noted)
    assert not await driver.publish(QUEUE, delayed(1, 0.1))
    (received,) = await take(driver, 1)
    assert not await driver.settle(QUEUE, [Nack(received.receipt, 0.5)])
    await announce(*late[0])
    (received,) = await take(driver, 1)
    assert (received.attempt, received.suspect) == (2, False)
    assert not await driver.settle(QUEUE, [Ack(received.receipt)])
