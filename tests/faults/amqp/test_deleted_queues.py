"""Queues and delay queues are deleted underneath, by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pamqp import commands

from tasuki.contracts.driver import Ack, QueueSpec
from tasuki.drivers.amqp.faults import ClosedError
from tasuki.drivers.amqp.topology.queue_arguments import GIVEN_UP
from tasuki.errors import BrokerUnavailableError, QueueNotFoundError
from tests.faults.amqp.rig import consumers, delete, driver_at, hand_at, ready, received
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import SECONDS, messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_queue_that_is_deleted_underneath_is_made_again(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver, driver_at(broker.port, QueueSpec(queue)) as other:
        waiting = asyncio.create_task(received(driver, queue))

        async def is_consumed() -> bool:
            try:
                # Of both: a queue that is being made rejects messages until it has a leader.
                return [await consumers(broker.port, name) for name in (queue, f"{queue}.returned")] == [1, 1]
            except ClosedError:
                return False

        await until(is_consumed, "the consumer to be at the broker")
        await delete(broker.port, queue)
        await until(is_consumed, "the consumer to be at the broker again")
        assert not any(await other.publish(queue, messages("a")))
        async with asyncio.timeout(SECONDS):
            (got,) = await waiting
        await driver.settle(queue, [Ack(got.receipt)])
        await delete(broker.port, queue, f"{queue}.returned")
        assert not any(await other.publish(queue, messages("b", "b", "c")))  # made again by the publisher
        ids = [got.id]
        async with asyncio.timeout(SECONDS):
            while len(ids) < 4:
                ids += [item.id for item in await received(driver, queue)]
        assert sorted(ids) == ["a", "b", "b", "c"]


async def test_an_unknown_outcome_of_the_second_publish_is_reported(broker: RabbitMQ, queue: str) -> None:
    """The queue was made again, and the connection went before the confirmation: the message may be stored."""
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        publishing = driver._inner._guard.get().publishing  # type: ignore[attr-defined]
        publish, answers = publishing.publish, []

        async def unconfirmed(*args: Any) -> Any:
            answers.append(await publish(*args))
            if len(answers) == 2:
                raise BrokerUnavailableError("the connection was lost", outcome="unknown")
            return answers[-1]

        publishing.publish = unconfirmed
        await delete(broker.port, queue, f"{queue}.returned")
        with pytest.raises(BrokerUnavailableError) as lost:
            await driver.publish(queue, messages("a"))
        assert lost.value.outcome == "unknown"
        assert answers[1] == [None], "it is stored"
        assert [item.id for item in await received(driver, queue)] == ["a"]


async def test_only_a_lasting_queue_of_this_process_is_made_again(broker: RabbitMQ, queue: str) -> None:
    reply, known = f"{queue}-reply", f"{queue}-known"
    own = (QueueSpec(reply, temporary=True),)
    async with driver_at(broker.port, *own) as driver, driver_at(broker.port, QueueSpec(known)) as other:
        await driver.inspect(QueueSpec(known))
        await other.inspect(QueueSpec(reply, temporary=True))
        for number in range(2):  # as they are, and on a new connection
            await delete(broker.port, reply, known, f"{known}.returned")
            for where, name in ((driver, known), (driver, reply), (other, reply)):
                with pytest.raises(QueueNotFoundError) as refused:
                    await where.publish(name, messages("a"))
                assert refused.value.outcome == "rejected"
                with pytest.raises(QueueNotFoundError):
                    await where.receive(name, 1, 0.1)
            if not number:
                await driver.close()
                await driver.open()


async def test_delays_find_a_queue_that_was_deleted_and_made_again(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", delay=0.1))
        await driver.settle(queue, [Ack(item.receipt) for item in await take(driver, queue)])
        await delete(broker.port, queue, f"{queue}.returned")
        async with driver_at(broker.port, QueueSpec(queue)):  # another process makes it again
            assert not await driver.publish(queue, messages("b", delay=0.1))
        await driver.declare(QueueSpec(queue))
        assert [item.id for item in await take(driver, queue)] == ["b"]


async def test_of_two_messages_with_one_id_that_go_nowhere_both_are_rejected(broker: RabbitMQ, queue: str) -> None:
    spec = QueueSpec(queue, temporary=True)
    async with driver_at(broker.port, spec) as driver:
        await delete(broker.port, queue)
        with pytest.raises(QueueNotFoundError) as refused:
            await driver.publish(queue, messages("a", "a"))
        assert refused.value.outcome == "rejected"


async def test_what_comes_down_for_a_deleted_queue_is_kept_and_blocks_nobody(broker: RabbitMQ, queue: str) -> None:
    other = f"{queue}-other"
    async with driver_at(broker.port, QueueSpec(queue), QueueSpec(other)) as driver:
        before = await ready(broker.port, GIVEN_UP)
        await driver.publish(queue, messages(*(f"a{number}" for number in range(50)), delay=0.5))
        await delete(broker.port, queue, f"{queue}.returned")
        await driver.publish(other, messages("b", delay=0.5))
        assert [item.id for item in await take(driver, other)] == ["b"]

        async def kept() -> bool:
            return await ready(broker.port, GIVEN_UP) == before + 50

        await until(kept, "what was put off to arrive where it can be found")


async def test_a_full_queue_lets_the_delays_of_others_pass(broker: RabbitMQ, queue: str) -> None:
    other = f"{queue}-other"
    full = QueueSpec(queue, options={"queue_type": "classic", "max_length": 1})
    async with driver_at(broker.port, full, QueueSpec(other)) as driver:
        await driver.publish(queue, messages("a"))
        await driver.publish(queue, messages(*(f"b{number}" for number in range(100)), delay=0.1))
        await driver.publish(other, messages("c", delay=1.0))
        assert [item.id for item in await take(driver, other)] == ["c"]
        assert len(await take(driver, queue, 101)) == 101


async def test_delay_queues_that_were_deleted_are_made_again(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a", delay=0.2))
        async with hand_at(broker.port) as channel:
            await channel.ask(commands.Exchange.Delete(exchange="tasuki.delayed.in.0"))
        with pytest.raises(BrokerUnavailableError) as problem:
            await driver.publish(queue, messages("b", delay=0.2))
        assert problem.value.outcome == "unknown"
        await driver.publish(queue, messages("c", delay=0.2))
        assert {item.id for item in await take(driver, queue, 2)} == {"a", "c"}
