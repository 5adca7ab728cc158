"""Several processes at one NATS server: held messages, shown messages, and allowed declarations."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec, Release
from tasuki.drivers.nats.queues.contents import Purging
from tasuki.drivers.nats.records import receivers
from tasuki.errors import BrokerUnavailableError, DriverError, QueueConflictError, UnsupportedError
from tests.faults.nats.site import PATIENCE, QUEUE, Site, declared, drained, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_what_consumers_elsewhere_hold_is_in_flight_and_not_shown(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "EVERY", 0.05)
    one, other = await site.driver(), await site.driver()
    for driver in (one, other):
        await declared(driver)
    await one.publish(QUEUE, messages("a", "b", "c", "d"))
    held = await take(other, 2)
    async with asyncio.timeout(PATIENCE):
        while not await site.notes():  # that it receives
            await asyncio.sleep(0.02)
    depth = await one.depth(QUEUE)
    assert (depth.ready, depth.in_flight, depth.delayed) == (2, 2, 0)
    assert [message.id for message in await one.peek(QUEUE, 10)] == ["c", "d"]
    await other.settle(QUEUE, [Nack(held[0].receipt, 60.0), Ack(held[1].receipt)])
    depth = await one.depth(QUEUE)
    assert (depth.ready, depth.in_flight, depth.delayed) == (2, 0, 1)
    assert [message.id for message in await one.peek(QUEUE, 10)] == ["c", "d", "a"]
    assert await one.purge(QUEUE) == 3
    assert await drained(other) == []


async def test_released_messages_are_ready_once_their_process_receives_no_more(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a batch of dead letters that a worker has driven: the worker lives on."""
    monkeypatch.setattr(receivers, "EVERY", 0.05)
    monkeypatch.setattr(receivers, "UNUSED", 0.1)
    one, other = await site.driver(), await site.driver()
    for driver in (one, other):
        await declared(driver)
    await one.publish(QUEUE, messages("a", "b", "c"))
    held = await take(other, 2)
    async with asyncio.timeout(PATIENCE):
        while not await site.notes():  # that it receives
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)  # it receives no more, and holds two
    assert (await one.depth(QUEUE)).in_flight == 2
    await other.settle(QUEUE, [Release(each.receipt) for each in held])
    async with asyncio.timeout(PATIENCE):
        while (await one.depth(QUEUE)).in_flight:
            await asyncio.sleep(0.02)
    assert [message.id for message in await one.peek(QUEUE, 10)] == ["a", "b", "c"]
    again = await take(other, 3)  # it may begin again
    async with asyncio.timeout(PATIENCE):
        while (await one.depth(QUEUE)).in_flight != len(again):
            await asyncio.sleep(0.02)


async def test_a_receive_that_waits_long_is_reported_all_the_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "EVERY", 0.05)
    monkeypatch.setattr(receivers, "UNUSED", 0.1)
    driver = await site.driver()
    await declared(driver)
    waiting = asyncio.create_task(driver.receive(QUEUE, 1, PATIENCE))
    async with asyncio.timeout(PATIENCE):
        while not await site.notes():
            await asyncio.sleep(0.02)
    for _ in range(20):
        await asyncio.sleep(0.02)
        assert await site.notes() == 1
    await driver.publish(QUEUE, messages("a"))
    assert [each.id for each in await waiting] == ["a"]


async def test_a_process_without_messages_reports_seldom(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "EVERY", 0.02)
    looks, report_due = asyncio.Semaphore(0), receivers.Receivers._report_due

    async def counted(*arguments: Any) -> None:
        await report_due(*arguments)
        looks.release()

    monkeypatch.setattr(receivers.Receivers, "_report_due", counted)

    async def reports(looked: int) -> int:
        for _ in range(looked):
            async with asyncio.timeout(PATIENCE):
                while looks.locked():
                    await asyncio.sleep(0.01)
            await looks.acquire()
        return int((await site.ask("STREAM.INFO.tasuki+=book"))["state"]["last_seq"])

    driver = await site.driver()
    await declared(driver)
    waiting = asyncio.create_task(driver.receive(QUEUE, 1, PATIENCE))
    before = await reports(2)
    assert await reports(20) == before
    await driver.publish(QUEUE, messages("a"))
    (held,) = await waiting
    assert await reports(20) >= before + 18
    await driver.settle(QUEUE, [Ack(held.receipt)])
    waiting = asyncio.create_task(driver.receive(QUEUE, 1, PATIENCE))
    before = await reports(3)
    assert await reports(20) == before
    waiting.cancel()


