"""RabbitMQ refuses: full queues, low memory, conflicts, long names, wrong passwords."""

from __future__ import annotations

import asyncio

import pytest

from tasuki.contracts.driver import Ack, Nack, QueueSpec
from tasuki.drivers.amqp.limits import LONGEST_NAME
from tasuki.errors import (
    AccessDeniedError,
    BrokerTimeoutError,
    DriverError,
    QueueConflictError,
    QueueFullError,
    ThrottledError,
    UnsupportedError,
)
from tasuki.testing.proxy import Proxy
from tests.faults.amqp.rig import driver_at
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import messages, take, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


async def test_a_bounded_queue_refuses_message_by_message(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue, options={"max_length": 5})) as driver:
        stored: list[str] = []
        refused: list[str] = []
        for number in range(60):
            try:
                results = await driver.publish(queue, messages(f"{number:02d}"))
            except DriverError as error:
                results = [error]
            (refused if any(results) else stored).append(f"{number:02d}")
            assert all(isinstance(error, QueueFullError) for error in results)
        assert refused
        assert len(stored) >= 5
        got = await take(driver, queue, len(stored))
        assert [item.id for item in got] == stored
        # Held messages leave room, which is taken; what comes back needs none.
        await driver.publish(queue, messages("x0", "x1", "x2", "x3", "x4", "x5"))
        back = [Nack(item.receipt, 0.2 * (number % 2)) for number, item in enumerate(got)]
        assert list(await driver.settle(queue, back)) == []
        assert {item.id for item in await take(driver, queue, len(stored) + 6)} >= set(stored)


async def test_a_broker_that_is_low_on_memory_takes_nothing_and_gives_everything(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue), request_timeout=1.0) as driver:
        await driver.publish(queue, messages("a", "b", "c"))
        await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "0")
        try:
            with pytest.raises(BrokerTimeoutError) as first:  # told only now that it is blocked
                await driver.publish(queue, messages("d"))
            with pytest.raises(ThrottledError, match="memory") as second:
                await driver.publish(queue, messages("e"))
            assert (first.value.outcome, second.value.outcome) == ("unknown", "rejected")
            got = await take(driver, queue, 3)
            assert list(await driver.settle(queue, [Ack(item.receipt) for item in got])) == []
        finally:
            await asyncio.to_thread(broker.control, "set_vm_memory_high_watermark", "absolute", "4GB")

        async def publishes() -> bool:
            try:
                return not await driver.publish(queue, messages("f"))
            except DriverError:
                return False

        await until(publishes, "publishing to go on by itself")


async def test_other_arguments_are_a_conflict_that_costs_no_connection(
    broker: RabbitMQ, proxy: Proxy, queue: str
) -> None:
    async with driver_at(proxy.port, QueueSpec(queue)) as driver:
        await driver.publish(queue, messages("a"))
        (got,) = await take(driver, queue)
        connections = proxy.connections()
        with pytest.raises(QueueConflictError) as problem:
            await driver.declare(QueueSpec(queue, options={"max_length": 7}))
        assert not problem.value.retryable
        for text in ("x-max-length", "x-max-length=7", "none", "cannot be changed"):
            assert text in str(problem.value)
        assert list(await driver.settle(queue, [Ack(got.receipt)])) == []
        assert proxy.connections() == connections


async def test_a_name_is_as_long_as_its_parts_allow_and_no_longer(broker: RabbitMQ, queue: str) -> None:
    longest = queue.ljust(LONGEST_NAME, "x")
    async with driver_at(broker.port, QueueSpec(longest)) as driver:
        await driver.publish(longest, messages("a", delay=0.1))
        assert [item.id for item in await take(driver, longest)] == ["a"]
        with pytest.raises(UnsupportedError):
            await driver.declare(QueueSpec(longest + "x"))


async def test_what_cannot_be_kept_is_refused(broker: RabbitMQ, queue: str) -> None:
    async with driver_at(broker.port, QueueSpec(queue)) as driver:
        for spec in (
            QueueSpec(queue, max_length=5),
            QueueSpec(queue, ordering="key", options={"queue_type": "classic"}),
            QueueSpec(queue, dedup_window=1.0),
        ):
            with pytest.raises(UnsupportedError):
                await driver.declare(spec)
        with pytest.raises(UnsupportedError, match=r"requires: \[priority\]"):
            await driver.publish(queue, messages("a", priority=3))


async def test_a_wrong_password_is_refused_and_not_shown(broker: RabbitMQ, caplog: pytest.LogCaptureFixture) -> None:
    for mechanism in ("PLAIN", "AMQPLAIN"):
        with pytest.raises(AccessDeniedError) as problem:
            async with driver_at(
                broker.port, url=f"amqp://guest:hunter2@127.0.0.1:{broker.port}/", auth_mechanism=mechanism
            ):
                pass
        assert "hunter2" not in str(problem.value) + repr(problem.value.__cause__) + caplog.text
    async with driver_at(broker.port, auth_mechanism="AMQPLAIN"):
        pass


async def test_a_vhost_that_is_not_there(broker: RabbitMQ) -> None:
    with pytest.raises(AccessDeniedError, match="nowhere"):
        async with driver_at(broker.port, vhost="nowhere"):
            pass
