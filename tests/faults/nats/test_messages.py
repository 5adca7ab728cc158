"""Delays over kills, memory storage, messages of other programs, many processes, full queues."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki.errors import DriverError, QueueFullError
from tests.faults.nats.site import PATIENCE, QUEUE, Site, declared, drained, messages, received_for_ever, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_delays_hold_over_kills_and_are_never_early(site: Site) -> None:
    driver = await site.driver(is_direct=True)
    await declared(driver, lease=4.0)
    began = time.monotonic()
    await driver.publish(QUEUE, messages("unseen", delay=2.0))
    await driver.publish(QUEUE, messages("nacked"))
    await driver.publish(QUEUE, messages("seen", delay=2.0))
    (got,) = await take(driver, 1)  # and with it "seen" is put off
    assert got.id == "nacked"
    await driver.settle(QUEUE, [Nack(got.receipt, 2.0)])
    await asyncio.to_thread(site.broker.restart)
    taken = await take(driver, 3)
    assert time.monotonic() - began >= 2.0
    assert {(each.id, each.attempt) for each in taken} == {("unseen", 1), ("seen", 1), ("nacked", 2)}


async def test_delayed_messages_begin_at_attempt_1_however_soon_a_worker_sees_them(site: Site) -> None:
    """The publisher's note on a delay came after the worker's, and the delivery that had only waited was counted."""
    driver, publisher = await site.driver(is_direct=True), await site.driver(is_direct=True)
    for each in (driver, publisher):
        await declared(each, lease=60.0)
    number = 10_000

    async def publish() -> None:
        for start in range(0, number, 10):
            await publisher.publish(QUEUE, messages(*(str(start + index) for index in range(10)), delay=0.5))

    publishing = asyncio.create_task(publish())
    attempts: Counter[int] = Counter()
    async with asyncio.timeout(PATIENCE * 3):
        while attempts.total() < number:
            got = await driver.receive(QUEUE, 100, 1.0)
            attempts.update(each.attempt for each in got)
            await driver.settle(QUEUE, [Ack(each.receipt) for each in got])
    await publishing
    assert attempts == {1: number}


async def test_memory_storage_is_gone_with_the_server_and_the_driver_says_so(site: Site) -> None:
    driver = await site.driver(is_direct=True, storage="memory", stream_prefix="volatile")
    assert driver.durability == "process"
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    await asyncio.to_thread(site.broker.restart)
    with pytest.raises(DriverError):
        await received_for_ever(driver)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            await driver.publish(QUEUE, messages("b"))
            break
        except DriverError:
            await asyncio.sleep(0.05)
    assert await drained(driver) == ["b"]


async def test_messages_of_another_program_arrive_as_they_are(site: Site) -> None:
    import nats

    driver = await site.driver()
    await declared(driver)
    client = await nats.connect(site.broker.url)
    try:
        for data in (b"plain", b"", b"\xc1TSK1\x00\x00\x00\x04oops", b"\xc1TSK1"):
            await client.jetstream().publish("tasuki.q.tasks.m", data, headers={"X-Theirs": "1"})
    finally:
        await client.close()
    got = await take(driver, 4)
    assert [each.body for each in got] == [b"plain", b"", b"\xc1TSK1\x00\x00\x00\x04oops", b"\xc1TSK1"]
    assert len({each.id for each in got}) == 4
    assert all(each.id for each in got)


async def test_ten_processes_that_declare_at_once_agree(site: Site) -> None:
    drivers = [site.made(site.proxy.port) for _ in range(10)]
    try:
        for driver in drivers:
            await driver.declare(QueueSpec("keyed", ordering="key"))
        await asyncio.gather(*(driver.open() for driver in drivers))
        batch = [Outgoing(str(number), b"", {}, key=f"k{number}") for number in range(20)]
        await asyncio.gather(
            *(driver.publish("keyed", batch[index * 2 : index * 2 + 2]) for index, driver in enumerate(drivers))
        )
        assert sorted(await drained(drivers[0], "keyed"), key=int) == [message.id for message in batch]
    finally:
        await asyncio.gather(*(driver.close() for driver in drivers))


async def test_a_full_queue_takes_no_later_message_of_a_batch(site: Site) -> None:
    """Room that is made in the middle of a batch is not for the later ones: the order would be lost."""
    driver = await site.driver()
    other = await site.driver(is_direct=True)
    for each in (driver, other):
        await declared(each, max_length=50)

    async def make_room() -> None:
        while not publishing.done():
            got = await other.receive(QUEUE, 7, 0.05)
            if got:
                await other.settle(QUEUE, [Ack(each.receipt) for each in got])

    partly = turn = 0
    while turn < 10 or not partly:
        turn += 1
        batch = messages(*(f"{turn}-{number}" for number in range(300)))
        publishing = asyncio.create_task(driver.publish(QUEUE, batch))
        await make_room()
        try:
            results = list(await publishing)
        except QueueFullError:  # not even the first found room
            continue
        first = next((index for index, result in enumerate(results) if result is not None), len(batch))
        assert all(isinstance(result, QueueFullError) for result in results[first:])
        partly += first < len(batch)