async def test_a_purge_beside_a_receive_that_waits(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    waiting = asyncio.create_task(driver.receive(QUEUE, 1, 3.0))
    await asyncio.sleep(0)
    await driver.publish(QUEUE, messages("now", delay=0.0) + messages("later", "much later", delay=60.0))
    got = await waiting
    assert [each.id for each in got] == ["now"]
    assert await driver.purge(QUEUE) == 2
    await driver.settle(QUEUE, [Release(got[0].receipt)])
    assert await drained(driver) == ["now"]


@pytest.mark.parametrize("options", [{}, {"priorities": True}, {"ordering": "key"}])
@pytest.mark.parametrize("holds", [False, True])
async def test_a_purge_beside_publishers_removes_what_was_there_when_it_began(
    site: Site, options: dict[str, Any], holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver, publisher = await site.driver(is_direct=True), await site.driver(is_direct=True)
    for each in (driver, publisher):
        await declared(each, **options)

    def made(*ids: str) -> list[Outgoing]:
        ordered = "ordering" in options
        return [
            Outgoing(id, b"", {}, priority=len(id) % 10 if options and not ordered else 0, key="k" if ordered else None)
            for id in ids
        ]

    await publisher.publish(QUEUE, made(*(f"old{'x' * (number % 3)}{number}" for number in range(60))))
    if holds:  # by another process: it can only be purged message by message
        (held,) = await take(publisher, 1)
    has_begun = asyncio.Event()
    second_step = Purging._purge_hidden

    async def begun(self: Purging) -> int:
        has_begun.set()
        return await second_step(self)

    monkeypatch.setattr(Purging, "_purge_hidden", begun)
    purging = asyncio.create_task(driver.purge(QUEUE))
    early: list[str] = []
    late: list[str] = []
    while not purging.done() or len(late) < 20:
        published = late if has_begun.is_set() else early
        batch = made(f"new{len(early + late)}", f"newx{len(early + late)}")
        await publisher.publish(QUEUE, batch)
        published += [message.id for message in batch]
    if holds:
        assert list(await publisher.settle(QUEUE, [Ack(held.receipt)])) == []
    left = await drained(driver)
    assert not [id for id in left if id.startswith("old")]
    assert set(late) <= set(left)
    assert await purging + len(left) + holds == 60 + len(early) + len(late)


async def test_the_partitions_of_a_queue_are_decided_once(site: Site) -> None:
    driver = await site.driver()
    await declared(driver, ordering="key", options={"partitions": 2})
    with pytest.raises(QueueConflictError, match="2 partitions"):
        await declared(driver, ordering="key", options={"partitions": 3})
    batch = [Outgoing(str(number), b"", {}, key=f"k{number}") for number in range(10)]
    await driver.publish(QUEUE, batch)
    assert 1 <= len(await driver.receive(QUEUE, 10, 1.0)) <= 2


async def test_a_queue_may_lose_its_order_and_keeps_its_messages(site: Site) -> None:
    driver = await site.driver()
    await declared(driver, ordering="key")
    await driver.publish(QUEUE, messages("a", "b", key="k"))
    await declared(driver)
    await driver.publish(QUEUE, messages("c", key="k"))
    assert sorted(each.id for each in await take(driver, 3)) == ["a", "b", "c"]


async def test_priorities_only_where_they_were_declared(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    with pytest.raises(UnsupportedError, match="requires"):
        await driver.publish(QUEUE, messages("a", priority=1))
    await declared(driver, priorities=True)
    await driver.publish(QUEUE, messages("low", priority=1) + messages("high", priority=9))
    await declared(driver)  # and what lies in the lanes is not forgotten
    assert [each.id for each in await take(driver, 2)] == ["high", "low"]


async def test_more_replicas_than_there_are_servers(site: Site) -> None:
    driver = await site.driver(replicas=3)
    with pytest.raises(DriverError, match="replicas"):
        await declared(driver)


async def test_an_extension_after_the_close_and_in_between(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    (held,) = await take(driver, 1)
    assert list(await driver.extend(QUEUE, [held.receipt], 30.0)) == []
    extending = [asyncio.create_task(driver.extend(QUEUE, [held.receipt], 30.0)) for _ in range(20)]
    await asyncio.sleep(0)
    await driver.close()
    for answer in await asyncio.gather(*extending, return_exceptions=True):
        if not isinstance(answer, BaseException):
            assert list(answer) in ([], [held.receipt])
        else:
            assert isinstance(answer, BrokerUnavailableError)
    with pytest.raises(BrokerUnavailableError):
        await driver.extend(QUEUE, [held.receipt], 30.0)


async def test_a_queue_with_many_lanes_is_declared_before_the_server_is_there(site: Site) -> None:
    await asyncio.to_thread(site.broker.kill)
    driver = site.made(site.broker.port)
    await driver.declare(QueueSpec(QUEUE, ordering="key", priorities=True, dedup_window=60.0, max_length=100))
    with pytest.raises(BrokerUnavailableError):
        await driver.open()
    await asyncio.to_thread(site.broker.start)
    await driver.open()
    try:
        await driver.publish(QUEUE, messages("p", priority=3) + messages("k", key="k") + messages("m"))
        await driver.publish(QUEUE, messages("p", priority=3))
        assert sorted(await drained(driver)) == ["k", "m", "p"]
    finally:
        await driver.close()


async def test_a_queue_that_another_process_made_again_is_used_with_its_new_options(site: Site) -> None:
    """A publisher of the earlier one stored duplicates for two minutes."""
    publisher, other = await site.driver(is_direct=True), await site.driver(is_direct=True)
    for driver in (publisher, other):
        await declared(driver)
    await publisher.publish(QUEUE, messages("a"))
    await other.delete(QUEUE)
    await declared(other, dedup_window=600.0)
    stored = -1
    async with asyncio.timeout(PATIENCE):  # without news a stream is inspected each two minutes
        while (now := (await other.depth(QUEUE)).ready) != stored:
            stored = now
            await publisher.publish(QUEUE, messages("b"))
