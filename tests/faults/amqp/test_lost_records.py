"""What RabbitMQ forgets of queues that were made just before it was killed."""

from __future__ import annotations

import asyncio
import time

import pytest
from pamqp import commands

from tasuki.contracts.driver import Ack, Nack, QueueSpec
from tests.faults.amqp.rig import driver_at, take_in_spite_of_errors
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import SECONDS, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_what_the_broker_lost_of_a_turn_is_made_again(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, options={"single_active_consumer": True})
    async with driver_at(broker.port, spec, request_timeout=6.0) as driver:
        await driver.publish(queue, messages("a"))
        await take(driver, queue)
        await killed_before_it_has_noted(broker, f"{queue}.active")
        assert [item.id for item in await take_in_spite_of_errors(driver, queue, 1)] == ["a"]


async def test_records_that_the_broker_lost_cost_no_connection(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=3.0) as driver:
        await driver.publish(queue, messages("a", "b"))
        first, _ = await take(driver, queue, 2)
        await driver.start(queue, [first.receipt])
        (record,) = await records_of(broker, queue)
        await killed_before_it_has_noted(broker, record)
        got = {item.id: item for item in await take_in_spite_of_errors(driver, queue, 2)}
        assert (got["a"].attempt, got["b"].attempt) == (2, 1)
        assert not await driver.settle(queue, [Ack(got["a"].receipt)])
        assert not await driver.settle(queue, [Ack(got["b"].receipt)])
        await until(lambda: has_no_records(broker, queue), "the end of the record")


@pytest.mark.timeout(480)
async def test_delays_outlive_a_restart_of_the_broker(broker: RabbitMQ, queue: str) -> None:
    # In one delay queue: a message that expires while the broker starts may be tried again only minutes later. So each
    # delay has its own queue: the messages of a delay that was too short may come at any time.
    delays = (15.0, 30.0, 60.0, 120.0)
    specs = [QueueSpec(f"{queue}.{delay:.0f}") for delay in delays]
    async with driver_at(broker.port, *specs) as driver:
        for spec in specs:
            await driver.publish(spec.name, messages("now"))
        for delay, spec in zip(delays, specs, strict=True):  # the first that is longer than the restart takes here
            (now,) = await take_in_spite_of_errors(driver, spec.name, 1)
            began = time.monotonic()
            await driver.publish(spec.name, messages("later", delay=delay))
            assert not await driver.settle(spec.name, [Nack(now.receipt, delay)])
            await asyncio.to_thread(broker.restart)
            if time.monotonic() - began < delay - 1:
                break
        got = await take_in_spite_of_errors(driver, spec.name, 2, delay + SECONDS)
        assert time.monotonic() - began >= delay
        assert sorted((item.id, item.attempt) for item in got) == [("later", 1), ("now", 2)]


async def test_a_message_that_is_held_too_long_for_the_broker_is_handed_out_again(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue)
    async with driver_at(broker.port, spec) as driver:
        await driver.publish(queue, messages("a"))
        (got,) = await take(driver, queue)
        # What the consumer_timeout does, which is checked only once a minute: the broker closes the channel.
        channel = driver._inner._guard.current.subscriptions[queue].channel  # type: ignore[attr-defined]
        too_late = commands.Basic.Ack(delivery_tag=999)
        driver._guard.get().tell(lambda: channel.connection.send(channel.number, too_late))
        (again,) = await take_in_spite_of_errors(driver, queue, 1)
        assert (again.id, again.attempt, again.suspect) == ("a", 1, True)
        assert list(await driver.settle(queue, [Ack(got.receipt)])) == [got.receipt]
        assert list(await driver.settle(queue, [Ack(again.receipt)])) == []


async def killed_before_it_has_noted(broker: RabbitMQ, *queues: str) -> None:
    """Kill it as if it had just made these quorum queues: the note that comes a moment later is taken back."""
    uids = (f"ra_directory:uid_of(quorum_queues, '%2F_{queue}')" for queue in queues)
    forget = ", ".join(f"ra_directory:unregister_name(quorum_queues, {uid})" for uid in uids)
    await asyncio.to_thread(broker.control, "eval", f"{forget}, [dets:sync(Table) || Table <- dets:all()].")
    await asyncio.to_thread(broker.kill)
    await asyncio.to_thread(broker.start)
    for queue in queues:  # else the test shows nothing
        assert f"member of queue '{queue}' in vhost '/' was not found" in broker.log()


async def records_of(broker: RabbitMQ, queue: str) -> list[str]:
    names = await asyncio.to_thread(broker.control, "list_queues", "--no-table-headers", "name")
    return [name for name in names.split() if name.startswith(f"{queue}.failed.")]


async def has_no_records(broker: RabbitMQ, queue: str) -> bool:
    return not await records_of(broker, queue)
