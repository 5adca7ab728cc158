"""Streams, consumers and the book are removed by hand while the driver uses them."""

from __future__ import annotations

import asyncio
import time

import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec, Release
from tasuki.drivers.nats.records import receivers
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tests.faults.nats.site import (
    BOOK,
    PATIENCE,
    QUEUE,
    STREAM,
    Site,
    declared,
    drained,
    messages,
    received_for_ever,
    take,
)

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_stream_removed_underneath_is_said_once_and_made_again(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("lost"))
    await site.ask(f"STREAM.DELETE.{STREAM}")
    with pytest.raises(QueueNotFoundError) as caught:
        await driver.publish(QUEUE, messages("rejected"))
    assert caught.value.outcome == "rejected"
    await driver.publish(QUEUE, messages("new"))
    assert await drained(driver) == ["new"]
    await site.ask(f"STREAM.DELETE.{STREAM}")
    with pytest.raises(QueueNotFoundError):
        await received_for_ever(driver)
    await driver.publish(QUEUE, messages("newer"))
    assert await drained(driver) == ["newer"]


async def test_a_receipt_of_a_removed_stream_does_not_settle_a_message_of_the_new_one(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("old"))
    (old,) = await take(driver, 1)
    await site.ask(f"STREAM.DELETE.{STREAM}")
    with pytest.raises(QueueNotFoundError):
        await driver.publish(QUEUE, messages("rejected"))
    await driver.publish(QUEUE, messages("new"))
    assert list(await driver.settle(QUEUE, [Ack(old.receipt)])) == [old.receipt]
    assert await drained(driver) == ["new"]


async def test_a_consumer_removed_underneath_is_made_again_and_nothing_is_lost(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("a", "b", "c"))
    (held,) = await take(driver, 1)
    await site.ask(f"CONSUMER.DELETE.{STREAM}.m")
    assert list(await driver.settle(QUEUE, [Ack(held.receipt)])) == []
    assert await drained(driver) == ["b", "c"]


async def test_a_waiting_receive_survives_the_removal_of_its_consumer(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    waiting = asyncio.create_task(take(driver, 1))
    await site.ask(f"CONSUMER.DELETE.{STREAM}.m")
    await driver.publish(QUEUE, messages("a"))
    assert [each.id for each in await waiting] == ["a"]


async def test_receives_one_after_the_other_end_with_a_delete(site: Site) -> None:
    """Receives during the deletion returned nothing at once, repeatedly, and let nothing else run."""
    driver = await site.driver()
    await declared(driver)

    async def receive_on() -> None:
        for _ in range(1000):
            await driver.receive(QUEUE, 1, PATIENCE)

    receiving = asyncio.create_task(receive_on())
    await driver.depth(QUEUE)
    await driver.delete(QUEUE)
    with pytest.raises(QueueNotFoundError):
        await receiving
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    assert [each.id for each in await take(driver, 1)] == ["a"]


async def test_the_book_removed_underneath_is_made_again(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    (got,) = await take(driver, 1)
    await site.ask(f"STREAM.DELETE.{BOOK}")
    with pytest.raises(BrokerUnavailableError):
        await driver.settle(QUEUE, [Release(got.receipt)])
    assert list(await driver.settle(QUEUE, [Release(got.receipt)])) == []
    (again,) = await take(driver, 1)
    assert (again.id, again.attempt) == ("a", 1)


async def test_a_consumer_that_may_hold_no_more_goes_on_as_soon_as_it_may(site: Site) -> None:
    """An administrator's limit, or an account's: messages beyond it wait, and are not stuck."""
    driver = await site.driver()
    await declared(driver)
    info = await site.ask(f"CONSUMER.INFO.{STREAM}.m")
    config = {**info["config"], "max_ack_pending": 3}
    subject = config["filter_subject"]
    await site.ask(f"CONSUMER.CREATE.{STREAM}.m.{subject}", stream_name=STREAM, config=config)
    await driver.publish(QUEUE, messages(*map(str, range(10))))
    got = await take(driver, 3)
    assert await driver.receive(QUEUE, 10, 0.3) == []
    await driver.settle(QUEUE, [Ack(got[0].receipt), Nack(got[1].receipt), Release(got[2].receipt)])
    assert sorted(await drained(driver), key=int) == [got[1].id, got[2].id, *map(str, range(3, 10))]


async def test_the_last_delivery_is_ours_and_nothing_stays_at_the_server(site: Site) -> None:
    """The server gives up on no message by itself, and a dead letter of the layer above leaves no trace."""
    driver = await site.driver()
    await declared(driver, lease=1.0)
    await driver.publish(QUEUE, messages("a"))
    for attempt in range(1, 12):
        (got,) = await take(driver, 1)
        assert got.attempt == attempt
        await driver.settle(QUEUE, [Nack(got.receipt, 0.01)])
    (got,) = await take(driver, 1)
    await driver.settle(QUEUE, [Ack(got.receipt)])
    stream, consumer = await site.ask(f"STREAM.INFO.{STREAM}"), await site.ask(f"CONSUMER.INFO.{STREAM}.m")
    assert stream["state"]["messages"] == 0
    assert (consumer["num_pending"], consumer["num_ack_pending"], consumer["num_redelivered"]) == (0, 0, 0)
    await driver.undeclare(QUEUE)
    assert await site.notes() == 0


async def reported(site: Site) -> None:
    """Wait until the book says that a process receives."""
    async with asyncio.timeout(PATIENCE):
        while not await site.notes():
            await asyncio.sleep(0.02)


async def test_processes_that_come_and_go_leave_nothing_in_the_book(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "EVERY", 0.05)
    for _ in range(3):
        driver = await site.driver()
        await declared(driver)
        assert await driver.receive(QUEUE, 1, 0.0) == []
        await reported(site)
        await driver.close()
    assert await site.notes() == 0


async def test_what_a_dead_process_said_is_erased(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "LASTS", 0.3)
    monkeypatch.setattr(receivers, "KEPT", 0.3)
    monkeypatch.setattr(receivers, "EVERY", 0.05)
    monkeypatch.setattr(receivers, "IDLE", 0.05)
    dead, living = await site.driver(), await site.driver(is_direct=True)
    await declared(living)
    await dead.declare(QueueSpec(QUEUE))
    assert await dead.receive(QUEUE, 1, 0.0) == []
    await reported(site)
    site.proxy.close()
    end = time.monotonic() + PATIENCE
    while await site.notes():
        assert time.monotonic() < end, "waited in vain"
        await living.depth(QUEUE)
        await asyncio.sleep(0.05)
