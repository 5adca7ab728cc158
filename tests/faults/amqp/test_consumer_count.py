"""RabbitMQ and the consumers that are only counted: many queues' share a channel, and none harms the others."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tasuki.contracts.driver import QueueSpec
from tasuki.drivers.amqp.driver import AMQPDriver
from tasuki.errors import AccessDeniedError, BrokerTimeoutError
from tests.faults.amqp.rig import driver_at
from tests.faults.amqp.test_many_queues import methods_counted
from tests.support.brokers.rabbitmq import RabbitMQ
from tests.support.brokers.rig import IMPATIENT, fresh, until

pytestmark = [pytest.mark.anyio, pytest.mark.fault]


@pytest.fixture
def names() -> list[str]:
    return [fresh() for _ in range(6)]


async def counts(driver: AMQPDriver, names: list[str]) -> list[int | None]:
    return [(await driver.depth(name)).consumers for name in names]


@asynccontextmanager
async def silent(broker: RabbitMQ, queue: str) -> AsyncIterator[None]:
    """The broker answers nothing for the consumers of a quorum queue."""
    await asyncio.to_thread(broker.control, "eval", f"sys:suspend('%2F_{queue}').")
    try:
        yield
    finally:
        await asyncio.to_thread(broker.control, "eval", f"sys:resume('%2F_{queue}').")


async def test_a_silent_one_keeps_no_other_from_being_counted(broker: RabbitMQ, names: list[str]) -> None:
    first, *others = names
    async with (
        driver_at(broker.port, QueueSpec(first)) as maker,
        driver_at(broker.port, *map(QueueSpec, names), request_timeout=IMPATIENT) as driver,
    ):
        await maker.attach(first, 1)
        for name in others[:3]:
            await driver.attach(name, 1)  # on the channel that the silent one will take
        async with silent(broker, f"{first}.consumers"):
            with pytest.raises(BrokerTimeoutError):
                await driver.attach(first, 2)
            for name in others[3:]:
                await driver.attach(name, 1)
            assert await counts(driver, others[3:]) == [1, 1]

        async def are_counted() -> bool:
            return await counts(driver, others) == [1] * len(others)

        await until(are_counted, "the others to be registered again, and only once")
        await driver.attach(first, 2)

        async def is_counted() -> bool:
            return await counts(maker, [first]) == [3]

        await until(is_counted, "the one that was silent")


@asynccontextmanager
async def user_who_may_not_read(broker: RabbitMQ, queue: str) -> AsyncIterator[str]:
    """The address for a user who may do all but read one queue."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    await asyncio.to_thread(broker.control, "add_user", name, name)
    try:
        await asyncio.to_thread(broker.control, "set_permissions", name, ".*", ".*", rf"^(?!{queue}$)")
        yield f"amqp://{name}:{name}@127.0.0.1:{broker.port}/"
    finally:
        await asyncio.to_thread(broker.control, "delete_user", name)


async def test_a_refused_one_ends_those_beside_it_once_and_they_are_counted_again(
    broker: RabbitMQ, names: list[str]
) -> None:
    first, *others = names
    async with (
        user_who_may_not_read(broker, f"{first}.consumers") as url,
        driver_at(broker.port, *map(QueueSpec, names), url=url) as driver,
    ):
        for name in others:
            await driver.attach(name, 1)
        with pytest.raises(AccessDeniedError):
            await driver.attach(first, 1)

        async def are_counted() -> bool:
            return await counts(driver, others) == [1] * len(others)

        await until(are_counted, "the others to be registered again")
        with methods_counted() as counted, pytest.raises(AccessDeniedError):
            await driver.attach(first, 1)
        assert counted["Basic.Consume"] == 1, "it has a channel to itself now"
        assert await counts(driver, others) == [1] * len(others)
