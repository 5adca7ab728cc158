"""Unique messages at NATS: their lane, which the first of them makes, and what other processes know of it."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Ack, Merged, Outgoing, Unique
from tasuki.errors import QueueConflictError, UnsupportedError
from tests.faults.nats.site import QUEUE, Site, declared, drained, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]

STREAM = f"tasuki+{QUEUE}"


def unique(id: str, *, priority: int = 0, key: str | None = None) -> Outgoing:
    return Outgoing(id, b"body", {}, priority=priority, key=key, unique=Unique("k", "running"))


async def consumers(site: Site) -> list[str]:
    return sorted((await site.ask(f"CONSUMER.NAMES.{STREAM}"))["consumers"])


async def test_the_first_unique_message_makes_their_lane(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, messages("a"))
    assert await consumers(site) == ["m"]
    await driver.publish(QUEUE, [unique("b")])
    assert await consumers(site) == ["m", "u"]
    assert sorted(await drained(driver)) == ["a", "b"]


async def test_a_receive_that_waits_elsewhere_gets_it(site: Site) -> None:
    driver, other = await site.driver(), await site.driver(is_direct=True)
    await declared(driver)
    await declared(other)
    waiting = asyncio.create_task(take(other, 1))
    await driver.publish(QUEUE, [unique("a")])
    (received,) = await waiting
    assert received.id == "a"
    assert await driver.publish(QUEUE, [unique("b")]) == [Merged("kept", "a")]
    assert not await other.settle(QUEUE, [Ack(received.receipt)])
    assert not await driver.publish(QUEUE, [unique("c")])


async def test_a_lane_that_another_process_overwrote_is_found_again(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, [unique("a")])
    config = (await site.ask(f"STREAM.INFO.{STREAM}"))["config"]
    del config["metadata"]["tasuki.unique"]
    await site.ask(f"STREAM.UPDATE.{STREAM}", **config)
    other = await site.driver(is_direct=True)
    await declared(other, max_length=100)
    assert (await site.ask(f"STREAM.INFO.{STREAM}"))["config"]["metadata"]["tasuki.unique"] == "true"
    assert await drained(other) == ["a"]


async def test_a_queue_is_not_ordered_while_it_has_unique_messages(site: Site) -> None:
    driver = await site.driver()
    await declared(driver)
    await driver.publish(QUEUE, [unique("a")])
    with pytest.raises(QueueConflictError, match="let them be consumed"):
        await declared(driver, ordering="key")
    assert await drained(driver) == ["a"]
    await declared(driver, ordering="key")
    assert not await driver.publish(QUEUE, [unique("b")])
    await declared(driver)
    assert await driver.publish(QUEUE, [unique("c")]) == [Merged("kept", "b")], "the order is over, the key is not"
    await declared(driver, ordering="key")
    assert await driver.publish(QUEUE, [unique("d")]) == [Merged("kept", "b")]
    assert await drained(driver) == ["b"]


async def test_neither_order_nor_priority(site: Site) -> None:
    driver = await site.driver()
    await declared(driver, ordering="key", priorities=True)
    for message in (unique("a", key="x"), unique("b", priority=5)):
        with pytest.raises(UnsupportedError, match="it is unique and has"):
            await driver.publish(QUEUE, [message])
    assert not await driver.publish(QUEUE, [unique("c")])
    assert await drained(driver) == ["c"]
