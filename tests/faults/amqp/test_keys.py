"""Order per key over nacks, cuts and restarts."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from typing import Any

import pytest

from tasuki.contracts.driver import Ack, Nack, Outgoing, QueueSpec
from tasuki.drivers.amqp.receiving import records
from tasuki.errors import DriverError, UnsupportedError
from tasuki.testing.proxy import Proxy
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import SECONDS, messages, take

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_order_per_key_outlives_nacks_cuts_and_a_restart(broker: RabbitMQ, proxy: Proxy, queue: str) -> None:
    spec = QueueSpec(queue, ordering="key")
    keys = "abcdefgh"
    async with driver_at(proxy.port, spec) as one, driver_at(proxy.port, spec) as two:
        batch = [Outgoing(f"{key}{number:02d}", b"", {}, key=key) for number in range(20) for key in keys]
        assert not await one.publish(queue, batch)
        handled: dict[str, list[str]] = {key: [] for key in keys}
        chance = random.Random(3)
        trouble = [broker.restart, *[proxy.cut] * 5]
        end = time.monotonic() + 3 * SECONDS
        while any(f"{key}19" not in ids for key, ids in handled.items()) and time.monotonic() < end:
            if trouble and chance.random() < 0.05:
                await asyncio.to_thread(trouble.pop())
            for driver in (one, two):
                try:
                    got = await driver.receive(queue, chance.randint(1, 8), 0.1)
                    assert len({item.id[0] for item in got}) == len(got)
                    done = [item for item in got if chance.random() < 0.7]
                    for item in done:  # handled is handled, whatever becomes of the ack
                        handled[item.id[0]].append(item.id)
                    rest = [Nack(item.receipt, chance.choice((0.0, 0.1))) for item in got if item not in done]
                    if got:
                        await driver.settle(queue, [*(Ack(item.receipt) for item in done), *rest])
                except DriverError as error:
                    if not error.retryable:
                        raise
                    await asyncio.sleep(0.05)
        for key, ids in handled.items():
            assert list(dict.fromkeys(ids)) == [f"{key}{number:02d}" for number in range(20)]
            # What comes twice, for its ack was lost, comes before the next one does.
            assert ids == sorted(ids)


async def test_a_key_that_is_held_here_is_not_given_out_there(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, ordering="key")
    async with driver_at(broker.port, spec) as one, driver_at(broker.port, spec) as two:
        await one.publish(queue, messages("a", "b", key="k"))
        (first,) = await take(one, queue)
        assert await two.receive(queue, 5, 1.5) == []  # longer than the first one's consumers last without a receive
        assert list(await one.settle(queue, [Nack(first.receipt, 1.0)])) == []
        assert await two.receive(queue, 5, 0.3) == []
        assert await one.receive(queue, 5, 0.3) == []
        (again,) = await take(one, queue)
        assert (again.id, again.attempt) == ("a", 2)
        await one.close()
        got = await take(two, queue)
        assert [(item.id, item.attempt) for item in got] == [("a", 2)]
        await two.settle(queue, [Ack(got[0].receipt)])
        assert [(item.id, item.attempt) for item in await take(two, queue)] == [("b", 1)]


async def test_a_key_stays_here_while_the_failure_of_its_message_is_recorded(
    broker: RabbitMQ, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = QueueSpec(queue, ordering="key")
    is_received = threading.Event()
    make = records.make

    async def make_late(*args: Any) -> None:
        await asyncio.to_thread(is_received.wait, SECONDS)
        await make(*args)

    async with driver_at(broker.port, spec) as one, driver_at(broker.port, spec) as two:
        await one.publish(queue, messages("a", "b", key="k"))
        (first,) = await take(one, queue)
        monkeypatch.setattr(records, "make", make_late)
        settling = asyncio.create_task(one.settle(queue, [Nack(first.receipt)]))
        assert await two.receive(queue, 5, 1.5) == []  # longer than the first one's consumers last without a receive
        is_received.set()
        assert list(await settling) == []
        (again,) = await take(one, queue)
        assert (again.id, again.attempt, again.suspect) == ("a", 2, False)


async def test_a_key_leaves_no_room_for_delay_and_priority(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue, ordering="key", priorities=True)) as driver:
        for options in ({"delay": 1.0}, {"priority": 5}):
            with pytest.raises(UnsupportedError):
                await driver.publish(queue, messages("a", key="k", **options))
        assert not await driver.publish(queue, messages("b", delay=0.1) + messages("c", priority=5))
